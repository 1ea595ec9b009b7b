// SPDX-License-Identifier: Apache-2.0
//
// StreamTransport and TPcieTransport against scripted channels: which result of
// the channel becomes which exception, and that every wait has its bound.
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

class StreamTransportTest : public ::testing::Test {
 protected:
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
  }

  Script script;
  TPcieTransport transport{std::make_unique<ScriptedIo>(&script)};
};

TEST_F(StreamTransportTest, OpenWaitsUntilConnected) {
  script.statuses = {-EINPROGRESS, -EINPROGRESS, 0};
  transport.open();
  EXPECT_TRUE(transport.isOpen());
  EXPECT_EQ(script.pollTimeouts, (std::vector<int>{-1, -1}));
}

TEST_F(StreamTransportTest, OpenFailsAsTheConnectionDid) {
  script.statuses = {-EINPROGRESS, -ECONNREFUSED};
  std::string text =
      thrown(TTransportException::NOT_OPEN, [&] { transport.open(); });
  EXPECT_NE(text.find("scripted"), std::string::npos) << text;
  EXPECT_NE(text.find("Connection refused"), std::string::npos) << text;
  EXPECT_FALSE(transport.isOpen());
  EXPECT_EQ(script.closes, 1);
}

TEST_F(StreamTransportTest, OpenErrorsNameTheRemedy) {
  const std::pair<int, const char*> cases[] = {{-ENOENT, "modprobe"},
                                               {-EACCES, "access"},
                                               {-EBUSY, "channels"},
                                               {-ENOTTY, "/dev/lanecallN"},
                                               {-ECONNREFUSED, "rpc="}};
  for (auto [error, remedy] : cases) {
    script.opens = {error};
    std::string text =
        thrown(TTransportException::NOT_OPEN, [&] { transport.open(); });
    EXPECT_NE(text.find(remedy), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

TEST_F(StreamTransportTest, OpenEndsAtTheConnectTimeout) {
  script.statuses.assign(1000, -EINPROGRESS);
  script.polls.assign(1000, 0);
  script.onPoll = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  transport.setConnTimeout(20);
  thrown(TTransportException::NOT_OPEN, [&] { transport.open(); });
  EXPECT_FALSE(transport.isOpen());
  ASSERT_FALSE(script.pollTimeouts.empty());
  EXPECT_LE(script.pollTimeouts.front(), 20);
  EXPECT_GT(script.pollTimeouts.front(), 0);
}

TEST_F(StreamTransportTest, AFullListenerIsTriedAgain) {
  script.opens = {-EAGAIN, -EAGAIN, 0};
  transport.open();
  EXPECT_TRUE(transport.isOpen());
}

TEST_F(StreamTransportTest, ReadsAndWritesRetryAfterASignal) {
  transport.open();
  script.reads = {-EINTR, -EAGAIN, 3};
  script.polls = {-EINTR};
  script.input = "abcdef";
  EXPECT_EQ(read(6), "abc");
  script.writes = {-EINTR, 2, -EAGAIN, 1};
  script.polls = {-EINTR, POLLOUT};
  write("hello");
  EXPECT_EQ(script.output, "hello");
}

TEST_F(StreamTransportTest, EndOfStreamIsZeroBytes) {
  transport.open();
  script.reads = {0};
  EXPECT_EQ(read(4), "");
}

TEST_F(StreamTransportTest, PeekTellsDataFromTheEnd) {
  transport.open();
  script.input = "ab";
  EXPECT_TRUE(transport.peek());
  EXPECT_TRUE(transport.peek());
  EXPECT_EQ(read(1), "a");
  EXPECT_EQ(read(9), "b");
  script.reads = {0};
  EXPECT_FALSE(transport.peek());
}

TEST_F(StreamTransportTest, ErrorsKeepTheirKind) {
  const std::pair<int, TTransportException::TTransportExceptionType> reads[] = {
      {-ECONNRESET, TTransportException::END_OF_FILE},
      {-EIO, TTransportException::NOT_OPEN},
      {-EINVAL, TTransportException::UNKNOWN}};
  for (auto [error, type] : reads) {
    transport.open();
    script.reads = {error};
    thrown(type, [&] { read(1); });
    EXPECT_FALSE(transport.isOpen());
  }
  const std::pair<int, TTransportException::TTransportExceptionType> writes[] =
      {{-EPIPE, TTransportException::NOT_OPEN},
       {-ECONNRESET, TTransportException::NOT_OPEN},
       {-EIO, TTransportException::NOT_OPEN},
       {-EINVAL, TTransportException::UNKNOWN}};
  for (auto [error, type] : writes) {
    transport.open();
    script.writes = {error};
    thrown(type, [&] { write("x"); });
    EXPECT_FALSE(transport.isOpen());
  }
}

TEST_F(StreamTransportTest, WhatIsNotOpenSaysSo) {
  thrown(TTransportException::NOT_OPEN, [&] { read(1); });
  thrown(TTransportException::NOT_OPEN, [&] { write("x"); });
  EXPECT_FALSE(transport.peek());
}

TEST_F(StreamTransportTest, AnInterruptEndsAReadAndLeavesItOpen) {
  transport.open();
  script.polls = {-ECANCELED};
  thrown(TTransportException::INTERRUPTED, [&] { read(1); });
  EXPECT_TRUE(transport.isOpen());
}

TEST_F(StreamTransportTest, AnInterruptEndsAWriteAndClosesIt) {
  transport.open();
  script.writes = {1, -EAGAIN};
  script.polls = {-ECANCELED};
  thrown(TTransportException::INTERRUPTED, [&] { write("ab"); });
  EXPECT_FALSE(transport.isOpen());
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

TEST_F(StreamTransportTest, ATrickleDoesNotStretchAReceiveDeadline) {
  transport.open();
  script.onPoll = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    script.input = "x";
  };
  transport.setReceiveDeadline(Deadline::in(20));
  thrown(TTransportException::TIMED_OUT, [&] {
    for (;;) read(1);
  });
  EXPECT_FALSE(transport.isOpen());
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

TEST_F(SocketPairTest, WhatArrivedBeforeTheEndIsRead) {
  ASSERT_EQ(::send(peer.get(), "abc", 3, 0), 3);
  peer.reset();
  std::uint8_t data[8];
  EXPECT_EQ(transport->read(data, sizeof data), 3u);
  EXPECT_EQ(transport->read(data, sizeof data), 0u);
}

}  // namespace
}  // namespace lanecall::test
