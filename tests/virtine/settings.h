// SPDX-License-Identifier: Apache-2.0
//
// What the program was told.
#ifndef LANECALL_TESTS_VIRTINE_SETTINGS_H
#define LANECALL_TESTS_VIRTINE_SETTINGS_H

#include <cstdint>

namespace lanecall::test {

struct Settings {
  bool kvm = false;  // also run shells of KVM
  std::uint64_t seed = 0;
};

Settings& settings();

}  // namespace lanecall::test

#endif
