# SPDX-License-Identifier: Apache-2.0
# lanecall_install(TARGET... [HEADERS DESTINATION])
#
# Installs targets, libraries as part of the package, and has the target
# `installable` build them: what `cmake --install` needs, and no test.
# HEADERS: where the targets' file set HEADERS goes.
include(GNUInstallDirs)

if(NOT TARGET installable)
  add_custom_target(installable)
endif()

function(lanecall_install)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "HEADERS" "")
  set(headers)
  if(arg_HEADERS)
    set(headers FILE_SET HEADERS DESTINATION "${arg_HEADERS}")
  endif()
  foreach(target IN LISTS arg_UNPARSED_ARGUMENTS)
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "EXECUTABLE")
      install(TARGETS ${target} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    else()
      install(TARGETS ${target} EXPORT lanecall
              ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" ${headers})
    endif()
    add_dependencies(installable ${target})
  endforeach()
endfunction()
