# SPDX-License-Identifier: Apache-2.0
# lanecall_thrift_library(TARGET FILE.thrift [OPTIONS ...] [DEPENDS ...])
#
# Makes the static library TARGET (and the alias lanecall::TARGET inside this
# project) from FILE.thrift: types, clients and processors in C++. A program
# that links it writes `#include <TARGET/Service.h>`.
#
# - Which files Thrift writes follows from the services the file declares, so
#   it is read when CMake runs; CMake runs again when it changes.
# - The generator option `templates` is always on: clients and processors are
#   templates over the protocol, so that a call can be compiled down to the
#   transport's buffers. OPTIONS adds more of the cpp generator's options.
# - DEPENDS names targets made by this function whose .thrift files this one
#   includes.
include(GNUInstallDirs)
find_program(THRIFT_COMPILER thrift DOC "Apache Thrift's compiler")

function(lanecall_thrift_library target file)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "OPTIONS;DEPENDS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR
      "lanecall_thrift_library: unknown ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT THRIFT_COMPILER)
    message(FATAL_ERROR "the thrift compiler is missing; on Debian: "
      "apt-get install thrift-compiler")
  endif()
  cmake_path(ABSOLUTE_PATH file OUTPUT_VARIABLE source)
  if(NOT EXISTS "${source}")
    message(FATAL_ERROR "lanecall_thrift_library: no file ${source}")
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")

  cmake_path(GET source STEM LAST_ONLY stem)
  set(root "${CMAKE_CURRENT_BINARY_DIR}/thrift/${target}")
  set(into "${root}/${target}")
  set(headers "${into}/${stem}_types.h" "${into}/${stem}_types.tcc")
  set(sources "${into}/${stem}_types.cpp")
  file(STRINGS "${source}" lines REGEX "^[ \t]*(service|const)[ \t]")
  foreach(line IN LISTS lines)
    if(line MATCHES "^[ \t]*service[ \t]+([A-Za-z_][A-Za-z0-9_.]*)")
      set(service "${CMAKE_MATCH_1}")
      list(APPEND headers "${into}/${service}.h" "${into}/${service}.tcc")
      list(APPEND sources "${into}/${service}.cpp")
    else()
      list(APPEND headers "${into}/${stem}_constants.h")
      list(APPEND sources "${into}/${stem}_constants.cpp")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES headers)
  list(REMOVE_DUPLICATES sources)

  set(search)
  foreach(other IN LISTS arg_DEPENDS)
    list(APPEND search -I "$<TARGET_PROPERTY:${other},LANECALL_THRIFT_DIR>")
  endforeach()
  list(JOIN arg_OPTIONS "," more)
  set(generator "cpp:templates,no_skeleton")
  if(more)
    string(APPEND generator ",${more}")
  endif()
  file(MAKE_DIRECTORY "${into}")
  add_custom_command(
    OUTPUT ${headers} ${sources}
    COMMAND "${THRIFT_COMPILER}" ${search} --gen "${generator}" -out "${into}"
            "${source}"
    DEPENDS "${source}" ${arg_DEPENDS}
    COMMENT "Thrift: ${stem}.thrift" VERBATIM)

  add_library(${target} STATIC ${sources})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS "${root}"
                 FILES ${headers})
  set_target_properties(${target} PROPERTIES
    POSITION_INDEPENDENT_CODE ON
    LANECALL_THRIFT_FILE "${source}")
  cmake_path(GET source PARENT_PATH folder)
  set_target_properties(${target} PROPERTIES LANECALL_THRIFT_DIR "${folder}")
  # Generated headers include each other by bare name, across targets too.
  target_include_directories(${target} SYSTEM PUBLIC
    "$<BUILD_INTERFACE:${root}>" "$<BUILD_INTERFACE:${into}>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lanecall/idl>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lanecall/idl/${target}>")
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target} PUBLIC lanecall::thrift ${arg_DEPENDS})
endfunction()
