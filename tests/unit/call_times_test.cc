// SPDX-License-Identifier: Apache-2.0
#include "call_times.h"

#include <gtest/gtest.h>

namespace lanecall {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

TEST(CallTimesTest, RangesAreWrittenAsNumbersAreRead) {
  CallTimes times(3);
  times.add(microseconds(9'999));
  times.add(microseconds(10'000));
  times.add(microseconds(16'000));
  EXPECT_EQ(times.histogram(),
            "     6300 to     10000 us  "
            "######################################## 1\n"
            "    10000 to     16000 us  "
            "######################################## 1\n"
            "    16000 to     25000 us  "
            "######################################## 1\n");
}

TEST(CallTimesTest, RangesBelowAMicrosecondHaveTheirDigits) {
  CallTimes times(1);
  times.add(nanoseconds(300));
  EXPECT_EQ(times.histogram().substr(0, 27), "     0.25 to       0.4 us  ");
}

}  // namespace
}  // namespace lanecall
