// SPDX-License-Identifier: Apache-2.0
// What the command line of debug_tests says.
#pragma once

#include <cstdint>

namespace lanecall::debug_tests {

struct Settings {
  std::uint64_t seed = 0;
  int calls = 20000;  // random system calls, of all threads together
  int faults = 20;    // allocations that fail in each operation, or fewer
  int seconds = 20;   // of soaking
  int cases = 15;     // of a device that lies in one place, at most
  int lies = 2000;    // of one that lies at random
};

const Settings& settings();

}  // namespace lanecall::debug_tests
