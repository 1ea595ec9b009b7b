// SPDX-License-Identifier: Apache-2.0
#include "failing_allocation.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace lanecall::debug_tests {

using guest_tests::is_booted_with;
using guest_tests::write_file;

void allow_failing_allocations() {
  ASSERT_TRUE(is_booted_with(kSlabsThatFail))
      << "boot with --append '" << kSlabsThatFail << "'";
  const std::string debug = "/sys/kernel/debug/";
  ASSERT_TRUE(::mount("debugfs", debug.c_str(), "debugfs", 0, nullptr) == 0 ||
              errno == EBUSY)
      << std::strerror(errno);
  for (const char* kind : {"failslab/", "fail_page_alloc/"}) {
    EXPECT_TRUE(write_file(debug + kind + "ignore-gfp-wait", "N")) << kind;
    EXPECT_TRUE(write_file(debug + kind + "verbose", "0")) << kind;
  }
  EXPECT_TRUE(write_file(debug + "failslab/cache-filter", "Y"));
  EXPECT_TRUE(write_file(debug + "fail_page_alloc/ignore-gfp-highmem", "N"));
  EXPECT_TRUE(write_file(debug + "fail_page_alloc/min-order", "0"));
}

FailingAllocation::FailingAllocation()
    : file_(::open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC)) {
  EXPECT_TRUE(file_) << "/proc/thread-self/fail-nth: " << std::strerror(errno);
}

void FailingAllocation::arm(int n) {
  const std::string text = std::to_string(n);
  EXPECT_EQ(::pwrite(file_.get(), text.data(), text.size(), 0),
            static_cast<ssize_t>(text.size()))
      << std::strerror(errno);
}

int FailingAllocation::left() {
  char text[16] = {};
  const int error = errno;
  EXPECT_GT(::pread(file_.get(), text, sizeof(text) - 1, 0), 0);
  arm(0);
  errno = error;
  return std::atoi(text);
}

}  // namespace lanecall::debug_tests
