// SPDX-License-Identifier: Apache-2.0
// Every execution of a producer and a consumer of one small ring, on a memory
// as weak as hardware may be: no byte is lost or read before it is there, and
// nobody sleeps while there is work. Taking out any one barrier breaks that.
#include "model.h"

#include <gtest/gtest.h>

namespace {

constexpr __u32 kTotal = 3;

// Puts kTotal bytes in, one at a time; sleeps while the ring is full.
bool produce(model::Local& me) {
  if (me.moved == kTotal) return false;
  const __s64 space = lanecall_ring_space(&me.ring);
  if (space == 0) {
    if (lanecall_ring_arm_space(&me.ring, 1) == 0) model::wait();
    return true;
  }
  if (space < 0) return model::fail("the producer saw a bad tail"), false;
  model::storeByte(lanecall_ring_offset(&me.ring, me.ring.own), ++me.moved);
  if (lanecall_ring_publish(&me.ring, 1)) model::notify();
  return true;
}

// Takes them out; sleeps while it is empty.
bool consume(model::Local& me) {
  if (me.moved == kTotal) return false;
  const __s64 held = lanecall_ring_look(&me.ring);
  if (held == 0) {
    if (lanecall_ring_arm(&me.ring) == 0) model::wait();
    return true;
  }
  if (held < 0) return model::fail("the consumer saw a bad head"), false;
  model::expectByte(lanecall_ring_offset(&me.ring, me.ring.own), ++me.moved);
  if (lanecall_ring_release(&me.ring, 1)) model::notify();
  return true;
}

TEST(RingModel, EveryExecutionIsRight) {
  for (__u32 size : {1u, 2u}) {
    const auto outcome = model::explore(size, produce, consume, 0);
    EXPECT_EQ(outcome.failure, "") << "ring of " << size;
    EXPECT_GT(outcome.states, 1000u) << "the search did not search";
  }
}

TEST(RingModel, EveryBarrierIsNeeded) {
  const auto whole = model::explore(1, produce, consume, 0);
  EXPECT_EQ(whole.barriers.size(), 8u);
  for (int line : whole.barriers) {
    const auto outcome = model::explore(1, produce, consume, line);
    EXPECT_NE(outcome.failure, "") << "without the barrier in line " << line;
  }
}

}  // namespace
