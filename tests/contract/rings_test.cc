// SPDX-License-Identifier: Apache-2.0
// Bytes through the rings: whole and in order, round the end, when exactly full
// and exactly empty; and who tells whom when.
#include <thread>

#include "../seed.h"
#include "contract.h"

namespace lanecall::test {
namespace {

class Rings : public ContractOnPlanes {};

INSTANTIATE_TEST_SUITE_P(Over, Rings, planes(),
                         ::testing::PrintToStringParamName());

TEST_P(Rings, CarryEverySizeBothWays) {
  begin(GetParam());
  Call c = call({.tx_shift = 12, .rx_shift = 12});
  for (size_t size : {1, 2, 511, 512, 513, 4095, 4096, 4097, 8192, 65537}) {
    SCOPED_TRACE(size);
    const Bytes bytes = someBytes(size, static_cast<unsigned>(size));
    std::thread writer([&] { EXPECT_TRUE(c->write(bytes, soon())); });
    EXPECT_EQ(c.peer.receive(size, soon()), bytes);
    writer.join();
    std::thread sender([&] { EXPECT_TRUE(c.peer.send(bytes, soon())); });
    EXPECT_EQ(c->read(size, soon()), bytes);
    sender.join();
  }
}

TEST_P(Rings, EchoAMegabyteThroughTheSmallestRings) {
  begin(GetParam());
  EchoService echo(server());
  UserChannel channel(device(), {.tx_shift = 12, .rx_shift = 12});
  ASSERT_TRUE(channel.start(soon()));
  const auto seed = static_cast<unsigned>(announcedSeed());
  std::mt19937 random(seed);
  const Bytes out = someBytes(1 << 20, seed);
  Bytes back;
  size_t sent = 0;
  while (back.size() < out.size()) {
    const size_t n = std::min<size_t>(1 + random() % 6000, out.size() - sent);
    if (n > 0) {
      const __s64 took = channel.tryWrite(std::span(out).subspan(sent, n));
      ASSERT_GE(took, 0);
      sent += static_cast<size_t>(took);
    }
    const bool stuck = sent == out.size() || !channel.writable();
    if (!stuck && !channel.readable()) continue;
    const auto some = channel.readSome(1 + random() % 6000, soon());
    ASSERT_TRUE(some && !some->empty());
    back.insert(back.end(), some->begin(), some->end());
  }
  EXPECT_EQ(back, out);
}

TEST_P(Rings, ServerThatDoesNotReadStopsTheDriverAndLosesNothing) {
  begin(GetParam());
  server().limitReceiveBuffers();
  Call c = call({.tx_shift = 12, .rx_shift = 12});
  // Until the ring is exactly full; the sockets, if there are any, are then.
  const Bytes bytes = someBytes(32 << 20);
  size_t sent = 0;
  for (__s64 n = 1; n > 0; sent += static_cast<size_t>(n)) {
    n = c->tryWrite(std::span(bytes).subspan(sent, 4096));
    ASSERT_GE(n, 0);
    ASSERT_LT(sent, bytes.size() - 4096);
  }
  EXPECT_EQ(c->txIndices().own - c->txIndices().other, 4096u);
  EXPECT_EQ(c->state(), uint32_t{LANECALL_RUNNING});

  // Another channel is none the wiser.
  Call other = call({.channel = 1});
  EXPECT_TRUE(works(other));

  EXPECT_EQ(c.peer.receive(sent, soon()),
            Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(sent)));
  EXPECT_TRUE(c->waitWritable(4096, soon()));
  EXPECT_TRUE(works(c));
}

TEST_P(Rings, DriverThatDoesNotReadFillsRxExactlyAndLosesNothing) {
  begin(GetParam());
  Call c = call({.rx_shift = 12});
  const Bytes bytes = someBytes(40000);
  std::thread sender([&] { EXPECT_TRUE(c.peer.send(bytes, soon())); });
  auto& rx = c->index();
  EXPECT_TRUE(
      eventually([&] { return lanecall_get32(&rx.rx_producer.head) == 4096; }));
  // It asks to be told when half of the ring is free.
  EXPECT_TRUE(eventually([&] {
    return lanecall_get32(&rx.rx_producer.want_tail) == 4096 - 4096 + 2048 - 1;
  }));
  Call other = call({.channel = 1});
  EXPECT_TRUE(works(other));
  EXPECT_EQ(lanecall_get32(&rx.rx_producer.head), 4096u);

  EXPECT_EQ(c->read(bytes.size(), soon()), bytes);
  sender.join();
}

TEST_F(Contract, RxIsFilledAgainOnceHalfOfItIsFree) {
  begin();
  Call c = call({.rx_shift = 12});
  ASSERT_TRUE(c.peer.send(someBytes(8192), soon()));
  auto& page = c->index();
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&page.rx_producer.want_tail) == 2047; }));
  ASSERT_EQ(lanecall_ring_look(&c->rxIndices()), 4096);
  EXPECT_FALSE(lanecall_ring_release(&c->rxIndices(), 2047));
  EXPECT_TRUE(lanecall_ring_release(&c->rxIndices(), 1));
  c->doorbell();
  EXPECT_TRUE(eventually(
      [&] { return lanecall_get32(&page.rx_producer.head) == 4096 + 2048; }));
}

TEST_F(Contract, TxExactlyFullBeforeAttachIsSentWhole) {
  begin();
  auto channel = ready({.tx_shift = 12});
  const Bytes bytes = someBytes(4096);
  channel->tx().store(0, bytes);
  lanecall_ring_publish(&channel->txIndices(), 4096);
  channel->attach();
  Peer peer = *server().accept(soon());
  EXPECT_EQ(peer.receive(4096, soon()), bytes);
  EXPECT_TRUE(channel->waitWritable(4096, soon()));
  EXPECT_EQ(lanecall_get32(&channel->index().tx_consumer.tail), 4096u);
}

