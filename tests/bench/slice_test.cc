// SPDX-License-Identifier: Apache-2.0
#include "slice.h"

#include <gtest/gtest.h>

#include <numeric>

namespace lanecall::bench {
namespace {

TEST(BenchSlice, EndsWhenThereIsNoRoomForMoreTimes) {
  Slice slice;
  slice.test = parseTest("ping");
  slice.clients = 2;
  slice.seconds = 3600;
  slice.minimumCalls = 10;
  slice.warmUpSeconds = 0;
  slice.mostCalls = 1000;
  const Outcome outcome = runSlice(parseChannel("m=memory:"), slice);
  EXPECT_GE(outcome.ns.size(), 1000u);
  EXPECT_LE(outcome.ns.size(), 1010u);
  EXPECT_TRUE(outcome.counters.empty());
}

// Calls of one client follow each other without a pause.
TEST(BenchSlice, TimesOfCallsAddUpToItsLength) {
  Slice slice;
  slice.test = parseTest("reflect_64k");
  slice.seconds = 0.05;
  const Outcome outcome = runSlice(parseChannel("m=memory:"), slice);
  EXPECT_GE(outcome.seconds, 0.05);
  const double sum =
      std::accumulate(outcome.ns.begin(), outcome.ns.end(), 0.0) / 1e9;
  EXPECT_LE(sum, outcome.seconds);
}

}  // namespace
}  // namespace lanecall::bench
