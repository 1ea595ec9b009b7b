# SPDX-License-Identifier: Apache-2.0
# What the library and whoever links it need: lanecall::thrift, lanecall::event
# and lanecall::seccomp, made from pkg-config's files (Debian ships no CMake
# packages for these), and threads.
# Used inside the tree and by an installed lanecall-config.cmake alike.
include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)
find_dependency(PkgConfig)
find_dependency(spdlog)
find_dependency(CLI11)
if(NOT TARGET lanecall::thrift)
  pkg_check_modules(LANECALL_THRIFT REQUIRED IMPORTED_TARGET GLOBAL
                    "thrift>=0.17")
  add_library(lanecall::thrift INTERFACE IMPORTED GLOBAL)
  target_link_libraries(lanecall::thrift
    INTERFACE PkgConfig::LANECALL_THRIFT Threads::Threads)
endif()
if(NOT TARGET lanecall::event)
  pkg_check_modules(LANECALL_EVENT REQUIRED IMPORTED_TARGET GLOBAL
                    "libevent_core>=2.1")
  add_library(lanecall::event INTERFACE IMPORTED GLOBAL)
  target_link_libraries(lanecall::event INTERFACE PkgConfig::LANECALL_EVENT)
endif()
if(NOT TARGET lanecall::seccomp)
  pkg_check_modules(LANECALL_SECCOMP REQUIRED IMPORTED_TARGET GLOBAL
                    "libseccomp>=2.5")
  add_library(lanecall::seccomp INTERFACE IMPORTED GLOBAL)
  target_link_libraries(lanecall::seccomp
                        INTERFACE PkgConfig::LANECALL_SECCOMP)
endif()
