// SPDX-License-Identifier: Apache-2.0
//
// RingTransport at both ends of a channel in plain memory: every size around
// the rings' bounds, messages larger than a ring, back-pressure, every end,
// and a side that lies.
#include <gtest/gtest.h>
#include <lanecall/closing_protocol.h>
#include <lanecall/ring_transport.h>
#include <poll.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TCompactProtocol.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "ring_pair.h"

namespace lanecall::test {
namespace {

using apache::thrift::protocol::TBinaryProtocolT;
using apache::thrift::protocol::TCompactProtocolT;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;
using Type = TTransportException::TTransportExceptionType;

constexpr std::uint32_t kRing = 4096;
constexpr int kSoonMs = 20'000;

std::string someText(std::uint32_t size, std::uint32_t seed = 0) {
  std::string text(size, '\0');
  for (std::uint32_t i = 0; i < size; ++i)
    text[i] = static_cast<char>(i * 31 + i / 251 + seed);
  return text;
}

class RingTest : public ::testing::Test {
 protected:
  RingTest() { fresh(); }

  std::unique_ptr<RingTransport> make(RingPair::Side side) {
    Limits limits;
    limits.messageBytes = messageBytes;
    auto made = std::make_unique<RingTransport>(
        pair->end(side), limits.configuration(),
        side == RingPair::kClient ? Peer::kDevice : serversPeer);
    made->setFraming(framing);
    made->setSpin(spin);
    return made;
  }

  // Bounds that no test should meet.
  static void bound(RingTransport& transport) {
    transport.setConnTimeout(kSoonMs);
    transport.setRecvTimeout(kSoonMs);
    transport.setSendTimeout(kSoonMs);
  }

  // A new channel, with what the test has chosen.
  void fresh() { fresh(std::make_unique<RingPair>(kRing)); }
  void fresh(std::unique_ptr<RingPair> on) {
    client.reset();
    server.reset();
    pair = std::move(on);
    client = make(RingPair::kClient);
    server = make(RingPair::kServer);
    bound(*client);
    bound(*server);
    client->open();
  }

  static void write(RingTransport& to, const std::string& text) {
    to.write(reinterpret_cast<const std::uint8_t*>(text.data()),
             static_cast<std::uint32_t>(text.size()));
  }
  static void send(RingTransport& to, const std::string& text) {
    write(to, text);
    to.flush();
  }
  static std::string receive(RingTransport& from, std::uint32_t size) {
    std::string text(size, '\0');
    from.readAll(reinterpret_cast<std::uint8_t*>(text.data()), size);
    from.readEnd();
    return text;
  }
  static std::string readSome(RingTransport& from, std::uint32_t size) {
    std::string text(size, '\0');
    text.resize(from.read(reinterpret_cast<std::uint8_t*>(text.data()), size));
    return text;
  }
  // As a protocol does it.
  static void sendString(RingTransport& to, const std::string& text) {
    TBinaryProtocolT<RingTransport> protocol(
        std::shared_ptr<RingTransport>(&to, [](auto*) {}));
    protocol.writeString(text);
    to.writeEnd();
    to.flush();
  }
  static std::string receiveString(RingTransport& from) {
    TBinaryProtocolT<RingTransport> protocol(
        std::shared_ptr<RingTransport>(&from, [](auto*) {}));
    std::string text;
    protocol.readString(text);
    from.readEnd();
    return text;
  }

  template <typename F>
  std::string thrown(Type type, F f) {
    try {
      f();
      ADD_FAILURE() << "nothing was thrown";
      return {};
    } catch (const TTransportException& error) {
      EXPECT_EQ(error.getType(), type) << error.what();
      return error.what();
    }
  }

