// SPDX-License-Identifier: Apache-2.0
// Makes the kernel fail one allocation of what this thread asks of it: see
// Documentation/fault-injection/fault-injection.rst, "fail-nth".
#pragma once

#include "../guest/channel.h"

namespace lanecall::debug_tests {

// Once for a guest: allocations may fail that could have waited for memory, and
// failing ones are not reported. Fails the test where the kernel cannot.
void allow_failing_allocations();

// Fails the n-th allocation of this thread, counted from the call, from 1 on.
class FailingAllocation {
 public:
  FailingAllocation();
  void arm(int n);
  // No allocation fails from here on. Whether one did.
  bool disarm();

 private:
  guest_tests::Fd file_;
};

}  // namespace lanecall::debug_tests
