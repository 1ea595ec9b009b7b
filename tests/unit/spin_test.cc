// SPDX-License-Identifier: Apache-2.0
//
// How long waits spin, on a clock and a CPU that the test makes.
#include <gtest/gtest.h>
#include <lanecall/spin.h>

#include <stdexcept>

namespace lanecall::test {
namespace {

using namespace std::chrono_literals;
using Time = std::chrono::nanoseconds;

// What a test decides, and what happened.
struct World {
  Time now{1s};
  Time perLook = 100ns;  // a pause takes that long
  Time perYield = 1us;
  int clocks = 0;
  int yields = 0;
};

struct ScriptedCpu {
  World* world;
  Time now() {
    ++world->clocks;
    return world->now;
  }
  void pause() { world->now += world->perLook; }
  void yield() {
    ++world->yields;
    world->now += world->perYield;
  }
};

class SpinTest : public ::testing::Test {
 protected:
  using TestSpinner = BasicSpinner<ScriptedCpu>;

  TestSpinner spinner(Spin spin) {
    return TestSpinner(spin, ScriptedCpu{&world});
  }

  // A wait that is over `length` after it began; waking takes `wake` more.
  // Returns whether it was spun through.
  bool wait(TestSpinner& spinner, Time length, Time wake = 40us) {
    const Time over = world.now + length;
    const auto ready = [&] { return world.now >= over; };
    if (spinner.glance(ready)) return true;
    if (spinner.spin(ready, [] { return false; })) return true;
    world.now = std::max(world.now, over) + wake;
    spinner.slept();
    return false;
  }

  Time spun(TestSpinner& spinner, Time length) {
    const Time before = world.now;
    bool through = wait(spinner, length, 0us);
    EXPECT_FALSE(through);
    return world.now - before;
  }

  World world;
};

TEST_F(SpinTest, NeverDoesNotLookTwice) {
  auto s = spinner(Spin::never());
  int looks = 0;
  const auto ready = [&] { return ++looks > 0; };
  EXPECT_FALSE(s.glance(ready));
  EXPECT_FALSE(s.spin(ready, [] { return false; }));
  EXPECT_EQ(looks, 0);
}

TEST_F(SpinTest, AlwaysGoesOnUntilItIsOver) {
  auto s = spinner(Spin::always());
  EXPECT_TRUE(wait(s, 100ms));
}

TEST_F(SpinTest, AlwaysEndsWhereTheDeadlineDoes) {
  auto s = spinner(Spin::always());
  const Time deadline = world.now + 1ms;
  EXPECT_FALSE(
      s.spin([] { return false; }, [&] { return world.now >= deadline; }));
  EXPECT_LT(world.now - deadline, 20us);
}

TEST_F(SpinTest, AFixedBudgetIsKept) {
  auto s = spinner(Spin::fixed(100us));
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(wait(s, 90us));
    const Time before = world.now;
    EXPECT_FALSE(s.spin([] { return false; }, [] { return false; }));
    EXPECT_GE(world.now - before, 100us);
    EXPECT_LT(world.now - before, 120us);
  }
}

TEST_F(SpinTest, AShortWaitDoesNotReadTheClock) {
  auto s = spinner(Spin::adaptive());
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(wait(s, 5us));
  EXPECT_EQ(world.clocks, 0);
  EXPECT_EQ(world.yields, 0);
}

TEST_F(SpinTest, TheBudgetGrowsToWaitsJustBeyondIt) {
  auto s = spinner(Spin::adaptive());
  EXPECT_FALSE(wait(s, 80us)) << "more than the first budget";
  EXPECT_TRUE(wait(s, 80us));
  EXPECT_TRUE(wait(s, 160us));
  EXPECT_LE(s.budget(), TestSpinner::kMost);
}

TEST_F(SpinTest, LongWaitsMakeItGiveUpSoon) {
  auto s = spinner(Spin::adaptive());
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(wait(s, 100ms));
  EXPECT_EQ(s.budget(), 0us);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(spun(s, 100ms), 100ms);
}

TEST_F(SpinTest, ShortWaitsBringItBack) {
  auto s = spinner(Spin::adaptive());
  for (int i = 0; i < 20; ++i) wait(s, 100ms);
  int slept = 0;
  for (int i = 0; i < 100; ++i) slept += !wait(s, 20us);
  EXPECT_LT(slept, 5);
}

// One CPU for both sides: while this one spins, the other cannot answer, and
// once it sleeps the answer comes soon.
TEST_F(SpinTest, WhereSpinningKeepsTheAnswerBackItIsHardlyTried) {
  auto s = spinner(Spin::adaptive());
  world.perYield = 300ns;  // the other side is not runnable yet
  int tried = 0;
  for (int i = 0; i < 10'000; ++i) {
    tried += s.budget() > 0us;
    s.glance([] { return false; });
    EXPECT_FALSE(s.spin([] { return false; }, [] { return false; }));
    world.now += 20us;
    s.slept();
  }
  EXPECT_LT(tried, 150);
}

TEST_F(SpinTest, WhoeverIsInTheWayYields) {
  auto s = spinner(Spin::always());
  world.perYield = 100us;  // somebody ran
  EXPECT_TRUE(wait(s, 10ms));
  const int crowded = world.yields;
  EXPECT_GT(crowded, 80) << "a yield at each look at the clock";
  world.perYield = 300ns;  // nobody any more
  wait(s, 1ms);
  world.yields = 0;
  EXPECT_TRUE(wait(s, 10ms));
  EXPECT_LE(world.yields, 200);
}

TEST_F(SpinTest, AGapInTheClockIsAnotherThreadThatRan) {
  auto s = spinner(Spin::always());
  const Time over = world.now + 2ms;
  bool gap = false;
  s.spin(
      [&] {
        if (!gap && world.now > over - 1990us) {
          world.now += 1ms;
          gap = true;
        }
        return world.yields > 0 || world.now >= over;
      },
      [] { return false; });
  EXPECT_EQ(world.yields, 1);
  EXPECT_LT(world.now, over - 950us) << "at once, not at the next 50 us";
}

TEST_F(SpinTest, WhatItIsCalledIsWhatItIs) {
  for (const char* text : {"never", "always", "adaptive", "0", "50"})
    EXPECT_EQ(name(parseSpin(text)), text);
  EXPECT_EQ(parseSpin("50").budget(), 50us);
  for (const char* text : {"", "sometimes", "-1", "5us", "5000000000", " 5"})
    EXPECT_THROW(parseSpin(text), std::invalid_argument) << text;
}

}  // namespace
}  // namespace lanecall::test
