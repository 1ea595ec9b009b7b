// SPDX-License-Identifier: Apache-2.0
#ifndef LANECALL_TESTS_HOSTILE_SETTINGS_H
#define LANECALL_TESTS_HOSTILE_SETTINGS_H

#include <cstdint>
#include <string>
#include <vector>

namespace lanecall::test {

// From the command line.
struct HostileSettings {
  std::string server;  // the program
  std::vector<std::string> serverOptions;
  std::uint64_t seed = 0;
  std::uint64_t messages = 0;    // in all
  std::uint64_t memoryMost = 0;  // bytes above idle; 0: not looked at
};
const HostileSettings& settings();

}  // namespace lanecall::test

#endif