  int messageBytes = 64 << 20;
  Framing framing = Framing::kBuffered;
  Spin spin = Spin::adaptive();
  Peer serversPeer = Peer::kDevice;
  std::unique_ptr<RingPair> pair;
  std::unique_ptr<RingTransport> client;
  std::unique_ptr<RingTransport> server;
};

// ---- Bytes, in both framings and with every way to wait --------------------

class RingBytes
    : public RingTest,
      public ::testing::WithParamInterface<std::tuple<Framing, const char*>> {
 protected:
  RingBytes() {
    std::tie(framing, std::ignore) = GetParam();
    spin = parseSpin(std::get<1>(GetParam()));
    fresh();
  }
};

TEST_P(RingBytes, OfEverySizeAroundTheRingCrossAtEveryPosition) {
  std::uint32_t seed = 0;
  for (std::uint32_t size :
       {1u, 2u, 3u, 4u, 5u, 127u, 1365u, kRing / 2 - 1, kRing / 2,
        kRing / 2 + 1, kRing - 5, kRing - 4, kRing - 3, kRing - 1, kRing}) {
    for (int i = 0; i < 40; ++i) {
      const std::string text = someText(size, ++seed);
      std::thread sender([&] { send(*client, text); });
      ASSERT_EQ(receive(*server, size), text) << size;
      sender.join();
    }
  }
}

TEST_P(RingBytes, LargerThanTheRingStreamBothWays) {
  for (std::uint32_t size : {kRing + 1, 2 * kRing, 2 * kRing + 1, 9 * kRing - 4,
                             100'000u, 1u << 20, 3u << 20}) {
    const std::string text = someText(size, size);
    std::thread echo([&] { sendString(*server, receiveString(*server)); });
    sendString(*client, text);
    ASSERT_TRUE(receiveString(*client) == text) << size;
    echo.join();
  }
}

TEST_P(RingBytes, ManySmallMessagesKeepTheirOrder) {
  constexpr int kMessages = 20'000;
  std::thread sender([&] {
    for (int i = 0; i < kMessages; ++i)
      sendString(*client, someText(i % 97, i));
  });
  for (int i = 0; i < kMessages; ++i)
    ASSERT_TRUE(receiveString(*server) == someText(i % 97, i)) << i;
  sender.join();
}

TEST_P(RingBytes, ManyCallsInTurnAreAnswered) {
  constexpr int kCalls = 5'000;
  std::thread echo([&] {
    for (int i = 0; i < kCalls; ++i)
      sendString(*server, receiveString(*server));
  });
  for (int i = 0; i < kCalls; ++i) {
    const std::string text = someText(i % 3000, i);
    sendString(*client, text);
    ASSERT_TRUE(receiveString(*client) == text) << i;
  }
  echo.join();
}

// One thread of the client writes what another of it reads.
TEST_P(RingBytes, OneThreadMayWriteWhileAnotherReads) {
  constexpr int kMessages = 2'000;
  std::thread echo([&] {
    for (int i = 0; i < kMessages; ++i)
      sendString(*server, receiveString(*server));
  });
  std::thread writer([&] {
    for (int i = 0; i < kMessages; ++i) sendString(*client, someText(i, i));
  });
  for (int i = 0; i < kMessages; ++i)
    ASSERT_TRUE(receiveString(*client) == someText(i, i)) << i;
  writer.join();
  echo.join();
}

INSTANTIATE_TEST_SUITE_P(
    Each, RingBytes,
    ::testing::Combine(::testing::Values(Framing::kBuffered, Framing::kFramed),
                       ::testing::Values("adaptive", "never", "20")),
    [](const auto& info) {
      return std::string(name(std::get<0>(info.param))) + "_" +
             std::get<1>(info.param);
    });

// ---- How
// ---------------------------------------------------------------------

TEST_F(RingTest, NothingIsPublishedBeforeFlush) {
  write(*client, "half a ");
  EXPECT_EQ(pair->words().tx_producer.head, 0u);
  write(*client, "message");
  client->flush();
  EXPECT_EQ(pair->words().tx_producer.head, 14u);
  EXPECT_EQ(receive(*server, 14), "half a message");
}

TEST_F(RingTest, TheOtherSideIsToldOnlyIfItAsked) {
  send(*client, "a");
  pair->told[RingPair::kServer] = 0;
  EXPECT_EQ(receive(*server, 1), "a");
  for (int i = 0; i < 100; ++i) send(*client, "b");
  EXPECT_EQ(pair->told[RingPair::kServer], 0);
  EXPECT_EQ(receive(*server, 100), std::string(100, 'b'));
  EXPECT_FALSE(server->armReadable());
  send(*client, "c");
  EXPECT_EQ(pair->told[RingPair::kServer], 1);
  EXPECT_TRUE(server->isReadable());
}

// Neither doorbells and interrupts nor system calls, once both sides have found
// out that nobody sleeps.
TEST_F(RingTest, CallsThatSpinTellNobodyAndNeverSleep) {
  constexpr int kCalls = 2'000;
  client->setSpin(Spin::always());
  server->setSpin(Spin::always());
  std::thread echo([&] {
    for (int i = 0; i < kCalls; ++i)
      sendString(*server, receiveString(*server));
  });
  for (int i = 0; i < kCalls; ++i) {
    sendString(*client, someText(i % 100));
    ASSERT_EQ(receiveString(*client).size(), i % 100u);
  }
  echo.join();
  for (RingPair::Side side : {RingPair::kClient, RingPair::kServer}) {
    EXPECT_EQ(pair->slept[side], 0);
    EXPECT_LE(pair->told[side], 2) << "the first publish, the first release";
  }
}

// One of each, at most, where both sides sleep.
TEST_F(RingTest, CallsThatSleepTellOnceEachWay) {
  constexpr int kCalls = 500;
  client->setSpin(Spin::never());
  server->setSpin(Spin::never());
  std::thread echo([&] {
    for (int i = 0; i < kCalls; ++i)
      sendString(*server, receiveString(*server));
  });
  for (int i = 0; i < kCalls; ++i) {
    sendString(*client, someText(100));
    ASSERT_EQ(receiveString(*client).size(), 100u);
  }
  echo.join();
  for (RingPair::Side side : {RingPair::kClient, RingPair::kServer})
    EXPECT_LE(pair->told[side], kCalls + 2);
}

// ---- Counters --------------------------------------------------------------

TEST_F(RingTest, CountersSayWhatWasDone) {
  lanecall_user_counters shown[2] = {};
  auto counted = std::make_unique<RingPair>(kRing);
  counted->counters[RingPair::kClient] = shown;
  fresh(std::move(counted));
  client->setSpin(Spin::never());
  for (int i = 0; i < 3; ++i) {
    send(*client, "question");
    std::thread answering([&] {
      while (pair->slept[RingPair::kClient] == i) std::this_thread::yield();
      receive(*server, 8);
      send(*server, "answer");
    });
    receive(*client, 6);
    answering.join();
  }
  client->settle();
  const Counters now = client->counters();
  EXPECT_EQ(now.sent.flushes, 3u);
  EXPECT_EQ(now.sent.bytes, 24u);
  EXPECT_EQ(now.sent.full_waits, 0u);
  EXPECT_EQ(now.received.bytes, 18u);
  EXPECT_EQ(now.received.sleeps, 3u);
  EXPECT_EQ(now.received.spins, 0u);
  EXPECT_EQ(now.sent.doorbells + now.received.doorbells,
            static_cast<unsigned>(pair->told[RingPair::kServer]));
  EXPECT_EQ(std::memcmp(&shown[0], &now.sent, sizeof now.sent), 0);
  EXPECT_EQ(std::memcmp(&shown[1], &now.received, sizeof now.received), 0);
  client->close();
  EXPECT_EQ(client->counters().sent.flushes, 3u) << "of the last connection";
  client->open();
  EXPECT_EQ(client->counters().sent.flushes, 0u);
}

TEST_F(RingTest, WaitsThatSpinAndWaitsForRoomAreCounted) {
  client->setSpin(Spin::always());
  std::thread reader([&] {
    receive(*server, 10 * kRing);
    send(*server, "x");
  });
  send(*client, someText(10 * kRing));
  receive(*client, 1);
  reader.join();
  const Counters now = client->counters();
  EXPECT_GE(now.sent.full_waits, 1u);
  EXPECT_EQ(now.sent.sleeps + now.received.sleeps, 0u);
  EXPECT_EQ(now.sent.spins, now.sent.full_waits);
}

TEST_F(RingTest, AStringIsBorrowedWhereItLies) {
  sendString(*client, someText(3000));
  std::uint8_t size[4];
  server->readAll(size, 4);
  std::uint32_t wanted = 3000;
  const std::uint8_t* at = server->borrow(nullptr, &wanted);
  ASSERT_NE(at, nullptr);
  EXPECT_GE(wanted, 3000u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(at), 3000),
            someText(3000));
  server->consume(3000);
  EXPECT_FALSE(server->hasBuffered());
}

TEST_F(RingTest, WhatWasReadIsGivenBackWhenHalfTheRingIsConsumed) {
  send(*client, someText(kRing - 100));
  receive(*server, 1000);
  EXPECT_EQ(pair->words().tx_consumer.tail, 0u);
  receive(*server, kRing - 1100);
  send(*client, someText(50));
  receive(*server, 10);
  EXPECT_EQ(pair->words().tx_consumer.tail, kRing - 100);
}

TEST_F(RingTest, ItIsGivenBackBeforeAWait) {
  send(*client, "abc");
  receive(*server, 3);
  server->setRecvTimeout(1);
  thrown(TTransportException::TIMED_OUT, [&] { readSome(*server, 1); });
  EXPECT_EQ(pair->words().tx_consumer.tail, 3u);
}

TEST_F(RingTest, ACompactProtocolReadsAcrossTheWindowsEnds) {
  auto on = [](RingTransport& t) {
    return TCompactProtocolT<RingTransport>(
        std::shared_ptr<RingTransport>(&t, [](auto*) {}));
  };
  auto out = on(*client);
  auto in = on(*server);
  std::thread sender([&] {
    for (std::int64_t i = 0; i < 100'000; ++i) {
      out.writeI64(i * 0x123456789);
      if (i % 7 == 0) client->flush();
    }
    client->flush();
  });
  for (std::int64_t i = 0; i < 100'000; ++i) {
    std::int64_t got = 0;
    in.readI64(got);
    if (i % 1000 == 0) server->readEnd();
    ASSERT_EQ(got, i * 0x123456789);
  }
  sender.join();
}

class RingFrames : public RingTest {
 protected:
  RingFrames() {
    framing = Framing::kFramed;
    fresh();
  }
  // The same in Thrift's own.
  static std::string frame(const std::string& body) {
    auto memory = std::make_shared<TMemoryBuffer>();
    TFramedTransport thrifts(memory);
    thrifts.write(reinterpret_cast<const std::uint8_t*>(body.data()),
                  static_cast<std::uint32_t>(body.size()));
    thrifts.flush();
    return memory->getBufferAsString();
  }
};

TEST_F(RingFrames, AreThriftsOwn) {
  auto raw = std::move(server);
  raw->setFraming(Framing::kBuffered);
  for (std::uint32_t size :
       {1u, 100u, kRing - 5, kRing - 4, kRing - 3, kRing, kRing + 1, 50'000u}) {
    const std::string expected = frame(someText(size));
    std::thread sender([&] {
      for (std::uint32_t at = 0; at < size; at += 700)
        write(*client, someText(size).substr(at, 700));
      client->flush();
    });
    ASSERT_TRUE(receive(*raw, size + 4) == expected) << size;
    sender.join();
    std::thread other([&] { send(*raw, expected); });
    ASSERT_TRUE(receive(*client, size) == someText(size)) << size;
    other.join();
  }
}

TEST_F(RingFrames, AFrameThatFindsNoRoomGoesToTheHeapAndStreams) {
  send(*client, someText(kRing - 4 - 4 - 10));  // leaves ten bytes
  std::thread sender([&] { send(*client, someText(1000, 1)); });
  EXPECT_EQ(receive(*server, kRing - 18), someText(kRing - 18));
  EXPECT_EQ(receive(*server, 1000), someText(1000, 1));
  sender.join();
}

TEST_F(RingFrames, AnEmptyMessageIsNoFrame) {
  client->flush();
  client->flush();
  EXPECT_EQ(pair->words().tx_producer.head, 0u);
  send(*client, "x");
  EXPECT_EQ(pair->words().tx_producer.head, 5u);
}

TEST_F(RingFrames, WhatIsNoFrameSaysSo) {
  for (const std::string& header :
       {std::string("HTTP"), std::string(4, '\0'), std::string(4, '\xff')}) {
    fresh();
    // Straight from a client that does not frame.
    client->setFraming(Framing::kBuffered);
    send(*client, header);
    const std::string text = thrown(TTransportException::CORRUPTED_DATA,
                                    [&] { readSome(*server, 1); });
    EXPECT_NE(text.find("--framing"), std::string::npos) << text;
    EXPECT_FALSE(server->isOpen()) << "what follows could pass for a frame";
  }
}

TEST_F(RingFrames, OneOverTheLimitIsRefusedAndTheNextIsFine) {
  messageBytes = 2000;
  fresh();
  for (std::uint32_t size : {2001u, 100'000u}) {
    thrown(TTransportException::CORRUPTED_DATA,
           [&] { write(*client, someText(size)); });
    EXPECT_TRUE(client->isOpen());
    send(*client, someText(2000));
    EXPECT_EQ(receive(*server, 2000), someText(2000));
  }
}

// ---- Limits ----------------------------------------------------------------

class RingLimits : public RingTest {
 protected:
  RingLimits() {
    messageBytes = 10'000;
    fresh();
  }
};

TEST_F(RingLimits, TheBudgetIsPerMessage) {
  for (int i = 0; i < 100; ++i) {
    std::thread sender([&] { send(*client, someText(10'000, i)); });
    ASSERT_TRUE(receive(*server, 10'000) == someText(10'000, i)) << i;
    sender.join();
  }
}

TEST_F(RingLimits, PipelinedMessagesEachHaveTheirBudget) {
  std::thread sender([&] {
    for (int i = 0; i < 1000; ++i) send(*client, someText(3000, i));
  });
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(receive(*server, 3000) == someText(3000, i)) << i;
  sender.join();
}

TEST_F(RingLimits, TooMuchReceivedIsRefused) {
  client.reset();
  pair->finish(RingPair::kServer, 0);
  client = std::make_unique<RingTransport>(pair->end(RingPair::kClient));
  client->open();
  std::thread sender([&] {
    try {
      send(*client, someText(20'000));
    } catch (const TTransportException&) {
      // The other side has closed, as it should.
    }
  });
  const std::string text = thrown(TTransportException::CORRUPTED_DATA,
                                  [&] { receive(*server, 10'001); });
  EXPECT_NE(text.find("10000"), std::string::npos) << text;
  EXPECT_FALSE(server->isOpen()) << "the rest could pass for the next message";
  sender.join();
}

TEST_F(RingLimits, TooMuchToSendIsRefusedAndCloses) {
  thrown(TTransportException::CORRUPTED_DATA,
         [&] { send(*client, someText(10'001)); });
  EXPECT_FALSE(client->isOpen()) << "a part may have been sent";
  EXPECT_EQ(pair->words().tx_producer.head, 0u);
}

// A side that announces much and sends nothing costs no memory.
TEST_F(RingTest, MemoryFollowsBytesThatHaveCome) {
  const char announced[] = {3, 0, 0, 0};  // 48 MiB
  send(*client, std::string(announced, 4));
  client->close();
  const std::string text =
      thrown(TTransportException::END_OF_FILE, [&] { receiveString(*server); });
  EXPECT_NE(text.find("inside a message"), std::string::npos) << text;
}

// ---- Ends ------------------------------------------------------------------

TEST_F(RingTest, WhatCameBeforeTheEndIsRead) {
  send(*client, "abc");
  client->close();
  EXPECT_EQ(readSome(*server, 10), "abc");
  EXPECT_EQ(readSome(*server, 10), "");
  EXPECT_FALSE(server->peek());
  const std::string text =
      thrown(TTransportException::NOT_OPEN, [&] { send(*server, "x"); });
  EXPECT_NE(text.find("pair: write"), std::string::npos) << text;
  EXPECT_FALSE(server->isOpen());
}

TEST_F(RingTest, AnEndWakesWhoeverWaits) {
  for (Spin how : {Spin::never(), Spin::always()}) {
    fresh();
    server->setSpin(how);
    std::thread other([&] { client->close(); });
    EXPECT_EQ(readSome(*server, 1), "");
    other.join();
  }
}

TEST_F(RingTest, ErrorsKeepTheirKind) {
  const std::pair<int, Type> reads[] = {
      {-ECONNRESET, TTransportException::END_OF_FILE},
      {-EIO, TTransportException::NOT_OPEN},
      {-EINVAL, TTransportException::UNKNOWN}};
  for (auto [end, type] : reads) {
    fresh();
    pair->finish(RingPair::kClient, end);
    thrown(type, [&] { readSome(*client, 1); });
    EXPECT_FALSE(client->isOpen());
  }
  const std::pair<int, Type> writes[] = {
      {-ESHUTDOWN, TTransportException::NOT_OPEN},
      {-ECONNRESET, TTransportException::NOT_OPEN},
      {-EIO, TTransportException::NOT_OPEN},
      {-EINVAL, TTransportException::UNKNOWN}};
  for (auto [end, type] : writes) {
    fresh();
    pair->finish(RingPair::kClient, end);
    thrown(type, [&] { send(*client, "x"); });
    EXPECT_FALSE(client->isOpen());
  }
}

TEST_F(RingTest, AnEndInsideAMessageIsAnError) {
  send(*client, "abc");
  client->close();
  thrown(TTransportException::END_OF_FILE, [&] { receive(*server, 4); });
}

TEST_F(RingTest, WhatIsNotOpenSaysSo) {
  client->close();
  thrown(TTransportException::NOT_OPEN, [&] { readSome(*client, 1); });
  thrown(TTransportException::NOT_OPEN, [&] { write(*client, "x"); });
  EXPECT_FALSE(client->peek());
  client->flush();
}

TEST_F(RingTest, CloseDropsWhatWasNotFlushed) {
  write(*client, "half a message");
  client->close();
  EXPECT_EQ(readSome(*server, 10), "");
}

// ---- Lies ------------------------------------------------------------------

TEST_F(RingTest, AnImpossibleHeadEndsTheRead) {
  for (std::uint32_t head : {kRing + 1, 0x80000000u, 0xffffffffu}) {
    fresh();
    EXPECT_FALSE(server->armReadable());
    pair->words().tx_producer.head = head;
    EXPECT_TRUE(server->isReadable());
    EXPECT_TRUE(server->armReadable());
    const std::string text =
        thrown(TTransportException::END_OF_FILE, [&] { readSome(*server, 1); });
    EXPECT_NE(text.find("Protocol error"), std::string::npos) << text;
    EXPECT_FALSE(server->isOpen());
    EXPECT_EQ(pair->refused[RingPair::kServer], 1);
  }
}

TEST_F(RingTest, AHeadThatMovesBackEndsTheRead) {
  send(*client, someText(100));
  receive(*server, 10);
  pair->words().tx_producer.head = 50;
  thrown(TTransportException::END_OF_FILE, [&] { receive(*server, 100); });
  EXPECT_EQ(pair->refused[RingPair::kServer], 1);
}

TEST_F(RingTest, AnImpossibleTailEndsTheWrite) {
  for (std::uint32_t tail : {1u, 0x80000000u, 0xffffffffu}) {
    fresh();
    pair->words().tx_consumer.tail = tail;
    const std::string text = thrown(TTransportException::UNKNOWN,
                                    [&] { send(*client, someText(10)); });
    EXPECT_NE(text.find("Protocol error"), std::string::npos) << text;
    EXPECT_FALSE(client->isOpen());
    EXPECT_EQ(pair->refused[RingPair::kClient], 1);
  }
}

// They are where the rings are: not there any more once a lie was refused.
TEST_F(RingTest, ALieIsCountedBeforeTheCountersAreGone) {
  lanecall_user_counters shown[2] = {};
  auto counted = std::make_unique<RingPair>(kRing);
  counted->counters[RingPair::kClient] = shown;
  fresh(std::move(counted));
  send(*server, someText(100));
  readSome(*client, 100);
  lanecall_user_counters gone{};
  gone.bytes = 77;
  pair->onClose = [&] {
    EXPECT_EQ(shown[1].bytes, 100u);
    shown[0] = shown[1] = gone;
  };
  pair->words().rx_producer.head = 0xffffffffu;
  thrown(TTransportException::END_OF_FILE, [&] { readSome(*client, 1); });
  for (const auto& counters : shown) EXPECT_EQ(counters.bytes, gone.bytes);
  pair->onClose = nullptr;
}

// A ring in a BAR reads as zeros once its device is gone.
TEST_F(RingTest, ARingThatIsGoneIsNoLieButADeviceThatIsGone) {
  send(*client, someText(100));
  receive(*server, 10);
  pair->words() = {};
  pair->finish(RingPair::kServer, -EIO);
  thrown(TTransportException::NOT_OPEN, [&] { receive(*server, 91); });
  EXPECT_EQ(pair->refused[RingPair::kServer], 0);
  fresh();
  send(*client, std::string(100, '\0'));
  pair->finish(RingPair::kServer, -EIO);
  thrown(TTransportException::NOT_OPEN, [&] { receive(*server, 100); });
}

// Nobody says so yet: the driver will hear of it later.
TEST_F(RingTest, BytesReadWhileTheDeviceWasPulledOutAreNoAnswer) {
  for (const int left : {0xff, 0x00})
    for (const std::uint32_t before : {0U, 700U}) {
      fresh();
      if (before > 0) {
        send(*client, std::string(before, 'x'));
        receive(*server, before);
        server->settle();  // gives them back
      }
      send(*client, std::string(100, static_cast<char>(left)));
      ASSERT_TRUE(server->peek());  // sees all of them
      std::memset(&pair->words(), left, sizeof pair->words());
      thrown(TTransportException::NOT_OPEN, [&] { receive(*server, 90); });
      EXPECT_FALSE(server->isOpen());
      EXPECT_EQ(pair->refused[RingPair::kServer], 0);
    }
}

// The same where what is left of it would be refused for what it says.
TEST_F(RingTest, WhatIsLeftOfADeviceThatWasPulledOutIsNotRefused) {
  const auto refuse = [&](const std::function<void()>& read) {
    for (const int left : {0xff, 0x00}) {
      fresh();
      for (int i = 0; i < 2; ++i)
        send(*client, std::string(50, static_cast<char>(left)));
      ASSERT_TRUE(server->peek());  // sees them
      std::memset(&pair->words(), left, sizeof pair->words());
      thrown(TTransportException::NOT_OPEN, read);
      EXPECT_FALSE(server->isOpen());
    }
  };
  refuse([&] {  // no message begins like that
    const std::shared_ptr<RingTransport> on(server.get(), [](auto*) {});
    std::string name;
    apache::thrift::protocol::TMessageType type;
    std::int32_t id;
    closingProtocol(on, Protocol::kBinary, {})
        ->readMessageBegin(name, type, id);
  });
  messageBytes = 50;
  refuse([&] { receive(*server, 51); });
}

// The same in a look for bytes, and for room.
TEST_F(RingTest, ALookAtADeviceThatWasPulledOutFindsNoLie) {
  for (const int left : {0xff, 0x00}) {
    fresh();
    send(*server, someText(100));
    receive(*client, 100);
    client->settle();
    std::memset(&pair->words(), left, sizeof pair->words());
    thrown(TTransportException::NOT_OPEN, [&] { readSome(*client, 1); });
    EXPECT_EQ(pair->refused[RingPair::kClient], 0);
  }
  fresh();
  send(*client, someText(100));
  std::memset(&pair->words(), 0xff, sizeof pair->words());
  thrown(TTransportException::NOT_OPEN, [&] { send(*client, someText(10)); });
  EXPECT_EQ(pair->refused[RingPair::kClient], 0);
}

// A server's memory stays: there it is a client that lies.
TEST_F(RingTest, AClientThatWritesWhatNothingReadsAsIsRefused) {
  for (const int left : {0xff, 0x00}) {
    serversPeer = Peer::kClient;
    fresh();
    send(*client, someText(100));
    ASSERT_TRUE(server->peek());
    std::memset(&pair->words(), left, sizeof pair->words());
    thrown(TTransportException::END_OF_FILE, [&] { receive(*server, 100); });
    EXPECT_EQ(pair->refused[RingPair::kServer], 1);
  }
}

// ---- Bounds ----------------------------------------------------------------

TEST_F(RingTest, ASilentSideEndsTheReadNotBeforeTheTimeout) {
  for (const char* how : {"never", "always", "adaptive"}) {
    fresh();
    client->setSpin(parseSpin(how));
    client->setRecvTimeout(30);
    const auto start = std::chrono::steady_clock::now();
    const std::string text =
        thrown(TTransportException::TIMED_OUT, [&] { readSome(*client, 1); });
    EXPECT_GE(std::chrono::steady_clock::now() - start,
              std::chrono::milliseconds(30));
    EXPECT_NE(text.find("pair: read"), std::string::npos) << text;
    EXPECT_FALSE(client->isOpen()) << "a late answer could follow";
  }
}

TEST_F(RingTest, ASideThatDoesNotReadEndsTheWrite) {
  for (const char* how : {"never", "always", "adaptive"}) {
    fresh();
    client->setSpin(parseSpin(how));
    client->setSendTimeout(30);
    thrown(TTransportException::TIMED_OUT,
           [&] { send(*client, someText(10'000)); });
    EXPECT_FALSE(client->isOpen());
  }
}

TEST_F(RingTest, ATrickleDoesNotStretchTheSendTimeout) {
  client->setSpin(Spin::never());
  client->setSendTimeout(20);
  pair->onPoll = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    readSome(*server, 1);
    server->isReadable();
    pair->words().tx_consumer.tail = pair->words().tx_consumer.tail + 1;
    pair->nextPoll = POLLOUT;
  };
  thrown(TTransportException::TIMED_OUT,
         [&] { send(*client, someText(1'000'000)); });
}

TEST_F(RingTest, ATrickleDoesNotStretchAReceiveDeadline) {
  client->setSpin(Spin::never());
  pair->onPoll = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    send(*server, "x");
  };
  client->setReceiveDeadline(Deadline::in(20));
  thrown(TTransportException::TIMED_OUT, [&] {
    for (;;) readSome(*client, 1);
  });
}

// The same where each look finds what it looks for.
TEST_F(RingTest, AQuickTrickleDoesNotStretchTheSendTimeout) {
  client->setSendTimeout(20);
  pair->onLook = [&] {
    std::uint32_t tail = pair->words().tx_consumer.tail;
    if (tail != pair->words().tx_producer.head)
      pair->words().tx_consumer.tail = tail + 1;
  };
  thrown(TTransportException::TIMED_OUT,
         [&] { send(*client, someText(60'000'000)); });
  EXPECT_FALSE(client->isOpen());
}

TEST_F(RingTest, AQuickTrickleDoesNotStretchAReceiveDeadline) {
  client->setReceiveDeadline(Deadline::in(20));
  const Deadline far = Deadline::in(5000);
  thrown(TTransportException::TIMED_OUT, [&] {
    while (!far.passed()) {
      send(*server, "x");
      readSome(*client, 1);
    }
  });
  EXPECT_FALSE(client->isOpen());
}

TEST_F(RingFrames, AHeaderInPiecesHasOneReceiveTimeout) {
  client->setSpin(Spin::never());
  client->setRecvTimeout(60);
  server->setFraming(Framing::kBuffered);
  pair->onPoll = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
    send(*server, std::string(1, '\0'));
  };
  thrown(TTransportException::TIMED_OUT, [&] { readSome(*client, 1); });
}

TEST_F(RingTest, EachMessageHasTheWholeSendTimeout) {
  client->setSpin(Spin::never());
  client->setSendTimeout(200);
  for (int i = 0; i < 4; ++i) {
    std::thread reader([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(90));
      receive(*server, 2 * kRing);
    });
    send(*client, someText(2 * kRing));
    reader.join();
  }
}

TEST_F(RingTest, InterruptEndsAReadAndLeavesItOpen) {
  for (const char* how : {"never", "always", "adaptive"}) {
    fresh();
    server->setSpin(parseSpin(how));
    std::thread other([&] { server->interrupt(); });
    thrown(TTransportException::INTERRUPTED, [&] { readSome(*server, 1); });
    other.join();
    EXPECT_TRUE(server->isOpen());
    send(*client, "x");
    EXPECT_EQ(readSome(*server, 1), "x") << "what is there may be read";
  }
}

// What was read of it is lost: what follows must not be taken for the next.
TEST_F(RingTest, InterruptInsideAMessageClosesIt) {
  struct {
    Framing framing;
    const char* bytes;
  } const cases[] = {{Framing::kBuffered, "half"},
                     {Framing::kFramed, "\1"},
                     {Framing::kFramed, "\1\1\1\1"}};
  for (const auto& [as, bytes] : cases) {
    framing = as;
    fresh();
    client->setFraming(Framing::kBuffered);
    send(*client, bytes);
    server->interrupt();
    thrown(TTransportException::INTERRUPTED, [&] { receive(*server, 100); });
    EXPECT_FALSE(server->isOpen());
  }
}

TEST_F(RingTest, InterruptEndsAWriteAndClosesIt) {
  for (const char* how : {"never", "always", "adaptive"}) {
    fresh();
    client->setSpin(parseSpin(how));
    std::thread other([&] { client->interrupt(); });
    thrown(TTransportException::INTERRUPTED,
           [&] { send(*client, someText(10'000)); });
    other.join();
    EXPECT_FALSE(client->isOpen());
  }
}

// ---- Two threads -----------------------------------------------------------

TEST_F(RingTest, AFailureOfOneThreadDoesNotCloseUnderTheOther) {
  for (const char* how : {"never", "always", "adaptive"}) {
    fresh();
    client->close();
    client->setShared(true);
    client->setSpin(parseSpin(how));
    client->open();
    std::thread reader([&] {
      // INTERRUPTED, or NOT_OPEN if it comes too late to wait.
      EXPECT_THROW(readSome(*client, 1), TTransportException);
    });
    pair->words().tx_consumer.tail = 1;
    thrown(TTransportException::UNKNOWN, [&] { send(*client, "question"); });
    reader.join();
    EXPECT_FALSE(client->isOpen());
    thrown(TTransportException::NOT_OPEN, [&] { readSome(*client, 1); });
    thrown(TTransportException::NOT_OPEN, [&] { send(*client, "more"); });
    pair->words() = {};
    client->open();
    EXPECT_TRUE(client->isOpen()) << "closed first, and then opened afresh";
    client->close();
  }
}

// ---- Opening ---------------------------------------------------------------

TEST_F(RingTest, OpenWaitsUntilTheRingsAreThere) {
  client->close();
  pair->nextStatus = -EINPROGRESS;
  pair->nextPoll = POLLOUT;
  client->open();
  EXPECT_TRUE(client->isOpen());
}

TEST_F(RingTest, OpenFailsAsTheConnectionDid) {
  client->close();
  pair->nextStatus = -ECONNREFUSED;
  const std::string text =
      thrown(TTransportException::NOT_OPEN, [&] { client->open(); });
  EXPECT_NE(text.find("pair: open: Connection refused"), std::string::npos)
      << text;
  EXPECT_FALSE(client->isOpen());
}

}  // namespace
}  // namespace lanecall::test
