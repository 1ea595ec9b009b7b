// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a snapshot: never changed once made, shared by all snapshots of
// the same content and by whoever cleans from them.
//
// They lie in this program's memory. A card that cleans from them by DMA gets a
// copy in its own memory, one for each card, that is there as long as somebody
// holds it: whatever a card does to its copy, others clean from theirs.
#ifndef LANECALL_SERVER_VIRTINE_IMAGE_H
#define LANECALL_SERVER_VIRTINE_IMAGE_H

#include <lanecall/card_device.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lanecall {

// XXH3, 64 bits, seed 0.
std::int64_t checksumOf(std::string_view bytes);

class VirtineImage {
 public:
  explicit VirtineImage(std::string bytes)
      : bytes_(std::move(bytes)), checksum_(checksumOf(bytes_)) {}
  VirtineImage(const VirtineImage&) = delete;
  VirtineImage& operator=(const VirtineImage&) = delete;

  std::string_view bytes() const { return bytes_; }
  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }
  std::int64_t checksum() const { return checksum_; }

  bool hasSameBytes(const VirtineImage& other) const {
    return checksum_ == other.checksum_ && bytes_ == other.bytes_;
  }

  // Its copy in this device's card memory, made if there is none. Throws
  // CardMemoryFull.
  std::shared_ptr<const CardBuffer> on(CardDevice& device) const;

 private:
  const std::string bytes_;
  const std::int64_t checksum_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::vector<std::weak_ptr<const CardBuffer>> copies_;
};

using VirtineImagePtr = std::shared_ptr<const VirtineImage>;

}  // namespace lanecall

#endif
