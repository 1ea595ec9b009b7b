// SPDX-License-Identifier: Apache-2.0
//
// StreamTransport and TPcieTransport against scripted channels: which result of
// the channel becomes which exception, the same for both, and that every wait
// has its bound.
#include <gtest/gtest.h>
#include <lanecall/pcie_transport.h>
#include <lanecall/socket_io.h>
#include <lanecall/stream_transport.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "scripted_io.h"

namespace lanecall::test {
namespace {

using apache::thrift::transport::TTransportException;

// A StreamTransport that speaks of a device.
class NodeStream : public StreamTransport {
 public:
  using StreamTransport::StreamTransport;

 protected:
  Peer peer() const override { return Peer::kDevice; }
};

// Such a script says what each look finds: no more looks than necessary.
void lookOnce(StreamTransport&) {}
void lookOnce(RingTransport& transport) { transport.setSpin(Spin::never()); }

template <typename Transport>
class EitherTransportTest : public ::testing::Test {
 protected:
  EitherTransportTest() { lookOnce(transport); }

  // Runs f, which must throw this type; returns the text.
  template <typename F>
  std::string thrown(TTransportException::TTransportExceptionType type, F f) {
    try {
      f();
      ADD_FAILURE() << "nothing was thrown";
      return {};
    } catch (const TTransportException& error) {
      EXPECT_EQ(error.getType(), type) << error.what();
      return error.what();
    }
  }

  std::string read(std::uint32_t size) {
    std::string data(size, '\0');
    data.resize(
        transport.read(reinterpret_cast<std::uint8_t*>(data.data()), size));
    return data;
  }

  void write(const std::string& text) {
    transport.write(reinterpret_cast<const std::uint8_t*>(text.data()),
                    text.size());
    transport.flush();
  }

