// SPDX-License-Identifier: Apache-2.0
// Interrupts that announce bytes in RX are held back as the driver asked, where
// the device itself puts the bytes there.
#include "contract.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kLongest = LANECALL_MODERATE_US_MAX;  // 1 s

class Moderated : public Contract {
 protected:
  void start(uint32_t accepted = LANECALL_FEATURE_MODERATION) {
    listen();
    beginAt(server().rpc());
    enableEngine(device(), accepted);
  }

  // Its driver asks to be told of the first byte.
  Call moderated(uint32_t bytes, uint32_t us) {
    Call made = call({.moderate_bytes = bytes, .moderate_us = us});
    forget(made);
    lanecall_ring_arm(&made->rxIndices());
    return made;
  }

  void forget(Call& c) {
    while (device().interrupted(c->vector())) {
    }
  }

  // They are in RX, whoever has been told.
  void arrive(Call& c, uint32_t bytes) {
    sent_ += bytes;
    ASSERT_TRUE(c.peer.send(someBytes(bytes), soon()));
    ASSERT_TRUE(eventually(
        [&] { return lanecall_get32(&c->index().rx_producer.head) == sent_; }));
  }

  ::testing::AssertionResult told(Call& c) {
    return device().waitInterrupt(c->vector(), soon())
               ? ::testing::AssertionSuccess()
               : ::testing::AssertionFailure() << "no interrupt";
  }

  // Long before the longest time is over that began when `held` did; unless the
  // machine is so slow that it is over.
  bool toldAtOnce(Call& c, const Deadline& held) {
    return device().waitInterrupt(c->vector(),
                                  Deadline::in(kLongest / 1000 / 2)) ||
           held.passed();
  }

  uint32_t sent_ = 0;
};

TEST_F(Moderated, WithoutItTheFirstByteIsToldAtOnce) {
  start();
  Call c = moderated(1 << 20, 0);
  arrive(c, 1);
  EXPECT_TRUE(told(c));
}

TEST_F(Moderated, BytesAreToldOnceEnoughHaveCome) {
  start();
  Call c = moderated(1000, kLongest);
  const Deadline held = Deadline::in(kLongest / 1000);
  arrive(c, 400);
  arrive(c, 599);
  const bool early = device().interrupted(c->vector());
  EXPECT_FALSE(early && !held.passed());
  arrive(c, 1);
  EXPECT_TRUE(early || told(c));
  EXPECT_EQ(c->state(), uint32_t{LANECALL_RUNNING});
}

TEST_F(Moderated, BytesAreToldOnceTheTimeIsOver) {
  start();
  Call c = moderated(1 << 20, 2000);
  arrive(c, 1);
  EXPECT_TRUE(told(c));
}

TEST_F(Moderated, BytesThatNobodyWaitsForAreNotTold) {
  start();
  Call c = moderated(10, kLongest);
  arrive(c, 10);
  EXPECT_TRUE(told(c));
  arrive(c, 100);  // want_head has been passed before
  EXPECT_FALSE(device().interrupted(c->vector()));
}

TEST_F(Moderated, AFullRingIsToldAtOnce) {
  start();
  Call c = moderated(1 << 20, kLongest);
  const Deadline held = Deadline::in(kLongest / 1000);
  arrive(c, 1 << 16);
  EXPECT_TRUE(toldAtOnce(c, held));
}

TEST_F(Moderated, TheEndIsToldAtOnce) {
  start();
  Call c = moderated(1 << 20, kLongest);
  const Deadline held = Deadline::in(kLongest / 1000);
  arrive(c, 1);
  c.peer.close();
  EXPECT_TRUE(c->waitFor(LANECALL_ENDED, held) || held.passed());
  ASSERT_TRUE(c->close(soon()));
}

TEST_F(Moderated, RoomInTxIsToldAtOnce) {
  start();
  Call c = moderated(1 << 20, kLongest);
  arrive(c, 5);  // held back
  forget(c);
  const Deadline held = Deadline::in(kLongest / 1000);
  lanecall_put32(&c->index().tx_producer.want_tail, 50);
  ASSERT_EQ(c->tryWrite(someBytes(100)), 100);
  EXPECT_TRUE(toldAtOnce(c, held));
}

TEST_F(Moderated, LongerThanTheLongestIsABreach) {
  start();
  auto channel = ready({.moderate_us = kLongest + 1});
  channel->attach();
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
  EXPECT_EQ(guestErrors(), 1u);
}

TEST_F(Moderated, ItIsIgnoredIfItWasNotAccepted) {
  start(0);
  Call c = moderated(1000, kLongest + 1);
  arrive(c, 1);
  EXPECT_TRUE(told(c));
}

TEST_F(Moderated, NothingIsRememberedOfTheChannelBefore) {
  start();
  Call c = moderated(1 << 20, kLongest);
  arrive(c, 5);
  c.peer.close();
  ASSERT_TRUE(c->close(soon()));
  device().write32(LANECALL_REG_CONTROL, 0);
  device().write32(LANECALL_REG_CONTROL, 1);
  EXPECT_TRUE(worksAnew(*c));
}

}  // namespace
}  // namespace lanecall::test
