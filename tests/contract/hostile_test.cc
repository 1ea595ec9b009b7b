// SPDX-License-Identifier: Apache-2.0
// Drivers that lie: the channel that lies ends with an error, is counted, and
// nothing else notices.
#include <cstring>

#include "../seed.h"
#include "contract.h"

namespace lanecall::test {
namespace {

using test::PrintTo;  // gtest looks in this namespace only

struct Lie {
  const char* name;
  void (*tell)(Call&);
};

void putHead(Call& c, uint32_t v) {
  lanecall_put32(&c->index().tx_producer.head, v);
  lanecall_mb();
  c->doorbell();
}

// RX's tail is looked at when there is something to put in.
void putTail(Call& c, uint32_t v) {
  lanecall_put32(&c->index().rx_consumer.tail, v);
  lanecall_mb();
  c->doorbell();
  c.peer.send(someBytes(10), soon());
}

class Hostile : public Contract,
                public ::testing::WithParamInterface<std::tuple<Family, Lie>> {
};

// On the direct plane it is the server that notices, once it looks.
TEST_P(Hostile, IndexEndsItsChannelAndNoOther) {
  const auto& [family, lie] = GetParam();
  begin(family);
  Call liar = call({.channel = 0, .tx_shift = 12, .rx_shift = 12});
  Call honest = call({.channel = 1});
  // So that there is something to go back from: 1000 bytes through RX.
  ASSERT_TRUE(works(liar));
  ASSERT_TRUE(works(liar));
  ASSERT_TRUE(works(honest));
  lie.tell(liar);
  EXPECT_TRUE(liar.peer.waitEnd(soon()));
  EXPECT_TRUE(endsWith(*liar, LANECALL_ERR_PROTOCOL));
  EXPECT_GE(guestErrors(), 1u);
  EXPECT_TRUE(works(honest));
  ASSERT_TRUE(liar->close(soon()));
  EXPECT_TRUE(worksAnew(*liar));
}

INSTANTIATE_TEST_SUITE_P(
    Driver, Hostile,
    ::testing::Combine(
        ::testing::Values(Family::kUnix, Family::kCard),
        ::testing::Values(
            Lie{"TxHeadOneTooFar",
                [](Call& c) { putHead(c, c->txIndices().own + 4097); }},
            Lie{"TxHeadBackByOne",
                [](Call& c) { putHead(c, c->txIndices().own - 1); }},
            Lie{"TxHeadBackToZero", [](Call& c) { putHead(c, 0); }},
            Lie{"TxHeadHalfWayRound",
                [](Call& c) { putHead(c, c->txIndices().own + 0x80000000); }},
            Lie{"TxHeadAllOnes", [](Call& c) { putHead(c, ~0u); }},
            Lie{"RxTailAheadOfHead",
                [](Call& c) { putTail(c, c->rxIndices().own + 100); }},
            // It has seen a tail of 500 when it put the second 500 bytes in.
            Lie{"RxTailBack", [](Call& c) { putTail(c, 499); }},
            Lie{"RxTailHalfWayRound",
                [](Call& c) { putTail(c, c->rxIndices().own + 0x80000000); }},
            Lie{"RxTailAllOnes", [](Call& c) { putTail(c, ~0u); }})),
    [](const auto& info) {
      return ::testing::PrintToString(std::get<0>(info.param)) +
             std::get<1>(info.param).name;
    });

TEST_F(Contract, TxHeadThatIsImpossibleAtAttachIsAProtocolError) {
  begin();
  auto channel = ready({.tx_shift = 12});
  lanecall_put32(&channel->index().tx_producer.head, 4097);
  channel->attach();
  channel->doorbell();
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
}

TEST_F(Contract, TxHeadThatIsImpossibleAtDrainDoesNotSend) {
  begin();
  Call c = call({.tx_shift = 12});
  lanecall_put32(&c->index().tx_producer.head, 4097);
  lanecall_mb();
  c->command(LANECALL_CMD_DRAIN);
  EXPECT_TRUE(endsWith(*c, LANECALL_ERR_PROTOCOL));
  const auto got = c.peer.receiveToEnd(soon());
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->empty());
}

TEST_F(Contract, RxTailThatLiesWhileRxIsFullIsAProtocolError) {
  begin();
  Call c = call({.rx_shift = 12});
  ASSERT_TRUE(c.peer.send(someBytes(9000), soon()));
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&c->index().rx_producer.head) == 4096; }));
  lanecall_put32(&c->index().rx_consumer.tail, 4097);
  lanecall_mb();
  c->doorbell();
  EXPECT_TRUE(endsWith(*c, LANECALL_ERR_PROTOCOL));
}