// ---- Interrupts
// --------------------------------------------------------------

class Asked : public Contract {
 protected:
  static constexpr uint32_t kNever = 0x40000000;  // far from every index

  void forgetInterrupts(UserChannel& c) {
    while (device().interrupted(c.vector())) {
    }
  }
  // The device has dealt with one batch once it has dealt with the next.
  void receiveTwice(Call& c, size_t size) {
    const uint32_t before = lanecall_get32(&c->index().rx_producer.head);
    for (uint32_t n : {1u, 2u}) {
      ASSERT_TRUE(c.peer.send(someBytes(size), soon()));
      ASSERT_TRUE(eventually([&] {
        return lanecall_get32(&c->index().rx_producer.head) ==
               before + n * size;
      }));
    }
  }
};

TEST_F(Asked, RxRaisesNothingUnlessAsked) {
  begin();
  Call c = call();
  lanecall_put32(&c->index().rx_consumer.want_head, kNever);
  lanecall_mb();
  receiveTwice(c, 100);
  forgetInterrupts(*c);
  receiveTwice(c, 100);
  receiveTwice(c, 100);
  EXPECT_FALSE(device().interrupted(c->vector()));
}

TEST_F(Asked, RxRaisesWhenItsHeadPassesWhatWasAsked) {
  begin();
  Call c = call();
  lanecall_put32(&c->index().rx_consumer.want_head, 250);
  lanecall_mb();
  receiveTwice(c, 100);
  forgetInterrupts(*c);
  ASSERT_TRUE(c.peer.send(someBytes(50), soon()));  // to 250: not passed
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&c->index().rx_producer.head) == 250; }));
  ASSERT_TRUE(c.peer.send(someBytes(1), soon()));  // 251: passed
  EXPECT_TRUE(device().waitInterrupt(c->vector(), soon()));
}

TEST_F(Asked, TxRaisesNothingUnlessAsked) {
  begin();
  Call c = call();
  lanecall_put32(&c->index().tx_producer.want_tail, kNever);
  lanecall_mb();
  // As above: the first is dealt with when the second has been.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(c->write(someBytes(100), soon()));
    ASSERT_EQ(c.peer.receive(100, soon()).size(), 100u);
    ASSERT_TRUE(eventually([&] {
      return lanecall_get32(&c->index().tx_consumer.tail) == c->txIndices().own;
    }));
    if (i == 0) forgetInterrupts(*c);
  }
  EXPECT_FALSE(device().interrupted(c->vector()));
}

TEST_F(Asked, TxRaisesWhenItsTailPassesWhatWasAsked) {
  begin();
  Call c = call();
  forgetInterrupts(*c);
  lanecall_put32(&c->index().tx_producer.want_tail, 99);
  lanecall_mb();
  ASSERT_TRUE(c->write(someBytes(99), soon()));
  ASSERT_EQ(c.peer.receive(99, soon()).size(), 99u);
  ASSERT_TRUE(c->write(someBytes(1), soon()));
  EXPECT_TRUE(device().waitInterrupt(c->vector(), soon()));
}

// ---- Doorbells
// ---------------------------------------------------------------

TEST_F(Contract, DeviceAsksForADoorbellWhenTxIsEmpty) {
  begin();
  Call c = call();
  for (int i = 0; i < 5; ++i) {
    const __u32 sent = c->txIndices().own;
    ASSERT_TRUE(eventually([&] {
      return lanecall_get32(&c->index().tx_consumer.want_head) == sent;
    }));
    c->tx().store(sent, someBytes(10));
    EXPECT_TRUE(lanecall_ring_publish(&c->txIndices(), 10));
    c->doorbell();
    EXPECT_EQ(c.peer.receive(10, soon()), someBytes(10));
  }
}

TEST_F(Contract, DoorbellsWithoutNewsAreHarmless) {
  begin();
  Call c = call();
  const Geometry g(device());
  for (uint32_t value : {0u, 1u, 0x80000000u, ~0u}) {
    for (int i = 0; i < 100; ++i) {
      device().write32(g.doorbell(c->channel()), value);
    }
  }
  EXPECT_TRUE(works(c));
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Contract, DoorbellOfAnyValueTellsTheDevice) {
  begin();
  Call c = call();
  for (uint32_t value : {0u, 1u, 0x80000000u, ~0u}) {
    c->tx().store(c->txIndices().own, someBytes(10));
    lanecall_ring_publish(&c->txIndices(), 10);
    device().write32(Geometry(device()).doorbell(c->channel()), value);
    EXPECT_EQ(c.peer.receive(10, soon()), someBytes(10)) << value;
  }
}

TEST_F(Contract, DoorbellsAreIgnoredUnlessRunning) {
  begin();
  UserChannel closed(device(), {.channel = 0});
  closed.doorbell();
  EXPECT_EQ(closed.statusRegister(), 0u);

  auto connected = ready({.channel = 1});
  lanecall_put32(&connected->index().tx_producer.head, 0x12345678);
  connected->doorbell();
  EXPECT_EQ(connected->statusRegister(), uint32_t{LANECALL_READY});
  lanecall_put32(&connected->index().tx_producer.head, 0);
  server().discardPending();

  Call ended = call({.channel = 2});
  ended.peer.close();
  ASSERT_TRUE(endsWith(*ended, LANECALL_ERR_NONE));
  lanecall_put32(&ended->index().tx_producer.head, 0x12345678);
  ended->doorbell();
  EXPECT_TRUE(endsWith(*ended, LANECALL_ERR_NONE));
  EXPECT_EQ(guestErrors(), 0u);
}

}  // namespace
}  // namespace lanecall::test
