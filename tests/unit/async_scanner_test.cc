// SPDX-License-Identifier: Apache-2.0
//
// Where messages end, by their bytes alone: any shape that Thrift writes, cut
// anywhere; and what is no message.
#include <gtest/gtest.h>
#include <lanecall/async_scanner.h>
#include <lanecall/limits.h>
#include <thrift/transport/TBufferTransports.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

namespace lanecall::test {
namespace {

using apache::thrift::protocol::TMessageType;
using apache::thrift::protocol::TProtocol;
using apache::thrift::protocol::TType;
using apache::thrift::transport::TMemoryBuffer;

// Writes messages of random shape.
class Writer {
 public:
  Writer(Protocol protocol, std::uint32_t seed)
      : random_(seed),
        buffer_(std::make_shared<TMemoryBuffer>()),
        protocol_(protocolFactory(protocol, {})->getProtocol(buffer_)) {}

  std::string message() {
    buffer_->resetBuffer();
    protocol_->writeMessageBegin(std::string(below(40), 'n'),
                                 TMessageType::T_REPLY, below(1 << 30));
    writeStruct(0);
    protocol_->writeMessageEnd();
    return buffer_->getBufferAsString();
  }

 private:
  int below(int limit) {
    return std::uniform_int_distribution<int>(0, limit - 1)(random_);
  }

  TType type(int depth) {
    static const TType kAll[] = {
        TType::T_BOOL, TType::T_BYTE,   TType::T_I16,    TType::T_I32,
        TType::T_I64,  TType::T_DOUBLE, TType::T_STRING, TType::T_LIST,
        TType::T_SET,  TType::T_MAP,    TType::T_STRUCT};
    return kAll[below(depth < 5 ? 11 : 7)];
  }

  void writeStruct(int depth) {
    protocol_->writeStructBegin("s");
    const int fields = below(5);
    for (int i = 0; i < fields; ++i) {
      const TType of = type(depth);
      // Far apart and back, for compact's long form.
      protocol_->writeFieldBegin(
          "f", of, static_cast<std::int16_t>(below(2) ? i + 1 : below(20000)));
      writeValue(of, depth);
      protocol_->writeFieldEnd();
    }
    protocol_->writeFieldStop();
    protocol_->writeStructEnd();
  }

  void writeItems(TType of, int items, int depth) {
    for (int i = 0; i < items; ++i) writeValue(of, depth + 1);
  }

  void writeValue(TType of, int depth) {
    const int items = below(8) == 0 ? below(40) : below(4);
    const TType item = type(depth + 1), key = type(depth + 1);
    switch (of) {
      case TType::T_BOOL:
        protocol_->writeBool(below(2));
        break;
      case TType::T_BYTE:
        protocol_->writeByte(static_cast<std::int8_t>(below(256)));
        break;
      case TType::T_I16:
        protocol_->writeI16(static_cast<std::int16_t>(below(65536)));
        break;
      case TType::T_I32:
        protocol_->writeI32(below(2) ? below(100) : -below(1 << 30));
        break;
      case TType::T_I64:
        protocol_->writeI64(static_cast<std::int64_t>(random_()) << below(32));
        break;
      case TType::T_DOUBLE:
        protocol_->writeDouble(below(1000) / 7.0);
        break;
      case TType::T_STRING:
        protocol_->writeString(std::string(below(300), 's'));
        break;
      case TType::T_LIST:
        protocol_->writeListBegin(item, items);
        writeItems(item, items, depth);
        break;
      case TType::T_SET:
        protocol_->writeSetBegin(item, items);
        writeItems(item, items, depth);
        break;
      case TType::T_MAP:
        protocol_->writeMapBegin(key, item, items);
        for (int i = 0; i < items; ++i) {
          writeValue(key, depth + 1);
          writeValue(item, depth + 1);
        }
        break;
      default:
        writeStruct(depth + 1);
    }
  }

