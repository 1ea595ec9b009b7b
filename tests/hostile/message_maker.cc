// SPDX-License-Identifier: Apache-2.0
#include "message_maker.h"

#include <edu/Edu.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <virtine/VirtineCleanup.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

namespace lanecall::test {
namespace {

using apache::thrift::protocol::TMessageType;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::protocol::TType;

// Around every limit that a length or a count may meet.
constexpr std::array<std::uint32_t, 16> kCounts = {
    0,    1,    2,      127,     128,       255,        256,        2047,
    2048, 2049, 65'536, 262'144, 64u << 20, 0x7fffffff, 0x80000000, 0xffffffff};

// Of structs in structs, around the limits and beyond any stack.
constexpr std::array<int, 7> kDepths = {1, 31, 63, 64, 65, 1000, 30'000};

constexpr std::size_t kMostSpoils = 4;

std::string bigEndian(std::uint32_t value) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i)
    bytes[i] = static_cast<char>(value >> (24 - 8 * i));
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

}  // namespace

MessageMaker::MessageMaker(Protocol protocol, Framing framing, Random& random)
    : protocol_(protocol),
      framing_(framing),
      random_(random),
      memory_(std::make_shared<Memory>()),
      writer_(protocolFactory(protocol, Limits())->getProtocol(memory_)) {}

std::string MessageMaker::next() {
  std::string message = unframed();
  return framing_ == Framing::kFramed ? framed(message) : message;
}

std::string MessageMaker::unframed() {
  switch (random_.below(16)) {
    case 0:
      return wrongCall();
    case 1:
    case 2:
    case 3:
      return spoiled();
    case 4:
      return random_.below(4) ? counted() : nested();
    case 5:
      return random_.below(4) ? counted() : noise();
    default:
      return rightCall();
  }
}

// Mostly right: then what is in the frame has its chance.
std::string MessageMaker::framed(const std::string& message) {
  std::uint32_t size = static_cast<std::uint32_t>(message.size());
  if (random_.below(32) == 0)
    size = random_.below(2)
               ? kCounts[random_.below(kCounts.size())]
               : size + static_cast<std::uint32_t>(random_.below(5)) - 2;
  return bigEndian(size) + message;
}

// ---- Right calls -----------------------------------------------------------

std::string MessageMaker::text(std::size_t most) {
  return random_.bytes(random_.below(random_.below(most) + 1));
}

std::int64_t MessageMaker::number() {
  using Limits = std::numeric_limits<std::int64_t>;
  switch (random_.below(6)) {
    case 0:
      return static_cast<std::int64_t>(random_.below(~std::uint64_t{0}));
    case 1:
      return random_.below(2) ? Limits::max() : Limits::min();
    case 2:
      return -static_cast<std::int64_t>(random_.below(3));
    case 3:
      return static_cast<std::int64_t>(random_.below(70'000));
    default:
      return static_cast<std::int64_t>(random_.below(20));
  }
}

std::string MessageMaker::rightCall() {
  memory_->resetBuffer();
  if (random_.below(2))
    callEdu();
  else
    callVirtine();
  return memory_->getBufferAsString();
}

void MessageMaker::callEdu() {
  edu::EduClient edu(writer_);
  switch (random_.below(8)) {
    case 0:
      return edu.send_echo(text(2000));
    case 1:
      return edu.send_counter();
    case 2:
      return edu.send_reflect(text(20'000));
    case 3:
      return edu.send_factorial(numberOf<std::int32_t>());
    case 4: {
      std::vector<std::int32_t> values(random_.below(300));
      for (std::int32_t& value : values) value = numberOf<std::int32_t>();
      return edu.send_scale(values, numberOf<std::int32_t>());
    }
    case 5: {
      idl::RegionReference source, target;
      source.key = number();
      source.length = target.length = number();
      target.offset = number();
      return edu.send_scaleRegion(source, target, numberOf<std::int32_t>());
    }
    case 6:
      return edu.send_note(text(500));
    default:
      return edu.send_ping();
  }
}

void MessageMaker::callVirtine() {
  virtine::VirtineCleanupClient service(
      std::make_shared<TMultiplexedProtocol>(writer_, "VirtineCleanup"));
  virtine::Memory memory;
  switch (random_.below(3)) {
    case 0:
      memory.__set_bytes(text(5000));
      break;
    case 1:
      memory.__set_inlineSize(number());
      break;
    default: {
      idl::RegionReference region;
      region.key = number();
      region.offset = number();
      region.length = number();
      memory.__set_region(region);
    }
  }
  auto request = [&] {
    virtine::CleanRequest one;
    one.attachment = number();
    std::vector<virtine::Extent> dirty(random_.below(8));
    for (virtine::Extent& extent : dirty) {
      extent.offset = number();
      extent.length = number();
    }
    if (random_.below(2)) one.__set_dirty(dirty);
    if (random_.below(2)) one.__set_memory(memory);
    return one;
  };
  switch (random_.below(10)) {
    case 0:
      return service.send_registerSnapshot(memory, random_.below(8) == 0);
    case 1:
      return service.send_dropSnapshot(number());
    case 2:
      return service.send_attach(memory, number());
    case 3:
      return service.send_detach(number());
    case 4:
      return service.send_clean(request());
    case 5: {
      std::vector<virtine::CleanRequest> requests(random_.below(8));
      std::generate(requests.begin(), requests.end(), request);
      return service.send_submit(requests);
    }
    case 6: {
      const auto atLeast = numberOf<std::int32_t>();
      const auto atMost = numberOf<std::int32_t>();
      return service.send_reap(atLeast, atMost, numberOf<std::int32_t>());
    }
    case 7:
      return service.send_cancel(number());
    case 8:
      return service.send_info();
    default:
      return service.send_stats();
  }
}

// ---- Wrong ones ------------------------------------------------------------

// Of a method that is not there, of a kind that is no call, and with a field
// that nobody knows.
std::string MessageMaker::wrongCall() {
  constexpr std::array kNames = {
      "ping",      "none",     "",  "VirtineCleanup:",
      "None:ping", "Edu:ping", ":", "scale"};
  memory_->resetBuffer();
  std::string name = kNames[random_.below(kNames.size())];
  if (random_.below(8) == 0) name = text(300);
  const auto type =
      static_cast<TMessageType>(random_.below(2) ? 1 : 1 + random_.below(4));
  writer_->writeMessageBegin(name, type, numberOf<std::int32_t>());
  writer_->writeStructBegin("");
  for (std::uint64_t fields = random_.below(5); fields > 0; --fields) {
    writer_->writeFieldBegin("x", TType::T_STRING, numberOf<std::int16_t>());
    writer_->writeString(text(100));
  }
  writer_->writeFieldStop();
  writer_->writeStructEnd();
  writer_->writeMessageEnd();
  return memory_->getBufferAsString();
}

std::string MessageMaker::spoiled() {
  std::string message = random_.below(4) ? rightCall() : wrongCall();
  for (std::size_t n = 1 + random_.below(kMostSpoils); n > 0; --n) {
    if (message.empty()) return message;
    const std::size_t at = random_.below(message.size());
    const std::uint32_t count = kCounts[random_.below(kCounts.size())];
    switch (random_.below(7)) {
      case 0:  // anything
        message[at] = static_cast<char>(random_.below(256));
        break;
      case 1:  // another type
        message[at] = static_cast<char>(random_.below(17));
        break;
      case 2:  // a length or count, if it hits one
        message.replace(at, 4, bigEndian(count));
        break;
      case 3:
        message.replace(at, 1, varint(count));
        break;
      case 4:
        message.erase(at, 1 + random_.below(8));
        break;
      case 5:
        message.insert(at, message.substr(random_.below(message.size()), 64));
        break;
      case 6:
        message.resize(at);
        break;
    }
  }
  return message;
}

// A call up to its arguments.
std::string MessageMaker::begin(const std::string& name) {
  memory_->resetBuffer();
  writer_->writeMessageBegin(name, TMessageType::T_CALL, 1);
  return memory_->getBufferAsString();
}

std::string MessageMaker::head() {
  return begin(random_.below(2) ? "scale" : "VirtineCleanup:submit");
}

void MessageMaker::putField(std::string* to, std::uint8_t binaryType,
                            std::uint8_t compactType) const {
  if (protocol_ == Protocol::kBinary)
    *to += std::string{static_cast<char>(binaryType), '\0', '\1'};
  else
    *to += static_cast<char>(0x10 | compactType);
}

void MessageMaker::putCount(std::string* to, std::uint32_t count) const {
  *to += protocol_ == Protocol::kBinary ? bigEndian(count) : varint(count);
}

// Structs in structs, or lists in lists, and the end missing or not.
std::string MessageMaker::nested() {
  const int depth = kDepths[random_.below(kDepths.size())];
  const bool isBinary = protocol_ == Protocol::kBinary;
  std::string message = head();
  if (random_.below(2)) {
    for (int i = 0; i < depth; ++i) putField(&message, TType::T_STRUCT, 12);
    if (random_.below(2)) message += std::string(depth + 1, '\0');
  } else {
    putField(&message, TType::T_LIST, 9);
    for (int i = 0; i < depth; ++i)
      message += isBinary ? std::string("\x0f\0\0\0\1", 5) : "\x19";
    if (random_.below(2)) message += isBinary ? std::string(6, '\0') : "\x03";
  }
  return message;
}

// Much is announced and little comes.
std::string MessageMaker::counted() {
  struct Kind {
    std::uint8_t binary, compact;
  };
  constexpr std::array<Kind, 4> kContainers = {{{TType::T_LIST, 9},
                                                {TType::T_SET, 10},
                                                {TType::T_MAP, 11},
                                                {TType::T_STRING, 8}}};
  constexpr std::array<Kind, 5> kItems = {{{TType::T_STRUCT, 12},
                                           {TType::T_I32, 5},
                                           {TType::T_STRING, 8},
                                           {TType::T_LIST, 9},
                                           {TType::T_BYTE, 3}}};
  const std::uint32_t count = kCounts[random_.below(kCounts.size())];
  const Kind container = kContainers[random_.below(3) ? 0 : random_.below(4)];
  const Kind item = kItems[random_.below(kItems.size())];
  const bool isBinary = protocol_ == Protocol::kBinary;
  std::string message = head();
  putField(&message, container.binary, container.compact);
  if (container.binary == TType::T_STRING) {
    putCount(&message, count);
  } else if (container.binary == TType::T_MAP) {
    if (!isBinary) putCount(&message, count);
    message += isBinary ? std::string(2, static_cast<char>(item.binary))
                        : std::string(1, static_cast<char>(item.compact * 17));
    if (isBinary) putCount(&message, count);
  } else {
    message += static_cast<char>(isBinary ? item.binary : 0xf0 | item.compact);
    putCount(&message, count);
  }
  return message + text(200);
}

// The frame's size is that of a message of which all comes.
std::string MessageMaker::longList(std::uint32_t items) {
  const bool isBinary = protocol_ == Protocol::kBinary;
  std::string message = begin("VirtineCleanup:submit");
  putField(&message, TType::T_LIST, 9);
  message += isBinary ? static_cast<char>(TType::T_STRUCT) : '\xfc';
  putCount(&message, items);
  return framing_ == Framing::kFramed ? bigEndian(items * 10) + message
                                      : message;
}

std::string MessageMaker::longString(std::uint32_t size, std::uint32_t comes) {
  std::string message = begin("echo");
  putField(&message, TType::T_STRING, 8);
  putCount(&message, size);
  const auto whole = static_cast<std::uint32_t>(message.size() + size + 1);
  message.append(comes, 'x');
  return framing_ == Framing::kFramed ? bigEndian(whole) + message : message;
}

std::string MessageMaker::noise() {
  constexpr std::array kOthers = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                  "\x16\x03\x01\x02\x00\x01", "SSH-2.0-x\r\n",
                                  "\x80\x01\x00\x01", "\x82\x21\x01"};
  std::string message = text(300);
  if (random_.below(2))
    message = kOthers[random_.below(kOthers.size())] + message;
  return message;
}

}  // namespace lanecall::test
