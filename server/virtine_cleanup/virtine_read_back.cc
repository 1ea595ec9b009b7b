// SPDX-License-Identifier: Apache-2.0
#include "virtine_read_back.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace lanecall {
namespace {

// A piece is compared and summed by the card port's thread: some 20 us.
constexpr std::int64_t kMostBytes = 256 << 10;
constexpr std::size_t kLeastBytes = 4096;

// However many verify at a time, others still find card memory: one takes so
// much of what is free, or the least that is worth a transfer.
constexpr std::uint64_t kShareOfFree = 64;

// As much as is needed, or less of it where card memory is scarce.
std::shared_ptr<CardBuffer> roomFor(std::int64_t wanted, CardDevice& device) {
  const auto share = static_cast<std::int64_t>(std::clamp<std::uint64_t>(
      device.space().freeBytes / kShareOfFree, kLeastBytes, kMostBytes));
  for (auto bytes =
           static_cast<std::size_t>(std::clamp<std::int64_t>(wanted, 1, share));
       ; bytes /= 2) {
    try {
      return device.allocate(bytes);
    } catch (const CardMemoryFull&) {
      if (bytes <= kLeastBytes) throw;
    }
  }
}

bool is_zero(const std::uint8_t* bytes, std::size_t count) {
  return count == 0 ||
         (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0);
}

XXH3_state_s* newState() {
  XXH3_state_s* state = XXH3_createState();
  if (!state) throw std::bad_alloc();
  XXH3_64bits_reset(state);
  return state;
}

}  // namespace

void ReadBack::FreeState::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

ReadBack::ReadBack(const CleanJob& job, CardDevice& device)
    : job_(job), buffer_(roomFor(job.bytes, device)), state_(newState()) {}

ReadBack::~ReadBack() = default;

void ReadBack::readNext(const RegionReference& memory, DmaBatch& batch) {
  piece_.clear();
  std::uint64_t used = 0;
  while (!isOver() && used < buffer_->bytes()) {
    const virtine::Extent& extent = job_.extents[extent_];
    const auto bytes =
        std::min<std::uint64_t>(extent.length - at_, buffer_->bytes() - used);
    piece_.push_back(
        {static_cast<std::uint64_t>(extent.offset + at_), bytes, used});
    used += bytes;
    at_ += static_cast<std::int64_t>(bytes);
    if (at_ < extent.length) continue;
    ++extent_;
    at_ = 0;
  }
  batch.read(memory, buffer_, piece_);
}

bool ReadBack::is_clean(const DmaExtent& read) const {
  const std::string_view image = job_.attachment->image->bytes();
  const std::uint8_t* bytes = buffer_->data() + read.card;
  const std::uint64_t restored =
      read.offset < image.size()
          ? std::min<std::uint64_t>(image.size() - read.offset, read.bytes)
          : 0;
  if (restored > 0 &&
      std::memcmp(bytes, image.data() + read.offset, restored) != 0)
    return false;
  return is_zero(bytes + restored, read.bytes - restored);
}

bool ReadBack::check() {
  for (const DmaExtent& read : piece_) {
    if (!is_clean(read)) return false;
    XXH3_64bits_update(state_.get(), buffer_->data() + read.card, read.bytes);
  }
  return true;
}

std::int64_t ReadBack::checksum() const {
  return static_cast<std::int64_t>(XXH3_64bits_digest(state_.get()));
}

}  // namespace lanecall
