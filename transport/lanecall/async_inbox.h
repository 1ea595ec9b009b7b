// SPDX-License-Identifier: Apache-2.0
//
// What an AsyncChannel has received: bytes go in as they come, messages come
// out. Memory follows what has come, and is given back after a large message.
#ifndef LANECALL_ASYNC_INBOX_H
#define LANECALL_ASYNC_INBOX_H

#include <lanecall/async_scanner.h>
#include <lanecall/buffered.h>
#include <lanecall/limits.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace lanecall {

class AsyncInbox {
 public:
  AsyncInbox(std::string origin, Framing framing, Protocol protocol,
             const Limits& limits);

  // Copies.
  void add(const std::uint8_t* data, std::size_t size);

  // The next whole message, valid until the next add(), next() or clear(); none
  // if it has not come yet. Throws TTransportException CORRUPTED_DATA for what
  // is no message, or one over the limit: nothing that follows can be trusted.
  std::optional<std::span<const std::uint8_t>> next();

  // Whether anything is left that next() has not given.
  bool empty() const { return begin_ == end_; }

  void clear();

 private:
  std::optional<std::span<const std::uint8_t>> nextFrame();
  std::optional<std::span<const std::uint8_t>> nextMessage();
  std::span<const std::uint8_t> cut(std::size_t head, std::size_t size);
  void makeRoom(std::size_t size);

  const std::string origin_;
  const Framing framing_;
  const int most_;  // bytes of a message
  AsyncScanner scanner_;
  // [begin_, end_) of room_ has come and was not given.
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t room_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace lanecall

#endif
