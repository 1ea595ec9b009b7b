// SPDX-License-Identifier: Apache-2.0
// How a channel ends: the server closes, resets or stalls; the driver drains or
// closes.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "contract.h"

namespace lanecall::test {
namespace {

constexpr size_t kStuffed = size_t{8} << 20;

class Ends : public ContractOnPlanes {
 protected:
  // A channel with more in TX than all sockets on the way will hold.
  Call stuffed() {
    server().limitReceiveBuffers();
    Call c = call({.tx_shift = 23});
    bytes_ = someBytes(kStuffed);
    EXPECT_EQ(c->tryWrite(bytes_), __s64{kStuffed});
    return c;
  }
  Bytes bytes_;
};

INSTANTIATE_TEST_SUITE_P(Over, Ends, planes(),
                         ::testing::PrintToStringParamName());

// What only a connection with buffers of its own shows.
class SocketEnds : public Ends {};

INSTANTIATE_TEST_SUITE_P(Over, SocketEnds, sockets(),
                         ::testing::PrintToStringParamName());

TEST_P(Ends, ServerClosesAndAllItSentIsInRxBeforeEnded) {
  begin(GetParam());
  for (size_t size : {0, 1, 1000, 65535, 65536}) {
    Call c = call({.rx_shift = 16});
    const Bytes bytes = someBytes(size);
    ASSERT_TRUE(c.peer.send(bytes, soon()));
    c.peer.close();
    if (size == 65536) {  // exactly full: the end is behind it
      ASSERT_TRUE(eventually([&] {
        return lanecall_get32(&c->index().rx_producer.head) == size;
      }));
      EXPECT_EQ(c->read(size, soon()), bytes);
      ASSERT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
    } else {
      ASSERT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
      EXPECT_EQ(lanecall_get32(&c->index().rx_producer.head), size);
      EXPECT_EQ(c->read(size, soon()), bytes);
    }
  }
}

TEST_P(Ends, ServerSendsMoreThanRxHoldsAndCloses) {
  begin(GetParam());
  Call c = call({.rx_shift = 12});
  const Bytes bytes = someBytes(50000);
  std::thread server([&] {
    EXPECT_TRUE(c.peer.send(bytes, soon()));
    c.peer.close();
  });
  EXPECT_TRUE(eventually(
      [&] { return lanecall_get32(&c->index().rx_producer.head) == 4096; }));
  EXPECT_EQ(c->state(), uint32_t{LANECALL_RUNNING});
  EXPECT_EQ(c->read(bytes.size() + 1, soon()), bytes);
  server.join();
  EXPECT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
}

TEST_P(Ends, ServerResets) {
  begin(GetParam());
  Call c = call();
  ASSERT_TRUE(works(c));
  // A Unix socket resets when it is closed with bytes unread.
  ASSERT_TRUE(c->write(someBytes(10), soon()));
  if (GetParam() != Family::kCard) {
    ASSERT_TRUE(eventually([&] {
      return lanecall_get32(&c->index().tx_consumer.tail) == c->txIndices().own;
    }));
  }
  c.peer.abort();
  EXPECT_TRUE(endsWith(*c, LANECALL_ERR_RESET));
  ASSERT_TRUE(c->close(soon()));
  EXPECT_TRUE(worksAnew(*c));
}

TEST_P(Ends, WhatTheServerSentBeforeAResetIsNotLost) {
  begin(GetParam());
  Call c = call();
  const Bytes bytes = someBytes(1000);
  ASSERT_TRUE(c.peer.send(bytes, soon()));
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&c->index().rx_producer.head) == 1000; }));
  c.peer.abort();
  ASSERT_TRUE(c->waitFor(LANECALL_ENDED, soon()));
  EXPECT_EQ(c->read(2000, soon()), bytes);
}

TEST_P(SocketEnds, SendThatFailsShowsTheEndThatAFullRxHid) {
  begin(GetParam());
  Call c = call({.rx_shift = 12});
  const Bytes bytes = someBytes(4096);
  ASSERT_TRUE(c.peer.send(bytes, soon()));
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&c->index().rx_producer.head) == 4096; }));
  c.peer.close();
  EXPECT_EQ(c->state(), uint32_t{LANECALL_RUNNING});
  // TCP may take one send before it hears that nobody reads.
  const Deadline deadline = soon();
  while (c->state() == LANECALL_RUNNING && !deadline.passed()) {
    c->tryWrite(someBytes(1));
  }
  EXPECT_EQ(c->state(), uint32_t{LANECALL_ENDED});
  EXPECT_EQ(c->read(5000, soon()), bytes);
}

