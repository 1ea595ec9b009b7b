// SPDX-License-Identifier: Apache-2.0
#include "shells.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

namespace lanecall::bench {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kMostBytes = 320 << 20;  // of a guest with a GiB

virtine::Extent extent(std::size_t offset, std::size_t length) {
  virtine::Extent made;
  made.offset = static_cast<std::int64_t>(offset);
  made.length = static_cast<std::int64_t>(length);
  return made;
}

// Neighbours in one extent, as whoever reads a dirty log would have it.
std::vector<virtine::Extent> randomPages(std::size_t pages, std::size_t dirty) {
  std::vector<std::size_t> all(pages);
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::size_t> chosen;
  std::sample(all.begin(), all.end(), std::back_inserter(chosen), dirty,
              std::mt19937(1));  // in rising order
  std::vector<virtine::Extent> extents;
  for (std::size_t page : chosen) {
    const auto at = static_cast<std::int64_t>(page * kPageBytes);
    if (!extents.empty() && extents.back().offset + extents.back().length == at)
      extents.back().length += kPageBytes;
    else
      extents.push_back(extent(page * kPageBytes, kPageBytes));
  }
  return extents;
}

}  // namespace

Shells::Shells(std::size_t count, std::size_t bytes, int dirtyPercent)
    : bytes_(bytes), isAllDirty_(dirtyPercent == 100), image_(allocate(bytes)) {
  if (count > kMostBytes / bytes)
    throw std::invalid_argument(
        "so much memory at a time is not measured: " + std::to_string(count) +
        " times " + std::to_string(bytes) + " bytes");
  std::mt19937_64 random(2);
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(image_.get() + at, &word, sizeof word);
  }
  for (std::size_t i = 0; i < count; ++i) {
    memories_.push_back(allocate(bytes));
    std::memcpy(memories_.back().get(), image_.get(), bytes);
  }
  const std::size_t pages = bytes / kPageBytes;
  dirty_ = isAllDirty_ ? std::vector{extent(0, bytes)}
                       : randomPages(pages, std::max<std::size_t>(
                                                1, pages * dirtyPercent / 100));
}

Shells::Memory Shells::allocate(std::size_t bytes) {
  Memory memory(
      static_cast<std::uint8_t*>(std::aligned_alloc(kPageBytes, bytes)));
  if (!memory) throw std::bad_alloc();
  return memory;
}

std::size_t Shells::firstDirty() const { return dirty_.front().offset; }

std::size_t Shells::lastDirty() const {
  return dirty_.back().offset + dirty_.back().length - 1;
}

void Shells::soil(Memory& memory, std::size_t offset) {
  memory[offset] = ~image_[offset];
}

void Shells::soilEnds() {
  for (Memory& memory : memories_) {
    soil(memory, firstDirty());
    soil(memory, lastDirty());
  }
}

void Shells::checkEnds() {
  for (const Memory& memory : memories_)
    if (memory[firstDirty()] != image_[firstDirty()] ||
        memory[lastDirty()] != image_[lastDirty()])
      throw std::runtime_error("a memory that was cleaned is dirty");
}

void Shells::soilAll() {
  for (Memory& memory : memories_)
    for (const virtine::Extent& extent : dirty_)
      for (std::int64_t at = 0; at < extent.length; at += kPageBytes)
        soil(memory, extent.offset + at);
}

void Shells::checkAll() {
  for (const Memory& memory : memories_)
    if (std::memcmp(memory.get(), image_.get(), bytes_) != 0)
      throw std::runtime_error("a memory that was cleaned is not the snapshot");
}

}  // namespace lanecall::bench
