// SPDX-License-Identifier: Apache-2.0
//
// Buffering and framing: the bytes are Thrift's own, the budget is per message,
// and memory follows bytes that have come.
#include <gtest/gtest.h>
#include <lanecall/buffered.h>
#include <thrift/protocol/TBinaryProtocol.h>

#include <algorithm>
#include <cstring>

namespace lanecall {
namespace {

using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::transport::TBufferedTransport;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;
using apache::thrift::transport::TVirtualTransport;

// An open stream with a limited piece per read, as sockets give.
class Pipe : public TVirtualTransport<Pipe> {
 public:
  bool isOpen() const override { return open; }
  void close() override { open = false; }
  std::uint32_t read(std::uint8_t* data, std::uint32_t size) {
    if (interrupted && at == in.size())
      throw TTransportException(TTransportException::INTERRUPTED);
    std::uint32_t take = std::min<std::uint64_t>({size, piece, in.size() - at});
    std::memcpy(data, in.data() + at, take);
    at += take;
    return take;
  }
  void write(const std::uint8_t* data, std::uint32_t size) {
    out.append(reinterpret_cast<const char*>(data), size);
    ++writes;
  }

  bool open = true;
  bool interrupted = false;  // a read that would wait
  std::string in;
  std::size_t at = 0;
  std::uint64_t piece = 1000;
  std::string out;
  int writes = 0;
};

Limits limitedTo(int bytes) {
  Limits limits;
  limits.messageBytes = limits.stringBytes = bytes;
  return limits;
}

class BufferedTest : public ::testing::TestWithParam<Framing> {
 protected:
  std::shared_ptr<TTransport> stackOf(int bytes) {
    return stack(pipe, GetParam(), limitedTo(bytes));
  }

  // Of a long message, so many bytes.
  std::string half(std::size_t bytes) {
    auto far = std::make_shared<Pipe>();
    send(*stack(far, GetParam(), limitedTo(1'000'000)),
         std::string(2 * bytes, 'x'));
    return far->out.substr(0, bytes);
  }

  // A message as a protocol writes it: a string and its end.
  static void send(TTransport& transport, const std::string& text) {
    TBinaryProtocol protocol(
        std::shared_ptr<TTransport>(&transport, [](auto*) {}));
    protocol.writeString(text);
    transport.writeEnd();
    transport.flush();
  }
  static std::string receive(TTransport& transport) {
    TBinaryProtocol protocol(
        std::shared_ptr<TTransport>(&transport, [](auto*) {}));
    std::string text;
    protocol.readString(text);
    transport.readEnd();
    return text;
  }

