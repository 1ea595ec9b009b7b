// SPDX-License-Identifier: Apache-2.0
//
// For how long tests wait for what is to come: longer than anything that works
// takes, on a machine however slow, so that only what hangs meets it.
#ifndef LANECALL_TESTS_HARNESS_PATIENCE_H
#define LANECALL_TESTS_HARNESS_PATIENCE_H

#include <lanecall/open.h>

namespace lanecall::test {

constexpr int kPatienceMs = 120'000;

inline ClientOptions patient() {
  ClientOptions options;
  options.connectTimeoutMs = kPatienceMs;
  options.receiveTimeoutMs = kPatienceMs;
  options.sendTimeoutMs = kPatienceMs;
  return options;
}

}  // namespace lanecall::test

#endif
