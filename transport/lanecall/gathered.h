// SPDX-License-Identifier: Apache-2.0
//
// Memory on the heap for a long string that is being received. It grows with
// what arrives, and follows no announcement; up to a size it is kept for the
// next string.
#ifndef LANECALL_GATHERED_H
#define LANECALL_GATHERED_H

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace lanecall {

class Gathered {
 public:
  // A string up to this size is allocated on its announcement alone.
  static constexpr std::uint32_t kTrustedBytes = 1 << 17;
  // Memory that a message made larger than this is freed with the message.
  static constexpr std::uint32_t kKeptBytes = 1 << 20;

  std::uint8_t* data() const { return bytes_.get(); }
  std::uint32_t room() const { return room_; }

  // More room for a string of `size` bytes, all of the room there is being
  // filled; what is there stays. Throws std::bad_alloc.
  void grow(std::uint32_t size) {
    const std::uint32_t room =
        std::min(size, std::max(2 * room_, kTrustedBytes));
    auto* more = static_cast<std::uint8_t*>(std::realloc(bytes_.get(), room));
    if (!more) throw std::bad_alloc();
    static_cast<void>(bytes_.release());
    bytes_.reset(more);
    room_ = room;
  }

  // At the end of a message.
  void shrink() {
    if (room_ > kKeptBytes) reset();
  }
  void reset() {
    bytes_.reset();
    room_ = 0;
  }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const { std::free(p); }
  };

  std::unique_ptr<std::uint8_t, Free> bytes_;
  std::uint32_t room_ = 0;
};

}  // namespace lanecall

#endif
