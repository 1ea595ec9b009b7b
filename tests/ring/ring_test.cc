// SPDX-License-Identifier: Apache-2.0
// The ring core's arithmetic, one thread playing both sides. Every test runs
// with indices near 0 and with indices about to wrap at 2^32.
#include <gtest/gtest.h>
#include <lanecall/ring.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "../seed.h"

namespace {

constexpr __u32 kSize = 4096;

class Ring : public ::testing::TestWithParam<__u32> {
 protected:
  void SetUp() override {
    std::memset(&page_, 0, sizeof page_);
    auto* producer = &page_.tx_producer;
    auto* consumer = &page_.tx_consumer;
    lanecall_ring_init(&in_, producer, consumer, kSize);
    lanecall_ring_init(&out_, producer, consumer, kSize);
    startAt(GetParam());
  }

  // As if `index` bytes had already gone through.
  void startAt(__u32 index) {
    in_.own = in_.other = out_.own = out_.other = index;
    lanecall_put32(&in_.producer->head, index);
    lanecall_put32(&in_.producer->want_tail, index - 1);
    lanecall_put32(&in_.consumer->tail, index);
    lanecall_put32(&in_.consumer->want_head, index - 1);
  }

  __u32 head() { return lanecall_get32(&in_.producer->head); }
  __u32 tail() { return lanecall_get32(&in_.consumer->tail); }
  void lieHead(__u32 v) { lanecall_put32(&in_.producer->head, v); }
  void lieTail(__u32 v) { lanecall_put32(&in_.consumer->tail, v); }

