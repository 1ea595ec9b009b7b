// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <lanecall/async_inbox.h>
#include <lanecall/failure.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;

// Before a frame: its size, big-endian.
constexpr std::size_t kFrameHeader = 4;

constexpr std::size_t kLeast = 4 << 10;

// Room that a message made larger than this is freed with it.
constexpr std::size_t kKept = 1 << 20;

}  // namespace

AsyncInbox::AsyncInbox(std::string origin, Framing framing, Protocol protocol,
                       const Limits& limits)
    : origin_(std::move(origin)),
      framing_(framing),
      most_(limits.messageBytes),
      scanner_(protocol, limits) {}

void AsyncInbox::clear() {
  begin_ = end_ = 0;
  scanner_.restart();
  if (room_ <= kKept) return;
  bytes_.reset();
  room_ = 0;
}

void AsyncInbox::add(const std::uint8_t* data, std::size_t size) {
  if (size > room_ - end_) makeRoom(size);
  std::memcpy(bytes_.get() + end_, data, size);
  end_ += size;
}

// Behind what has come, which moves to the front.
void AsyncInbox::makeRoom(std::size_t size) {
  const std::size_t have = end_ - begin_;
  std::size_t room = room_;
  if (have + size > room) room = std::max({have + size, 2 * room, kLeast});
  if (have + size <= kKept && room_ > kKept) room = kKept;
  if (room == room_) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, have);
  } else {
    std::unique_ptr<std::uint8_t[]> moved(new std::uint8_t[room]);
    if (have > 0) std::memcpy(moved.get(), bytes_.get() + begin_, have);
    bytes_ = std::move(moved);
    room_ = room;
  }
  begin_ = 0;
  end_ = have;
}

std::optional<std::span<const std::uint8_t>> AsyncInbox::next() {
  if (empty()) {
    clear();
    return std::nullopt;
  }
  return framing_ == Framing::kFramed ? nextFrame() : nextMessage();
}

std::span<const std::uint8_t> AsyncInbox::cut(std::size_t head,
                                              std::size_t size) {
  const std::uint8_t* message = bytes_.get() + begin_ + head;
  begin_ += head + size;
  return {message, size};
}

std::optional<std::span<const std::uint8_t>> AsyncInbox::nextFrame() {
  const std::size_t have = end_ - begin_;
  if (have < kFrameHeader) return std::nullopt;
  std::uint32_t size;
  std::memcpy(&size, bytes_.get() + begin_, sizeof size);
  size = ntohl(size);
  if (size == 0 || size > static_cast<std::uint32_t>(most_))
    badFrame(origin_, size, most_);
  if (have - kFrameHeader < size) return std::nullopt;
  return cut(kFrameHeader, size);
}

std::optional<std::span<const std::uint8_t>> AsyncInbox::nextMessage() try {
  const auto size = scanner_.scan(bytes_.get() + begin_, end_ - begin_);
  if (size.value_or(scanner_.atLeast()) > static_cast<std::size_t>(most_))
    overLimit(origin_, "a message received", most_);
  if (!size) return std::nullopt;
  return cut(0, *size);
} catch (const AsyncScanner::NoMessage& error) {
  throw TTransportException(
      TTransportException::CORRUPTED_DATA,
      origin_ + ": what came is no message of ours (" + error.what() +
          "); give client and server the same --framing and --protocol");
}

}  // namespace lanecall
