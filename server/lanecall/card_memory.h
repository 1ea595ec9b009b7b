// SPDX-License-Identifier: Apache-2.0
//
// A device's card memory, as a server gets it: a memfd, and pieces of it
// mapped. Internal to the server library.
#ifndef LANECALL_CARD_MEMORY_H
#define LANECALL_CARD_MEMORY_H

#include <lanecall/descriptor.h>
#include <lanecall/mapping.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace lanecall {

class CardMemory {
 public:
  // Why a descriptor is not card memory of so many bytes; empty if it is.
  // Memory that may shrink is refused: what is mapped beyond its end is SIGBUS
  // for whoever touches it.
  static std::string refusal(int fd, std::uint64_t bytes);

  // refusal() must have had nothing to say.
  CardMemory(Descriptor fd, std::uint64_t bytes)
      : fd_(std::move(fd)), bytes_(bytes) {}

  std::uint64_t bytes() const { return bytes_; }

  // Throw std::system_error. Offset and bytes are multiples of the page size,
  // inside the memory.
  Mapping map(std::uint64_t offset, std::size_t bytes) const;
  // Twice, back to back, so that every span of a ring is contiguous.
  Mapping mapTwice(std::uint64_t offset, std::size_t bytes) const;

 private:
  Descriptor fd_;
  std::uint64_t bytes_;
};

}  // namespace lanecall

#endif
