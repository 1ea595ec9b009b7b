// SPDX-License-Identifier: Apache-2.0
// Makes the kernel fail one allocation of what this thread asks of it: see
// Documentation/fault-injection/fault-injection.rst, "fail-nth".
#pragma once

#include "../guest/channel.h"

namespace lanecall::debug_tests {

// A word for the kernel's command line: allocations of all slabs may fail, but
// for those that its checkers use, which would give up, and where the kernel
// itself warns of its failure afterwards.
inline constexpr const char* kSlabsThatFail =
    "slub_debug=A;-,kmemleak_object,debug_objects_cache,radix_tree_node,"
    "proc_dir_entry";

// Once for a guest: allocations may fail that could have waited for memory, and
// failing ones are not reported. Fails the test where the kernel cannot.
void allow_failing_allocations();

// Fails the n-th allocation of this thread, counted from the call, from 1 on.
class FailingAllocation {
 public:
  FailingAllocation();
  void arm(int n);
  // No allocation fails from here on. How many more would have worked.
  int left();
  // Likewise. Whether one did fail.
  bool disarm() { return left() == 0; }

 private:
  guest_tests::Fd file_;
};

}  // namespace lanecall::debug_tests