// The driver's next doorbell is for both rings, so that the send meets the end
// of the connection before a receive does.
class EndsBehindAFullRx : public Ends {
 protected:
  // RX is full, and the socket holds 1000 bytes more.
  Call full() {
    Call c = call({.rx_shift = 12});
    bytes_ = someBytes(4096 + 1000);
    EXPECT_TRUE(c.peer.send(bytes_, soon()));
    EXPECT_TRUE(eventually(
        [&] { return lanecall_get32(&c->index().rx_producer.head) == 4096; }));
    return c;
  }
  void sendAndMakeRoom(UserChannel& channel) {
    lanecall_ring& tx = channel.txIndices();
    channel.tx().store(tx.own, someBytes(100));
    lanecall_ring_publish(&tx, 100);
    Bytes got(channel.rx().size());
    EXPECT_EQ(channel.tryRead(got), static_cast<__s64>(got.size()));  // rings
    EXPECT_TRUE(std::equal(got.begin(), got.end(), bytes_.begin()));
  }
  void expectTheRest(UserChannel& channel) {
    EXPECT_EQ(channel.read(2000, soon()),
              Bytes(bytes_.begin() + 4096, bytes_.end()));
  }
};

INSTANTIATE_TEST_SUITE_P(Over, EndsBehindAFullRx, sockets(),
                         ::testing::PrintToStringParamName());

TEST_P(EndsBehindAFullRx, AResetMetByASendIsNoOrderlyEnd) {
  begin(GetParam());
  Call c = full();
  ASSERT_TRUE(c->write(someBytes(10), soon()));  // what the server never reads
  ASSERT_TRUE(eventually([&] {
    return lanecall_get32(&c->index().tx_consumer.tail) == c->txIndices().own;
  }));
  c.peer.abort();
  sendAndMakeRoom(*c);
  EXPECT_TRUE(endsWith(*c, LANECALL_ERR_RESET));
  expectTheRest(*c);
}

TEST_P(EndsBehindAFullRx, AnOrderlyEndMetByASendIsNoReset) {
  begin(GetParam());
  Call c = full();
  c.peer.close();
  sendAndMakeRoom(*c);
  EXPECT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
  expectTheRest(*c);
}

// More than one socket call moves. What TCP had not delivered when it learns
// that the server is gone is lost, but no byte comes twice or in disorder.
TEST_P(EndsBehindAFullRx, MuchIsSavedToo) {
  constexpr int kAsked = 1 << 20;  // the kernel gives less
  constexpr unsigned kRxShift = 20, kRx = 1u << kRxShift;
  begin(GetParam());
  Call c = call({.rx_shift = kRxShift});
  setsockopt(c.peer.fd(), SOL_SOCKET, SO_SNDBUF, &kAsked, sizeof kAsked);
  const Bytes first = someBytes(kRx), more = someBytes(700000, 2);
  ASSERT_TRUE(c.peer.send(first, soon()));
  ASSERT_TRUE(eventually(
      [&] { return lanecall_get32(&c->index().rx_producer.head) == kRx; }));
  const size_t held = c.peer.sendNow(more);
  ASSERT_GT(held, 0u);
  c.peer.close();
  bytes_ = first;
  sendAndMakeRoom(*c);
  ASSERT_TRUE(c->waitFor(LANECALL_ENDED, soon()));
  const Bytes got = c->read(kRx, soon());
  EXPECT_TRUE(std::equal(got.begin(), got.end(), more.begin()));
  if (GetParam() == Family::kUnix) {
    EXPECT_TRUE(endsWith(*c, LANECALL_ERR_NONE));
    EXPECT_EQ(got.size(), held);
  }
}

TEST_P(Ends, SendThatFailsDoesNotDropWhatCameBefore) {
  begin(GetParam());
  for (int i = 0; i < 20; ++i) {
    Call c = call();
    const Bytes bytes = someBytes(3000, static_cast<unsigned>(i));
    ASSERT_TRUE(c.peer.send(bytes, soon()));
    c.peer.close();
    c->tryWrite(someBytes(100));  // meets a dead connection, or is lost in it
    ASSERT_TRUE(c->waitFor(LANECALL_ENDED, soon()));
    EXPECT_EQ(c->read(4000, soon()), bytes);
  }
}

TEST_P(Ends, ServerClosesWithBytesOnTheirWayToIt) {
  begin(GetParam());
  Call c = stuffed();
  c.peer.close();
  EXPECT_TRUE(c->waitFor(LANECALL_ENDED, soon()));
  ASSERT_TRUE(c->close(soon()));
  EXPECT_TRUE(worksAnew(*c));
}

