// SPDX-License-Identifier: Apache-2.0
//
// Denials are counted, and told of once a second.
#include <gtest/gtest.h>
#include <lanecall/denials.h>

namespace lanecall {
namespace {

TEST(Denials, AreToldOfAtOnceAndThenOnceASecond) {
  using std::chrono::milliseconds;
  const Denials::Clock::time_point begun{};
  Denials denials;
  EXPECT_EQ(denials.add(begun), 1u);
  for (int i = 0; i < 10; ++i)
    EXPECT_FALSE(denials.add(begun + milliseconds(99 * i)));
  EXPECT_EQ(denials.add(begun + milliseconds(1000)), 12u);
  EXPECT_FALSE(denials.add(begun + milliseconds(1999)));
  EXPECT_EQ(denials.add(begun + milliseconds(9000)), 14u);
}

}  // namespace
}  // namespace lanecall
