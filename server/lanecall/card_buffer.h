// SPDX-License-Identifier: Apache-2.0
//
// A piece of a device's card memory, for DMA to and from the regions of its
// clients. Made by CardDevice::allocate(); free again when its last holder is
// gone. Whoever has it in a batch holds it until that is done.
#ifndef LANECALL_CARD_BUFFER_H
#define LANECALL_CARD_BUFFER_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace lanecall {

class CardBuffer {
 public:
  // For who makes a CardDevice. owner keeps the bytes mapped, and theirs. card:
  // which card memory they belong to, any address that is that one's alone;
  // offset: where they lie in it.
  CardBuffer(std::uint8_t* data, std::size_t bytes, const void* card,
             std::uint64_t offset, std::shared_ptr<const void> owner)
      : data_(data),
        bytes_(bytes),
        card_(card),
        offset_(offset),
        owner_(std::move(owner)) {}
  CardBuffer(const CardBuffer&) = delete;
  CardBuffer& operator=(const CardBuffer&) = delete;

  // Page-aligned, and mapped until the buffer is gone, also when the session
  // has ended. At first it has whatever was left there. Between submitting a
  // batch and its end what the batch touches here is the device's.
  std::uint8_t* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  const void* card() const { return card_; }
  std::uint64_t offset() const { return offset_; }

 private:
  std::uint8_t* const data_;
  const std::size_t bytes_;
  const void* const card_;
  const std::uint64_t offset_;
  const std::shared_ptr<const void> owner_;
};

}  // namespace lanecall

#endif