  Script script;
  Transport transport{std::make_unique<ScriptedIo>(&script)};
};

using Both = ::testing::Types<NodeStream, TPcieTransport>;
TYPED_TEST_SUITE(EitherTransportTest, Both);

class StreamTransportTest : public EitherTransportTest<NodeStream> {
 protected:
  // A part of a message.
  void write(const std::string& text) {
    transport.write(reinterpret_cast<const std::uint8_t*>(text.data()),
                    text.size());
  }
};

TYPED_TEST(EitherTransportTest, OpenWaitsUntilConnected) {
  this->script.statuses = {-EINPROGRESS, -EINPROGRESS, 0};
  this->transport.open();
  EXPECT_TRUE(this->transport.isOpen());
  EXPECT_EQ(this->script.pollTimeouts, (std::vector<int>{-1, -1}));
}

TYPED_TEST(EitherTransportTest, OpenFailsAsTheConnectionDid) {
  this->script.statuses = {-EINPROGRESS, -ECONNREFUSED};
  std::string text = this->thrown(TTransportException::NOT_OPEN,
                                  [&] { this->transport.open(); });
  EXPECT_NE(text.find("scripted"), std::string::npos) << text;
  EXPECT_NE(text.find("Connection refused"), std::string::npos) << text;
  EXPECT_FALSE(this->transport.isOpen());
  EXPECT_EQ(this->script.closes, 1);
}

TYPED_TEST(EitherTransportTest, OpenErrorsNameTheRemedy) {
  // Whichever plane the device has, and whether or not it has a driver.
  const std::pair<int, const char*> cases[] = {
      {-ENOENT, "modprobe"},          {-ENOENT, "card="},
      {-ENOENT, "ls /dev/lanecall*"}, {-EACCES, "access"},
      {-EBUSY, "channels="},          {-EDQUOT, "channels_share"},
      {-ENOTTY, "/dev/lanecallN"},    {-EOPNOTSUPP, "--mode"},
      {-ECONNREFUSED, "--card"},      {-ECONNREFUSED, "rpc= or card="},
      {-ETIMEDOUT, "rpc= or card="}};
  for (auto [error, remedy] : cases) {
    this->script.opens = {error};
    std::string text = this->thrown(TTransportException::NOT_OPEN,
                                    [&] { this->transport.open(); });
    EXPECT_NE(text.find(remedy), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

TYPED_TEST(EitherTransportTest, OpenEndsAtTheConnectTimeout) {
  this->script.statuses.assign(1000, -EINPROGRESS);
  this->script.polls.assign(1000, 0);
  this->script.onPoll = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  this->transport.setConnTimeout(20);
  this->thrown(TTransportException::NOT_OPEN, [&] { this->transport.open(); });
  EXPECT_FALSE(this->transport.isOpen());
  ASSERT_FALSE(this->script.pollTimeouts.empty());
  EXPECT_LE(this->script.pollTimeouts.front(), 20);
  EXPECT_GT(this->script.pollTimeouts.front(), 0);
}

TYPED_TEST(EitherTransportTest, AFullListenerIsTriedAgain) {
  this->script.opens = {-EAGAIN, -EAGAIN, 0};
  this->transport.open();
  EXPECT_TRUE(this->transport.isOpen());
}

TYPED_TEST(EitherTransportTest, ReadsAndWritesRetryAfterASignal) {
  this->transport.open();
  this->script.reads = {-EINTR, -EAGAIN, 3};
  this->script.polls = {-EINTR};
  this->script.input = "abcdef";
  EXPECT_EQ(this->read(6), "abc");
  this->script.writes = {-EINTR, 2, -EAGAIN, 1};
  this->script.polls = {-EINTR, POLLOUT};
  this->write("hello");
  EXPECT_EQ(this->script.output, "hello");
}

TYPED_TEST(EitherTransportTest, EndOfStreamIsZeroBytes) {
  this->transport.open();
  this->script.reads = {0};
  EXPECT_EQ(this->read(4), "");
}

TYPED_TEST(EitherTransportTest, PeekTellsDataFromTheEnd) {
  this->transport.open();
  this->script.input = "ab";
  EXPECT_TRUE(this->transport.peek());
  EXPECT_TRUE(this->transport.peek());
  EXPECT_EQ(this->read(1), "a");
  EXPECT_EQ(this->read(9), "b");
  this->script.reads = {0};
  EXPECT_FALSE(this->transport.peek());
}

TYPED_TEST(EitherTransportTest, ErrorsKeepTheirKind) {
  const std::pair<int, TTransportException::TTransportExceptionType> reads[] = {
      {-ECONNRESET, TTransportException::END_OF_FILE},
      {-EIO, TTransportException::NOT_OPEN},
      {-EINVAL, TTransportException::UNKNOWN}};
  for (auto [error, type] : reads) {
    this->transport.open();
    this->script.reads = {error};
    this->thrown(type, [&] { this->read(1); });
    EXPECT_FALSE(this->transport.isOpen());
  }
  const std::pair<int, TTransportException::TTransportExceptionType> writes[] =
      {{-EPIPE, TTransportException::NOT_OPEN},
       {-ECONNRESET, TTransportException::NOT_OPEN},
       {-EIO, TTransportException::NOT_OPEN},
       {-EINVAL, TTransportException::UNKNOWN}};
  for (auto [error, type] : writes) {
    this->transport.open();
    this->script.writes = {error};
    this->thrown(type, [&] { this->write("x"); });
    EXPECT_FALSE(this->transport.isOpen());
  }
}

TYPED_TEST(EitherTransportTest, WhatIsNotOpenSaysSo) {
  for (std::string text :
       {this->thrown(TTransportException::NOT_OPEN, [&] { this->read(1); }),
        this->thrown(TTransportException::NOT_OPEN, [&] { this->write("x"); })})
    EXPECT_NE(text.find("open() it again"), std::string::npos) << text;
  EXPECT_FALSE(this->transport.peek());
}

TYPED_TEST(EitherTransportTest, AnInterruptEndsAReadAndLeavesItOpen) {
  this->transport.open();
  this->script.polls = {-ECANCELED};
  this->thrown(TTransportException::INTERRUPTED, [&] { this->read(1); });
  EXPECT_TRUE(this->transport.isOpen());
}

TYPED_TEST(EitherTransportTest, AnInterruptEndsAWriteAndClosesIt) {
  this->transport.open();
  this->script.writes = {1, -EAGAIN, -EAGAIN, -EAGAIN};
  this->script.polls = {-ECANCELED};
  this->thrown(TTransportException::INTERRUPTED, [&] { this->write("ab"); });
  EXPECT_FALSE(this->transport.isOpen());
}

// A peer that takes one byte at a time must not stretch the send timeout. The
// script never ends by itself.
TEST_F(StreamTransportTest, ATrickleDoesNotStretchTheSendTimeout) {
  transport.open();
  script.onPoll = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    script.writes = {1, -EAGAIN};
  };
  script.writes = {-EAGAIN};
  transport.setSendTimeout(20);
  thrown(TTransportException::TIMED_OUT,
         [&] { write(std::string(100'000'000, 'x')); });
  EXPECT_FALSE(transport.isOpen());
}

// The same without a wait in between.
TEST_F(StreamTransportTest, AQuickTrickleDoesNotStretchTheSendTimeout) {
  transport.open();
  script.writeMost = 1;
  transport.setSendTimeout(20);
  thrown(TTransportException::TIMED_OUT,
         [&] { write(std::string(100'000'000, 'x')); });
  EXPECT_FALSE(transport.isOpen());
}

// Many writes, each of them soon over, are still one message.
TEST_F(StreamTransportTest, TheSendTimeoutBoundsAMessageOfManyWrites) {
  transport.open();
  script.onPoll = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  transport.setSendTimeout(20);
  thrown(TTransportException::TIMED_OUT, [&] {
    for (int i = 0; i < 1000; ++i) {
      script.writes = {-EAGAIN};
      write("x");
    }
  });
  EXPECT_FALSE(transport.isOpen());
}

TEST_F(StreamTransportTest, EachMessageHasTheWholeSendTimeout) {
  transport.open();
  transport.setSendTimeout(100);
  script.onPoll = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
  };
  for (auto endMessage : {+[](StreamTransport& t) { t.flush(); },
                          +[](StreamTransport& t) {
                            t.close();
                            t.open();
                          }}) {
    script.writes = {-EAGAIN};
    write("late, but the wait began in time");
    endMessage(transport);
    script.writes = {-EAGAIN};
    write("in time");
    endMessage(transport);
  }
}

TYPED_TEST(EitherTransportTest, ATrickleDoesNotStretchAReceiveDeadline) {
  this->transport.open();
  this->script.onPoll = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    this->script.input = "x";
  };
  this->transport.setReceiveDeadline(Deadline::in(20));
  this->thrown(TTransportException::TIMED_OUT, [&] {
    for (;;) this->read(1);
  });
  EXPECT_FALSE(this->transport.isOpen());
}

// The same without a wait in between.
TYPED_TEST(EitherTransportTest, AQuickTrickleDoesNotStretchAReceiveDeadline) {
  this->transport.open();
  this->transport.setReceiveDeadline(Deadline::in(20));
  const Deadline far = Deadline::in(5000);
  this->thrown(TTransportException::TIMED_OUT, [&] {
    while (!far.passed()) {
      this->script.input = "x";
      this->read(1);
    }
  });
  EXPECT_FALSE(this->transport.isOpen());
}

class SocketPairTest : public ::testing::Test {
 protected:
  SocketPairTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = Descriptor(ends[1]);
    transport = std::make_unique<StreamTransport>(
        std::make_unique<SocketIo>(Descriptor(ends[0]), "pair"));
  }

