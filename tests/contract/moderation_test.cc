// SPDX-License-Identifier: Apache-2.0
// Interrupts that announce bytes in RX are held back as the driver asked, where
// the device itself puts the bytes there.
#include "contract.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kLongest = LANECALL_MODERATE_US_MAX;

class Moderated : public Contract {
 protected:
  // Its driver asks to be told of the first byte.
  Call moderated(uint32_t bytes, uint32_t us) {
    listen();
    beginAt(server().rpc());
    enableEngine(device(), LANECALL_FEATURE_MODERATION);
    Call made = call({.moderate_bytes = bytes, .moderate_us = us});
    while (device().interrupted(made->vector())) {
    }
    lanecall_ring_arm(&made->rxIndices());
    return made;
  }
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
  uint32_t sent_ = 0;
};

TEST_F(Moderated, BytesAreToldOnceEnoughHaveCome) {
  Call c = moderated(1000, kLongest);
  const Deadline held = Deadline::in(kLongest / 1000);
  arrive(c, 400);
  arrive(c, 599);
  const bool early = device().interrupted(c->vector());
  EXPECT_FALSE(early && !held.passed());
  arrive(c, 1);
  EXPECT_TRUE(early || told(c));
}

TEST_F(Moderated, BytesAreToldOnceTheTimeIsOver) {
  Call c = moderated(1 << 20, 2000);
  arrive(c, 1);
  EXPECT_TRUE(told(c));
}

TEST_F(Moderated, EndIsToldAtOnce) {
  Call c = moderated(1 << 20, kLongest);
  const Deadline held = Deadline::in(kLongest / 1000);
  arrive(c, 1);
  c.peer.close();
  EXPECT_TRUE(c->waitFor(LANECALL_ENDED, held) || held.passed());
}

TEST_F(Moderated, LongerThanTheLongestIsABreach) {
  listen();
  beginAt(server().rpc());
  enableEngine(device(), LANECALL_FEATURE_MODERATION);
  auto channel = ready({.moderate_us = kLongest + 1});
  channel->attach();
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
  EXPECT_EQ(guestErrors(), 1u);
}

TEST_F(Moderated, ItIsIgnoredIfItWasNotAccepted) {
  begin();
  Call c = call({.moderate_bytes = 1000, .moderate_us = kLongest + 1});
  EXPECT_TRUE(works(c));
}

}  // namespace
}  // namespace lanecall::test
