// SPDX-License-Identifier: Apache-2.0
#include "processor_time.h"

#include <gtest/gtest.h>

#include <fstream>

namespace lanecall::bench {
namespace {

TEST(BenchProcessorTime, IdleTimeIsThatOfAllProcessors) {
  const std::string timers =
      "Timer List Version: v0.9\n"
      "cpu: 0\n"
      "  .nohz_mode      : 2\n"
      "  .idle_calls     : 4841186\n"
      "  .idle_sleeptime : 4660888660694 nsecs\n"
      "  .iowait_sleeptime: 5 nsecs\n"
      "  .iowait_sleeptime : 1000 nsecs\n"
      "cpu: 1\n"
      "  .idle_sleeptime : 6 nsecs\n";
  EXPECT_EQ(idleNsIn(timers), 4660888661700);
}

TEST(BenchProcessorTime, WhereNobodySaysItIsNotKnown) {
  EXPECT_FALSE(idleNsIn(""));
  EXPECT_FALSE(idleNsIn("cpu: 0\n  .nohz_mode      : 0\n"));
}

TEST(BenchProcessorTime, AProgramThatWorksSpendsTime) {
  const std::int64_t before = programNs();
  volatile int work = 0;
  while (programNs() - before < 1'000'000) work = work + 1;
  SUCCEED();
}

// Nothing, or what does not run backwards.
TEST(BenchProcessorTime, IdleTimeOnlyGrows) {
  const auto before = idleNs();
  const auto after = idleNs();
  ASSERT_EQ(before.has_value(), after.has_value());
  EXPECT_LE(before.value_or(0), after.value_or(0));
}

}  // namespace
}  // namespace lanecall::bench
