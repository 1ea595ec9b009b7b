// SPDX-License-Identifier: Apache-2.0
#include <lanecall/dirty_pages.h>

#include <algorithm>
#include <bit>
#include <cassert>

namespace lanecall {
namespace {

// Joins pages in rising order.
void append(std::vector<virtine::Extent>& extents, std::int64_t offset,
            std::int64_t bytes) {
  if (!extents.empty() &&
      extents.back().offset + extents.back().length == offset) {
    extents.back().length += bytes;
    return;
  }
  virtine::Extent& extent = extents.emplace_back();
  extent.offset = offset;
  extent.length = bytes;
}

}  // namespace

DirtyPages::DirtyPages(std::size_t bytes)
    : words_((bytes / kPageBytes + 63) / 64) {
  assert(bytes % kPageBytes == 0);
}

void DirtyPages::mark(std::span<const std::uint64_t> bits) {
  assert(bits.size() == words_.size());
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= bits[i];
}

void DirtyPages::clear() { std::fill(words_.begin(), words_.end(), 0); }

std::vector<virtine::Extent> DirtyPages::extents() const {
  std::vector<virtine::Extent> result;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::uint64_t left = words_[i];
    std::size_t page = i * 64;
    while (left) {
      const int clean = std::countr_zero(left);
      const int dirty = std::countr_one(left >> clean);
      page += clean;
      append(result, static_cast<std::int64_t>(page * kPageBytes),
             static_cast<std::int64_t>(dirty * kPageBytes));
      page += dirty;
      // A shift by all 64 bits is not defined.
      left = clean + dirty < 64 ? left >> clean >> dirty : 0;
    }
  }
  return result;
}

}  // namespace lanecall