  std::shared_ptr<Pipe> pipe = std::make_shared<Pipe>();
};

TEST_P(BufferedTest, StringsOfEverySizeComeBack) {
  const std::uint32_t buffer = BufferedTransport::kBufferBytes;
  auto transport = stackOf(64 << 20);
  for (std::uint32_t size :
       {0u, 1u, 511u, 4096u, buffer - 5, buffer - 4, buffer - 1, buffer,
        buffer + 1, 2 * buffer - 5, 2 * buffer, (1u << 20) - 1, 1u << 20,
        (1u << 20) + 1, 5u << 20}) {
    std::string text(size, '\0');
    for (std::uint32_t i = 0; i < size; ++i) text[i] = char(i * 31 + i / 251);
    send(*transport, text);
    pipe->in = std::exchange(pipe->out, {});
    pipe->at = 0;
    pipe->piece = size < 5000 ? 7 : 100'000;
    EXPECT_TRUE(receive(*transport) == text) << size;
  }
}

TEST_P(BufferedTest, TheBytesAreThriftsOwn) {
  auto theirs = std::make_shared<Pipe>();
  std::shared_ptr<TTransport> thrifts;
  if (GetParam() == Framing::kFramed)
    thrifts = std::make_shared<TFramedTransport>(theirs);
  else
    thrifts = std::make_shared<TBufferedTransport>(theirs);
  auto ours = stackOf(64 << 20);
  for (int size : {0, 100, 200'000}) {
    send(*ours, std::string(size, 'a'));
    send(*thrifts, std::string(size, 'a'));
  }
  EXPECT_TRUE(pipe->out == theirs->out);
}

TEST_P(BufferedTest, AMessageIsOneWrite) {
  auto transport = stackOf(64 << 20);
  send(*transport, std::string(60'000, 'a'));
  EXPECT_EQ(pipe->writes, 1);
}

// With Thrift's transports the second half of these would fail.
TEST_P(BufferedTest, TheBudgetIsPerMessage) {
  auto transport = stackOf(1 << 20);
  const std::string text(700'000, 'b');
  for (int i = 0; i < 20; ++i) {
    send(*transport, text);
    pipe->in = std::exchange(pipe->out, {});
    pipe->at = 0;
    ASSERT_TRUE(receive(*transport) == text) << i;
  }
}

TEST_P(BufferedTest, PipelinedMessagesEachHaveTheirBudget) {
  auto writer = stackOf(1 << 20);
  for (int i = 0; i < 100; ++i) send(*writer, std::string(40'000, 'c'));
  pipe->in = std::exchange(pipe->out, {});
  pipe->piece = 1 << 20;
  auto reader = stackOf(50'000);
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(receive(*reader).size(), 40'000u) << i;
}

TEST_P(BufferedTest, AMessageOverTheLimitIsRefusedWhereverItsBytesAre) {
  auto writer = stackOf(64 << 20);
  TBinaryProtocol out(writer);
  for (int i = 0; i < 3000; ++i) out.writeString(std::string(21, 'x'));
  writer->flush();
  pipe->in = std::exchange(pipe->out, {});
  auto reader = stackOf(30'000);
  TBinaryProtocol in(reader);
  std::string text;
  int strings = 0;
  try {
    for (; strings < 3000; ++strings) in.readString(text);
    FAIL() << "75 kB were taken for 30";
  } catch (const TTransportException&) {
  }
  // What is buffered may still be read.
  EXPECT_LT(strings, 3000);
}

// The same messages as over a ring: a frame's size is not a part of it.
TEST_P(BufferedTest, AMessageOfExactlyTheLimitPasses) {
  constexpr int kLimit = 100'000;
  constexpr int kStringsSize = 4;
  auto transport = stackOf(kLimit);
  const std::string text(kLimit - kStringsSize, 'd');
  send(*transport, text);
  pipe->in = std::exchange(pipe->out, {});
  EXPECT_TRUE(receive(*transport) == text);
  EXPECT_THROW(send(*transport, text + "d"), TTransportException);
}

TEST_P(BufferedTest, TooMuchToSendIsRefusedBeforeItIsSent) {
  auto transport = stackOf(100'000);
  try {
    send(*transport, std::string(200'000, 'd'));
    FAIL() << "it was sent";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::CORRUPTED_DATA);
    EXPECT_NE(std::string(error.what()).find("100000"), std::string::npos);
  }
  if (GetParam() == Framing::kFramed) {
    EXPECT_TRUE(pipe->open);
    send(*transport, "still fine");
    pipe->in = pipe->out;
    EXPECT_EQ(receive(*transport), "still fine");
  } else {
    EXPECT_FALSE(pipe->open) << "a part was sent: nothing may follow it";
  }
}

TEST_P(BufferedTest, AnInterruptInsideAMessageCloses) {
  send(*stackOf(1000), std::string(500, 'x'));
  for (std::size_t have : {0, 2, 100, 300'000}) {
    auto reader = stackOf(1'000'000);
    pipe->open = pipe->interrupted = true;
    pipe->in = have < 1000 ? pipe->out.substr(0, have) : half(have);
    pipe->at = 0;
    try {
      receive(*reader);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const TTransportException& error) {
      EXPECT_EQ(error.getType(), TTransportException::INTERRUPTED);
    }
    EXPECT_EQ(reader->isOpen(), have == 0) << have;
  }
}

TEST_P(BufferedTest, AStreamThatEndsInsideAMessageIsAnError) {
  auto writer = stackOf(64 << 20);
  send(*writer, std::string(3 << 20, 'e'));
  std::string whole = std::exchange(pipe->out, {});
  for (std::size_t cut : {3ul, 5ul, 9ul, 1000ul, (2ul << 20) + 3}) {
    pipe->in = whole.substr(0, cut);
    pipe->at = 0;
    auto reader = stackOf(64 << 20);
    EXPECT_THROW(receive(*reader), TTransportException) << cut;
  }
}

TEST(FramedTransportTest, WhatIsNoFrameSaysSoAndCloses) {
  for (const std::string& header :
       {std::string("HTTP"), std::string(4, '\0'), std::string(4, '\xff')}) {
    auto pipe = std::make_shared<Pipe>();
    pipe->in = header + "and so on";
    auto reader = stack(pipe, Framing::kFramed, limitedTo(1000));
    std::uint8_t byte;
    try {
      reader->read(&byte, 1);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const TTransportException& error) {
      EXPECT_EQ(error.getType(), TTransportException::CORRUPTED_DATA);
      EXPECT_NE(std::string(error.what()).find("--framing"), std::string::npos);
    }
    EXPECT_FALSE(pipe->open) << "what follows could pass for a frame";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Both, BufferedTest, ::testing::Values(Framing::kBuffered, Framing::kFramed),
    [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace lanecall
