// SPDX-License-Identifier: Apache-2.0
//
// Where randomness of tests begins.
#ifndef LANECALL_TESTS_SEED_H
#define LANECALL_TESTS_SEED_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>

namespace lanecall::test {

// LANECALL_SEED, or another each time. It is printed: given back, it makes the
// same choices; what threads and time make of them may differ.
inline std::uint64_t announcedSeed() {
  std::uint64_t seed = std::random_device{}();
  const char* given = std::getenv("LANECALL_SEED");
  if (given && *given) {
    char* end;
    seed = std::strtoull(given, &end, 10);
    if (*end)
      throw std::invalid_argument("LANECALL_SEED=" + std::string(given) +
                                  " is no number");
  }
  std::printf("LANECALL_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

}  // namespace lanecall::test

#endif
