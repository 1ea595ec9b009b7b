// SPDX-License-Identifier: Apache-2.0
// Moderation of the interrupts that announce bytes in RX, where the rings are
// in guest memory.
#include "contract.h"
#include "qemu_device.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kLong = LANECALL_MODERATE_US_MAX;  // 1 s

class Moderation : public Contract {
 protected:
  void start(uint32_t accepted = LANECALL_FEATURE_MODERATION) {
    listen();
    use(std::make_unique<QemuDevice>(DeviceOptions{.rpc = server().rpc()}));
    enableEngine(device(), accepted);
  }

  // Its driver asks to be told of the first byte.
  Call moderated(uint32_t bytes, uint32_t us) {
    Call made = call({.moderate_bytes = bytes, .moderate_us = us});
    while (device().interrupted(made->vector())) {
    }
    lanecall_ring_arm(&made->rxIndices());
    return made;
  }

  // They are in RX, whoever has been told.
  void arrive(Call& c, uint32_t bytes) {
    sent_ += bytes;
    ASSERT_TRUE(c.peer.send(someBytes(bytes), soon()));
    ASSERT_TRUE(eventually(
        [&] { return lanecall_get32(&c->index().rx_producer.head) == sent_; }));
  }

  uint32_t sent_ = 0;
};

TEST_F(Moderation, WithoutItTheFirstByteIsToldAtOnce) {
  start();
  Call c = moderated(1000, 0);
  arrive(c, 1);
  EXPECT_TRUE(device().interrupted(c->vector()));
}

TEST_F(Moderation, HasNoEffectIfItWasNotAccepted) {
  start(0);
  Call c = moderated(1000, kLong + 1);
  arrive(c, 1);
  EXPECT_TRUE(device().interrupted(c->vector()));
}

TEST_F(Moderation, HoldsInterruptsUntilEnoughBytesHaveCome) {
  start();
  Call c = moderated(1000, kLong);
  const Deadline held = Deadline::in(kLong / 1000);
  arrive(c, 400);
  arrive(c, 599);
  const bool told = device().interrupted(c->vector());
  if (!held.passed()) {
    EXPECT_FALSE(told);
  }
  arrive(c, 1);
  EXPECT_TRUE(device().interrupted(c->vector()) || told);
  EXPECT_EQ(c->state(), uint32_t{LANECALL_RUNNING});
}

TEST_F(Moderation, HoldsThemNotLongerThanAsked) {
  start();
  Call c = moderated(1 << 20, 2000);
  arrive(c, 1);
  EXPECT_TRUE(device().waitInterrupt(c->vector(), soon()));
}

TEST_F(Moderation, BytesThatNobodyWaitsForAreNotTold) {
  start();
  Call c = moderated(10, kLong);
  arrive(c, 10);
  EXPECT_TRUE(device().interrupted(c->vector()));
  arrive(c, 100);  // want_head has been passed before
  EXPECT_FALSE(device().interrupted(c->vector()));
}

TEST_F(Moderation, AFullRingIsToldAtOnce) {
  start();
  Call c = moderated(1 << 20, kLong);
  const Deadline held = Deadline::in(kLong / 1000);
  arrive(c, 1 << 16);
  EXPECT_TRUE(device().interrupted(c->vector()) || held.passed());
}

TEST_F(Moderation, ChangesOfStateAreToldAtOnce) {
  start();
  Call c = moderated(1 << 20, kLong);
  arrive(c, 5);
  const Deadline held = Deadline::in(kLong / 1000);
  c.peer.close();
  EXPECT_TRUE(c->waitFor(LANECALL_ENDED, soon()));
  EXPECT_FALSE(held.passed());
  while (device().interrupted(c->vector())) {
  }
  ASSERT_TRUE(c->close(soon()));
}

TEST_F(Moderation, RoomInTxIsToldAtOnce) {
  start();
  Call c = moderated(1 << 20, kLong);
  arrive(c, 5);  // held back
  while (device().interrupted(c->vector())) {
  }
  const Deadline held = Deadline::in(kLong / 1000);
  lanecall_put32(&c->index().tx_producer.want_tail, 50);
  ASSERT_EQ(c->tryWrite(someBytes(100)), 100);
  EXPECT_TRUE(device().waitInterrupt(c->vector(), soon()));
  EXPECT_FALSE(held.passed());
}

TEST_F(Moderation, MoreThanASecondIsABreach) {
  start();
  auto channel = ready({.moderate_us = kLong + 1});
  channel->attach();
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
  EXPECT_EQ(guestErrors(), 1u);
}

TEST_F(Moderation, RemembersNothingOfTheChannelBefore) {
  start();
  Call c = moderated(1 << 20, kLong);
  arrive(c, 5);
  c.peer.close();
  ASSERT_TRUE(c->close(soon()));
  device().write32(LANECALL_REG_CONTROL, 0);
  device().write32(LANECALL_REG_CONTROL, 1);
  EXPECT_TRUE(worksAnew(*c));
}

}  // namespace
}  // namespace lanecall::test