  lanecall_index_page page_;
  lanecall_ring in_;   // the producer's private side
  lanecall_ring out_;  // the consumer's
};

INSTANTIATE_TEST_SUITE_P(From, Ring,
                         ::testing::Values(0u, 1u, 4095u, 0x7ffffff0u,
                                           0xffffffffu, 0xfffff000u,
                                           0xfffff001u));

TEST_P(Ring, EmptyRingHasAllItsSpaceAndNothingToRead) {
  EXPECT_EQ(lanecall_ring_space(&in_), kSize);
  EXPECT_EQ(lanecall_ring_look(&out_), 0);
}

TEST_P(Ring, ExactlyFullRingHasNoSpaceAndAllToRead) {
  lanecall_ring_publish(&in_, kSize);
  EXPECT_EQ(lanecall_ring_space(&in_), 0);
  EXPECT_EQ(lanecall_ring_look(&out_), kSize);
  EXPECT_EQ(head(), GetParam() + kSize);

  lanecall_ring_release(&out_, kSize);
  EXPECT_EQ(lanecall_ring_look(&out_), 0);
  EXPECT_EQ(lanecall_ring_space(&in_), kSize);
  EXPECT_EQ(tail(), head());
}

TEST_P(Ring, OneByteShortOfFullAndOfEmpty) {
  lanecall_ring_publish(&in_, kSize - 1);
  EXPECT_EQ(lanecall_ring_space(&in_), 1);
  ASSERT_EQ(lanecall_ring_look(&out_), kSize - 1);
  lanecall_ring_release(&out_, kSize - 2);
  EXPECT_EQ(lanecall_ring_look(&out_), 1);
  EXPECT_EQ(lanecall_ring_space(&in_), kSize - 1);
}

TEST_P(Ring, OffsetIsTheIndexModuloTheSize) {
  EXPECT_EQ(lanecall_ring_offset(&in_, GetParam()), GetParam() % kSize);
  EXPECT_EQ(lanecall_ring_offset(&in_, GetParam() + kSize), GetParam() % kSize);
  EXPECT_LT(lanecall_ring_offset(&in_, 0xffffffffu), kSize);
}

TEST_P(Ring, ConsumerRejectsMoreThanTheRingHolds) {
  lieHead(GetParam() + kSize + 1);
  EXPECT_EQ(lanecall_ring_look(&out_), -1);
  lieHead(GetParam() + 0x80000000u);
  EXPECT_EQ(lanecall_ring_look(&out_), -1);
  EXPECT_EQ(lanecall_ring_arm(&out_), -1);
  EXPECT_EQ(out_.other, GetParam());  // a lie is not remembered
}

TEST_P(Ring, ConsumerRejectsHeadBehindItsTail) {
  lieHead(GetParam() - 1);
  EXPECT_EQ(lanecall_ring_look(&out_), -1);
}

TEST_P(Ring, ConsumerRejectsHeadThatMovesBack) {
  lanecall_ring_publish(&in_, 100);
  ASSERT_EQ(lanecall_ring_look(&out_), 100);
  lieHead(GetParam() + 99);  // would be a valid head, had it not been 100
  EXPECT_EQ(lanecall_ring_look(&out_), -1);
  EXPECT_EQ(out_.other, GetParam() + 100);
}

// As memory reads whose device was pulled out, on real machines and in QEMU.
TEST_P(Ring, ConsumerKnowsWhenTheRingIsNotThereAnyMore) {
  for (const int left : {0xff, 0x00}) {
    startAt(GetParam());
    EXPECT_TRUE(lanecall_ring_is_there(&out_));
    lanecall_ring_publish(&in_, 100);
    ASSERT_EQ(lanecall_ring_look(&out_), 100);
    EXPECT_TRUE(lanecall_ring_is_there(&out_));
    for (const __u32 given : {0U, 1U, 98U}) {
      lanecall_ring_release(&out_, given);
      EXPECT_TRUE(lanecall_ring_is_there(&out_)) << given;
      const lanecall_index_page before = page_;
      std::memset(&page_, left, sizeof page_);
      EXPECT_FALSE(lanecall_ring_is_there(&out_)) << given << ' ' << left;
      page_ = before;
    }
  }
}

TEST_P(Ring, ProducerRejectsTailAheadOfItsHead) {
  lieTail(GetParam() + 1);
  EXPECT_EQ(lanecall_ring_space(&in_), -1);
  EXPECT_EQ(lanecall_ring_arm_space(&in_, 1), -1);
  EXPECT_EQ(in_.other, GetParam());
}

TEST_P(Ring, ProducerRejectsTailThatMovesBack) {
  lanecall_ring_publish(&in_, 100);
  ASSERT_EQ(lanecall_ring_look(&out_), 100);
  lanecall_ring_release(&out_, 50);
  ASSERT_EQ(lanecall_ring_space(&in_), kSize - 50);
  lieTail(GetParam() + 49);
  EXPECT_EQ(lanecall_ring_space(&in_), -1);
}

TEST_P(Ring, ProducerRejectsTailMoreThanASizeBehind) {
  lanecall_ring_publish(&in_, kSize);
  lieTail(GetParam() - 1);
  EXPECT_EQ(lanecall_ring_space(&in_), -1);
}

TEST_P(Ring, ProducerIsToldToNotifyOnlyByAnArmedConsumer) {
  EXPECT_FALSE(lanecall_ring_publish(&in_, 10));
  ASSERT_EQ(lanecall_ring_look(&out_), 10);
  lanecall_ring_release(&out_, 10);
  ASSERT_EQ(lanecall_ring_arm(&out_), 0);
  EXPECT_TRUE(lanecall_ring_publish(&in_, 1));
  EXPECT_FALSE(lanecall_ring_publish(&in_, 1));  // told once
}

TEST_P(Ring, ArmingAgainstAHeadAlreadyThereShowsIt) {
  lanecall_ring_publish(&in_, 7);
  EXPECT_EQ(lanecall_ring_arm(&out_), 7);
}

TEST_P(Ring, ConsumerIsToldToNotifyOnlyWhenTheRoomAskedForIsThere) {
  lanecall_ring_publish(&in_, kSize);
  ASSERT_EQ(lanecall_ring_look(&out_), kSize);
  ASSERT_EQ(lanecall_ring_arm_space(&in_, kSize / 2), 0);
  EXPECT_FALSE(lanecall_ring_release(&out_, kSize / 2 - 1));
  EXPECT_TRUE(lanecall_ring_release(&out_, 1));
  EXPECT_FALSE(lanecall_ring_release(&out_, 1));
  EXPECT_EQ(lanecall_ring_space(&in_), kSize / 2 + 1);
}

TEST_P(Ring, RoomMayBeAskedForFromOneByteToTheWholeRing) {
  for (__u32 room : {1u, 2u, kSize - 1, kSize}) {
    startAt(GetParam());
    lanecall_ring_publish(&in_, kSize);
    ASSERT_EQ(lanecall_ring_look(&out_), kSize);
    ASSERT_EQ(lanecall_ring_arm_space(&in_, room), 0);
    if (room > 1) {
      EXPECT_FALSE(lanecall_ring_release(&out_, room - 1)) << room;
    }
    EXPECT_TRUE(lanecall_ring_release(&out_, 1)) << room;
  }
}

TEST_P(Ring, RoomThatIsAlreadyThereIsSeenWhenArming) {
  lanecall_ring_publish(&in_, 100);
  EXPECT_EQ(lanecall_ring_arm_space(&in_, kSize - 100), kSize - 100);
}

// passes(wanted, before, now): true for wanted in [before, now), modulo 2^32.
TEST_P(Ring, PassesIsTrueFromBeforeUpToButWithoutNow) {
  const __u32 before = GetParam();
  for (__u32 n : {1u, 2u, 17u, kSize, 1u << LANECALL_RING_SHIFT_MAX}) {
    const __u32 now = before + n;
    EXPECT_FALSE(lanecall_ring_passes(before - 1, before, now)) << n;
    EXPECT_TRUE(lanecall_ring_passes(before, before, now)) << n;
    EXPECT_TRUE(lanecall_ring_passes(now - 1, before, now)) << n;
    EXPECT_FALSE(lanecall_ring_passes(now, before, now)) << n;
    EXPECT_FALSE(lanecall_ring_passes(now + 1, before, now)) << n;
  }
}

TEST_P(Ring, AnIndexThatStandsStillPassesNothing) {
  const __u32 at = GetParam();
  for (__u32 wanted : {at - 1, at, at + 1, at + 0x80000000u}) {
    EXPECT_FALSE(lanecall_ring_passes(wanted, at, at));
  }
}

TEST_P(Ring, ValidHoldsFromEmptyToFullOnly) {
  const __u32 tail = GetParam();
  EXPECT_TRUE(lanecall_ring_valid(tail, tail, kSize));
  EXPECT_TRUE(lanecall_ring_valid(tail + kSize, tail, kSize));
  EXPECT_FALSE(lanecall_ring_valid(tail + kSize + 1, tail, kSize));
  EXPECT_FALSE(lanecall_ring_valid(tail - 1, tail, kSize));
}

// The sums above against a model with 64-bit counters that never wrap.
TEST_P(Ring, RandomWalkAgreesWithCountersThatDoNotWrap) {
  const auto seed = static_cast<unsigned>(lanecall::test::announcedSeed());
  std::mt19937 random(seed);
  uint64_t head = 0, tail = 0;
  for (int i = 0; i < 20000; ++i) {
    const __u32 limit = random() % (kSize + 1);
    if (random() % 2) {
      ASSERT_EQ(lanecall_ring_space(&in_), __s64(kSize - (head - tail)));
      const __u32 n = std::min<__u32>(limit, kSize - (head - tail));
      ASSERT_GE(lanecall_ring_look(&out_), 0);  // arm asks from here on
      ASSERT_GE(lanecall_ring_arm(&out_), 0);
      EXPECT_EQ(lanecall_ring_publish(&in_, n) != 0, n > 0);
      head += n;
    } else {
      ASSERT_EQ(lanecall_ring_look(&out_), __s64(head - tail));
      const __u32 n = std::min<__u32>(limit, head - tail);
      const __u32 room = 1 + random() % kSize;
      ASSERT_GE(lanecall_ring_arm_space(&in_, room), 0);
      const uint64_t before = kSize - (head - tail), after = before + n;
      EXPECT_EQ(lanecall_ring_release(&out_, n) != 0,
                before < room && after >= room);
      tail += n;
    }
  }
}

}  // namespace
