// SPDX-License-Identifier: Apache-2.0
#include "latencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace lanecall::bench {
namespace {

TEST(BenchLatencies, KeepsWhatWasAddedAndNoMore) {
  Latencies latencies(3);
  latencies.add(5);
  latencies.add(-1);  // a clock that stood still, and then some
  EXPECT_EQ(latencies.room(), 1u);
  latencies.add(INT64_C(10'000'000'000));
  EXPECT_EQ(latencies.room(), 0u);
  EXPECT_EQ(std::move(latencies).take(),
            (std::vector<std::uint32_t>{5, 0, UINT32_MAX}));
  EXPECT_TRUE(Latencies(3).count() == 0);
}

TEST(BenchLatencies, PercentilesAreNearestRanks) {
  std::vector<std::uint32_t> values(1000);
  std::iota(values.begin(), values.end(), 1);
  std::shuffle(values.begin(), values.end(), std::mt19937(7));
  EXPECT_EQ(percentiles(values, {0, 0.001, 0.5, 0.5, 0.99, 0.999, 1}),
            (std::vector<double>{1, 1, 500, 500, 990, 999, 1000}));
}

TEST(BenchLatencies, OneValueIsEveryPercentile) {
  std::vector<std::uint32_t> values{7};
  EXPECT_EQ(percentiles(values, {0, 0.5, 0.99, 1}),
            (std::vector<double>{7, 7, 7, 7}));
}

}  // namespace
}  // namespace lanecall::bench
