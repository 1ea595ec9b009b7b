// SPDX-License-Identifier: Apache-2.0
// The driver tests, each with a deadline: a read that nothing ends shows as the
// test that did it, and not as a guest that hangs.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "channel.h"

namespace {

// By the guest's clock, which may be fast where the host held it up when it was
// set. Nothing waits for it that works.
constexpr unsigned kSeconds = 480;
constexpr unsigned kDebugSeconds = 2400;

char running[256];

void on_deadline(int) {
  constexpr char kText[] = " has not ended in time; it hangs\n";
  [[maybe_unused]] ssize_t n = ::write(2, running, std::strlen(running));
  n = ::write(2, kText, sizeof kText - 1);
  ::_exit(1);
}

class Deadline : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo& info) override {
    std::snprintf(running, sizeof running, "%s.%s", info.test_suite_name(),
                  info.name());
    ::alarm(lanecall::guest_tests::is_debug_kernel() ? kDebugSeconds
                                                     : kSeconds);
  }
  void OnTestEnd(const ::testing::TestInfo&) override { ::alarm(0); }
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new Deadline);
  ::signal(SIGALRM, on_deadline);
  return RUN_ALL_TESTS();
}