  std::mt19937 random_;
  std::shared_ptr<TMemoryBuffer> buffer_;
  std::shared_ptr<TProtocol> protocol_;
};

class AsyncScannerTest : public ::testing::TestWithParam<Protocol> {
 protected:
  std::optional<std::size_t> scan(const std::string& bytes) {
    // A copy of just that size, so that a look beyond it is seen.
    std::unique_ptr<std::uint8_t[]> copy(new std::uint8_t[bytes.size()]);
    std::memcpy(copy.get(), bytes.data(), bytes.size());
    return scanner.scan(copy.get(), bytes.size());
  }
  AsyncScanner scanner{GetParam(), {}};
};
INSTANTIATE_TEST_SUITE_P(Of, AsyncScannerTest,
                         ::testing::Values(Protocol::kBinary,
                                           Protocol::kCompact),
                         [](const auto& info) { return name(info.param); });

TEST_P(AsyncScannerTest, FindsTheEndOfAnyMessageThatComesByteByByte) {
  for (std::uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    const std::string message = Writer(GetParam(), seed).message();
    for (std::size_t size = 0; size < message.size(); ++size)
      ASSERT_EQ(scan(message.substr(0, size)), std::nullopt) << size;
    ASSERT_EQ(scan(message), message.size());
  }
}

TEST_P(AsyncScannerTest, StopsAtTheEndOfTheFirstOfSeveral) {
  Writer writer(GetParam(), 7);
  std::string stream;
  std::vector<std::size_t> sizes;
  for (int i = 0; i < 500; ++i) {
    const std::string message = writer.message();
    stream += message;
    sizes.push_back(message.size());
  }
  for (const std::size_t size : sizes) {
    ASSERT_EQ(scan(stream), size);
    stream.erase(0, size);
  }
}

TEST_P(AsyncScannerTest, KnowsHowLongAMessageIsAtLeast) {
  auto buffer = std::make_shared<TMemoryBuffer>();
  auto protocol = protocolFactory(GetParam(), {})->getProtocol(buffer);
  protocol->writeMessageBegin("m", TMessageType::T_REPLY, 0);
  protocol->writeStructBegin("s");
  protocol->writeFieldBegin("f", TType::T_STRING, 1);
  protocol->writeString(std::string(1000, 's'));
  EXPECT_EQ(scan(buffer->getBufferAsString().substr(0, 30)), std::nullopt);
  EXPECT_EQ(scanner.atLeast(), buffer->available_read());
}

TEST_P(AsyncScannerTest, RefusesStructsNestedTooDeep) {
  auto buffer = std::make_shared<TMemoryBuffer>();
  auto protocol = protocolFactory(GetParam(), {})->getProtocol(buffer);
  protocol->writeMessageBegin("m", TMessageType::T_REPLY, 0);
  for (int i = 0; i < 1000; ++i) {
    protocol->writeStructBegin("s");
    protocol->writeFieldBegin("f", TType::T_STRUCT, 1);
  }
  EXPECT_THROW(scan(buffer->getBufferAsString()), AsyncScanner::NoMessage);
}

TEST_P(AsyncScannerTest, RefusesOrOutlivesAnything) {
  std::mt19937 random(1);
  for (int round = 0; round < 5'000; ++round) {
    std::string bytes = Writer(GetParam(), round % 50).message();
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < changes; ++i)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    AsyncScanner fresh(GetParam(), {});
    try {
      const auto size = fresh.scan(
          reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
      EXPECT_LE(size.value_or(0), bytes.size());
    } catch (const AsyncScanner::NoMessage&) {
    }
  }
}

TEST_P(AsyncScannerTest, NamesAMessage) {
  auto buffer = std::make_shared<TMemoryBuffer>();
  auto protocol = protocolFactory(GetParam(), {})->getProtocol(buffer);
  protocol->writeMessageBegin("reflect", TMessageType::T_CALL, 0);
  const std::string head = buffer->getBufferAsString();
  const auto nameOf = [&](std::size_t size) {
    return AsyncScanner::nameOf(
        GetParam(), reinterpret_cast<const std::uint8_t*>(head.data()), size);
  };
  EXPECT_EQ(nameOf(head.size()), "reflect");
  EXPECT_TRUE(std::string("reflect").starts_with(nameOf(10)));
  EXPECT_EQ(nameOf(3), "");
  EXPECT_EQ(nameOf(0), "");
}

TEST(AsyncScanner, RefusesTheOtherProtocol) {
  for (auto [ours, theirs] : {std::pair{Protocol::kBinary, Protocol::kCompact},
                              {Protocol::kCompact, Protocol::kBinary}}) {
    const std::string message = Writer(theirs, 1).message();
    AsyncScanner scanner(ours, {});
    EXPECT_THROW(
        scanner.scan(reinterpret_cast<const std::uint8_t*>(message.data()),
                     message.size()),
        AsyncScanner::NoMessage);
  }
}

}  // namespace
}  // namespace lanecall::test