TEST_P(Ends, DrainWithNothingToSendClosesAtOnce) {
  begin(GetParam());
  Call c = call();
  ASSERT_TRUE(works(c));
  EXPECT_TRUE(c->drain(soon()));
  EXPECT_TRUE(isClosed(*c));
  EXPECT_TRUE(c.peer.waitEnd(soon()));
  EXPECT_TRUE(worksAnew(*c));
}

TEST_P(Ends, DrainSendsAllThatIsInTx) {
  begin(GetParam());
  Call c = stuffed();
  c->command(LANECALL_CMD_DRAIN);
  EXPECT_TRUE(c->waitFor(LANECALL_DRAINING, soon()));
  EXPECT_EQ(c.peer.receiveToEnd(soon()), bytes_);
  EXPECT_TRUE(isClosed(*c));
  EXPECT_TRUE(worksAnew(*c));
}

TEST_P(SocketEnds, DrainingDoesNotReceive) {
  begin(GetParam());
  Call c = stuffed();
  c->command(LANECALL_CMD_DRAIN);
  ASSERT_TRUE(c->waitFor(LANECALL_DRAINING, soon()));
  const uint32_t head = lanecall_get32(&c->index().rx_producer.head);
  ASSERT_TRUE(c.peer.send(someBytes(100), soon()));
  EXPECT_TRUE(c.peer.waitEnd(soon()));
  EXPECT_TRUE(isClosed(*c));
  EXPECT_EQ(lanecall_get32(&c->index().rx_producer.head), head);
}

TEST_P(Ends, ServerGoneWhileDrainingCloses) {
  begin(GetParam());
  Call c = stuffed();
  c->command(LANECALL_CMD_DRAIN);
  ASSERT_TRUE(c->waitFor(LANECALL_DRAINING, soon()));
  c.peer.close();
  EXPECT_TRUE(isClosed(*c));
  EXPECT_TRUE(worksAnew(*c));
}

// Neither readable nor writable, but hung up. TCP knows no such state.
class HungUp : public Contract {};

TEST_F(HungUp, FullSocketEndsDraining) {
  begin();
  server().limitReceiveBuffers();
  Call c = call({.tx_shift = 23});
  ASSERT_EQ(c->tryWrite(someBytes(kStuffed)), __s64{kStuffed});
  c->command(LANECALL_CMD_DRAIN);
  ASSERT_TRUE(c->waitFor(LANECALL_DRAINING, soon()));
  ASSERT_EQ(shutdown(c.peer.fd(), SHUT_RDWR), 0);
  EXPECT_TRUE(isClosed(*c));
  EXPECT_TRUE(worksAnew(*c));
}

TEST_P(Ends, CloseDropsWhatIsInTx) {
  begin(GetParam());
  Call c = stuffed();
  ASSERT_TRUE(c->close(soon()));
  const auto got = c.peer.receiveToEnd(soon());
  ASSERT_TRUE(got);
  EXPECT_LT(got->size(), kStuffed);
  EXPECT_TRUE(worksAnew(*c));
}

TEST_F(Contract, DrainAndCloseInEveryPhaseLeaveTheConnectionClosed) {
  begin();
  for (uint32_t command : {LANECALL_CMD_DRAIN, LANECALL_CMD_CLOSE}) {
    auto channel = ready();
    Peer peer = *server().accept(soon());
    channel->command(command);
    EXPECT_TRUE(isClosed(*channel));
    EXPECT_TRUE(peer.waitEnd(soon()));
  }
}

// Memory of a closed channel belongs to the driver.
TEST_F(Contract, ClosedChannelsMemoryIsNotTouched) {
  begin();
  Call c = call({.tx_shift = 12, .rx_shift = 12});
  ASSERT_TRUE(works(c));
  ASSERT_TRUE(c.peer.send(someBytes(100), soon()));
  ASSERT_TRUE(c->close(soon()));
  std::memset(&c->index(), 0xa5, LANECALL_INDEX_BYTES);
  const Bytes paint(4096, 0xa5);
  c->rx().store(0, paint);
  c->doorbell();
  c->command(LANECALL_CMD_DRAIN);  // a breach, told by the count alone
  Call other = call({.channel = 1});
  ASSERT_TRUE(works(other));
  Bytes rx(4096);
  c->rx().load(0, rx);
  EXPECT_EQ(rx, paint);
  Bytes index(LANECALL_INDEX_BYTES);
  std::memcpy(index.data(), &c->index(), index.size());
  EXPECT_EQ(index, paint);
  c->clear();
}

TEST_P(Ends, AreNotTheChannelsLast) {
  begin(GetParam());
  UserChannel channel(device());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(worksAnew(channel)) << i;
    ASSERT_TRUE(i % 2 ? channel.drain(soon()) : channel.close(soon())) << i;
  }
  EXPECT_EQ(guestErrors(), 0u);
}

}  // namespace
}  // namespace lanecall::test