  Descriptor peer;
  std::unique_ptr<StreamTransport> transport;
};

TEST_F(SocketPairTest, ASilentPeerEndsTheReadNotBeforeTheTimeout) {
  transport->setRecvTimeout(30);
  auto start = std::chrono::steady_clock::now();
  std::uint8_t byte;
  try {
    transport->read(&byte, 1);
    FAIL() << "there was nothing to read";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::TIMED_OUT);
    EXPECT_NE(std::string(error.what()).find("pair"), std::string::npos);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - start,
            std::chrono::milliseconds(30));
  EXPECT_FALSE(transport->isOpen()) << "a late answer could follow";
}

TEST_F(SocketPairTest, APeerThatDoesNotReadEndsTheWrite) {
  transport->setSendTimeout(30);
  std::string much(32 << 20, 'x');
  EXPECT_THROW(
      transport->write(reinterpret_cast<const std::uint8_t*>(much.data()),
                       much.size()),
      TTransportException);
  EXPECT_FALSE(transport->isOpen());
}

TEST_F(SocketPairTest, InterruptWakesAThreadThatReads) {
  std::thread other([&] { transport->interrupt(); });
  std::uint8_t byte;
  try {
    transport->read(&byte, 1);
    ADD_FAILURE() << "there was nothing to read";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::INTERRUPTED);
  }
  other.join();
}

TEST_F(SocketPairTest, AFailureOfOneThreadDoesNotCloseUnderTheOther) {
  transport->setShared(true);
  transport->setSendTimeout(30);
  std::thread reader([&] {
    std::uint8_t byte;
    try {
      transport->read(&byte, 1);
      ADD_FAILURE() << "there was nothing to read";
    } catch (const TTransportException& error) {
      EXPECT_NE(error.getType(), TTransportException::UNKNOWN) << error.what();
    }
  });
  const std::string much(32 << 20, 'x');
  EXPECT_THROW(
      transport->write(reinterpret_cast<const std::uint8_t*>(much.data()),
                       much.size()),
      TTransportException);
  reader.join();
  EXPECT_FALSE(transport->isOpen());
  char byte;
  EXPECT_GT(::recv(peer.get(), &byte, 1, MSG_PEEK), 0);
  transport->close();
}

TEST_F(SocketPairTest, WhatArrivedBeforeTheEndIsRead) {
  ASSERT_EQ(::send(peer.get(), "abc", 3, 0), 3);
  peer.reset();
  std::uint8_t data[8];
  EXPECT_EQ(transport->read(data, sizeof data), 3u);
  EXPECT_EQ(transport->read(data, sizeof data), 0u);
}

}  // namespace
}  // namespace lanecall::test