// The device's own words in the index page are for the driver to read, not for
// the device: it keeps its own.
TEST_F(Contract, DeviceDoesNotBelieveItsOwnWordsInMemory) {
  begin();
  Call c = call();
  ASSERT_TRUE(works(c));
  auto& page = c->index();
  lanecall_put32(&page.tx_consumer.tail, 0x55555555);
  lanecall_put32(&page.rx_producer.head, 0x55555555);
  lanecall_put32(&page.status, 0x55555555);
  lanecall_mb();
  const uint32_t at = c->txIndices().own;
  c->tx().store(at, someBytes(50));
  lanecall_put32(&page.tx_producer.head, at + 50);
  lanecall_mb();
  c->doorbell();
  EXPECT_EQ(c.peer.receive(50, soon()), someBytes(50));
  EXPECT_TRUE(eventually(
      [&] { return lanecall_get32(&page.tx_consumer.tail) == at + 50; }));
  ASSERT_TRUE(c.peer.send(someBytes(50), soon()));
  EXPECT_TRUE(eventually([&] {
    return lanecall_get32(&page.rx_producer.head) == c->rxIndices().own + 50;
  }));
  lanecall_put32(&page.status, LANECALL_RUNNING);
}

// Two channels on the same memory hurt themselves only.
TEST_F(Contract, ChannelsThatShareMemoryHurtNobodyElse) {
  begin();
  Call honest = call({.channel = 9});
  {
    Call a = call({.channel = 0});
    auto b = ready({.channel = 1});
    // Channel 2 uses channel 0's index page and rings.
    UserChannel thief(device(), {.channel = 2});
    thief.writeControl64(LANECALL_CH_INDEX_LO, a->indexAddress());
    thief.writeControl(LANECALL_CH_VECTOR, thief.vector());
    thief.command(LANECALL_CMD_OPEN);
    ASSERT_TRUE(
        eventually([&] { return thief.statusRegister() == LANECALL_READY; }));
    thief.writeControl64(LANECALL_CH_TX_TABLE_LO, a->tx().table());
    thief.writeControl64(LANECALL_CH_RX_TABLE_LO, a->tx().table());
    thief.writeControl(LANECALL_CH_TX_SHIFT, 16);
    thief.writeControl(LANECALL_CH_RX_SHIFT, 16);
    thief.writeControl(LANECALL_CH_PAGE_SHIFT, 12);
    thief.command(LANECALL_CMD_ATTACH);
    a->tryWrite(someBytes(5000));
    thief.doorbell();
    a->doorbell();
    a.peer.send(someBytes(5000), soon());
    EXPECT_TRUE(works(honest));
    thief.command(LANECALL_CMD_CLOSE);
    EXPECT_TRUE(eventually([&] { return thief.statusRegister() == 0; }));
    if (LANECALL_STATE(a->statusRegister()) != LANECALL_CLOSED) {
      a->command(LANECALL_CMD_CLOSE);
      EXPECT_TRUE(eventually([&] { return a->statusRegister() == 0; }));
    }
  }
  server().discardPending();
  EXPECT_TRUE(works(honest));
}

// All words of all registers, at random, and then the device still works.
class RandomWrites : public ContractOnPlanes {};

INSTANTIATE_TEST_SUITE_P(Over, RandomWrites,
                         ::testing::Values(Family::kUnix, Family::kCard),
                         ::testing::PrintToStringParamName());

TEST_P(RandomWrites, LeaveADeviceThatWorks) {
  begin(GetParam(), {.channels = 8});
  const auto seed = static_cast<unsigned>(announcedSeed());
  std::mt19937 random(seed);
  const Geometry g(device());
  const auto& memory = device().memory();
  const auto value = [&]() -> uint32_t {
    switch (random() % 5) {
      case 0:
        return random() % 8;
      case 1:
        return static_cast<uint32_t>(memory.base() + memory.size() / 2 +
                                     (random() % 1024) * 4096);
      case 2:
        return 12 + random() % 12;
      case 3:
        return 0;
      default:
        return static_cast<uint32_t>(random());
    }
  };
  for (int i = 0; i < 20000; ++i) {
    const unsigned n = random() % g.channels;
    switch (random() % 8) {
      case 0:
        device().write32(g.doorbell(n), value());
        break;
      case 1:
        device().write32(random() % 64 * 4, value());
        break;
      case 2:
        device().write32(LANECALL_REG_CONTROL, 1);
        break;
      default:
        device().write32(g.control(n) + random() % 16 * 4, value());
    }
    if (i % 64 == 0) server().discardPending();
  }
  device().write32(LANECALL_REG_CONTROL, 0);
  EXPECT_TRUE(
      eventually([&] { return device().read32(LANECALL_REG_STATUS) == 0; }));
  server().discardPending();
  enable();
  Call c = call({.channel = 7});
  EXPECT_TRUE(works(c));
}

}  // namespace
}  // namespace lanecall::test
