// SPDX-License-Identifier: Apache-2.0
#include "user_region.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace lanecall::test {
namespace {

constexpr size_t kGuard = 4096;
constexpr unsigned char kGuardByte = 0xa5;

size_t bytesWithGuards(const std::vector<size_t>& pieces) {
  return std::accumulate(pieces.begin(), pieces.end(),
                         (pieces.size() + 1) * kGuard);
}

}  // namespace

// ---- ScatteredMemory -------------------------------------------------------

ScatteredMemory::ScatteredMemory(GuestMemory& memory,
                                 const std::vector<size_t>& pieces)
    : memory_(memory), block_(memory, bytesWithGuards(pieces)) {
  std::memset(block_.data(), kGuardByte, block_.bytes());
  uint64_t at = block_.address() + block_.bytes();
  for (size_t bytes : pieces) {  // from the last address down
    at -= kGuard + bytes;
    extents_.push_back({at, bytes});
    bytes_ += bytes;
    std::memset(memory.at(at, bytes), 0, bytes);
  }
}

template <typename Copy>
void ScatteredMemory::walk(size_t offset, size_t bytes, Copy copy) const {
  size_t begin = 0, done = 0;
  for (const auto& extent : extents_) {
    const size_t skipped = std::max(offset, begin) - begin;
    if (skipped < extent.bytes && done < bytes) {
      const size_t n = std::min<size_t>(extent.bytes - skipped, bytes - done);
      copy(memory_.at(extent.address + skipped, n), done, n);
      done += n;
    }
    begin += extent.bytes;
  }
}

std::vector<unsigned char> ScatteredMemory::load(size_t offset,
                                                 size_t bytes) const {
  std::vector<unsigned char> loaded(bytes);
  walk(offset, bytes, [&](const unsigned char* at, size_t done, size_t n) {
    std::memcpy(&loaded[done], at, n);
  });
  return loaded;
}

void ScatteredMemory::store(size_t offset,
                            const std::vector<unsigned char>& bytes) {
  walk(offset, bytes.size(), [&](unsigned char* at, size_t done, size_t n) {
    std::memcpy(at, &bytes[done], n);
  });
}

bool ScatteredMemory::guardsAreWhole() const {
  std::vector<unsigned char> all(block_.data(), block_.data() + block_.bytes());
  for (const auto& extent : extents_) {
    const auto begin =
        all.begin() + static_cast<ptrdiff_t>(extent.address - block_.address());
    std::fill(begin, begin + static_cast<ptrdiff_t>(extent.bytes), kGuardByte);
  }
  return std::all_of(all.begin(), all.end(),
                     [](unsigned char byte) { return byte == kGuardByte; });
}

// ---- UserRegion ------------------------------------------------------------

UserRegion::UserRegion(DeviceUnderTest& device, const Extents& extents,
                       RegionOptions options)
    : device_(device),
      options_(options),
      descriptor_(device.memory(), LANECALL_REGION_BYTES,
                  LANECALL_REGION_BYTES) {
  lanecall_region& d = descriptor();
  d.key = options.key;
  d.access = options.access;
  d.extents = static_cast<uint32_t>(extents.size());
  for (size_t i = 0; i < extents.size(); ++i) {
    const size_t n = i % LANECALL_EXTENTS_PER_PAGE;
    if (n == 0) {
      pages_.emplace_back(device.memory(), sizeof(lanecall_extent_page));
      (pages_.size() == 1 ? d.first : page(pages_.size() - 2).next) =
          pages_.back().address();
    }
    page(pages_.size() - 1).extent[n] = extents[i];
    d.bytes += extents[i].bytes;
  }
}

UserRegion::~UserRegion() {
  if (LANECALL_REGION_STATE(status()) == LANECALL_REGION_ACTIVE) {
    takeBack(Deadline::in(60000));
  }
}

lanecall_region& UserRegion::descriptor() const {
  return *reinterpret_cast<lanecall_region*>(descriptor_.data());
}

lanecall_extent_page& UserRegion::page(size_t n) const {
  return *reinterpret_cast<lanecall_extent_page*>(pages_.at(n).data());
}

void UserRegion::command(uint32_t command) {
  device_.write32(LANECALL_REG_REGION_SLOT, options_.slot);
  device_.write32(LANECALL_REG_REGION_COMMAND, command);
}

void UserRegion::add() {
  lanecall_put32(&descriptor().status, LANECALL_REGION_PENDING);
  device_.write32(LANECALL_REG_REGION_VECTOR, options_.vector);
  device_.write32(LANECALL_REG_REGION_LO, static_cast<uint32_t>(address()));
  device_.write32(LANECALL_REG_REGION_HI,
                  static_cast<uint32_t>(address() >> 32));
  lanecall_mb();
  command(LANECALL_REGION_ADD);
}

uint32_t UserRegion::status() const {
  const uint32_t word = lanecall_get32(&descriptor().status);
  lanecall_rmb();
  return word;
}

std::optional<uint32_t> UserRegion::waitWhile(uint32_t word,
                                              const Deadline& deadline) {
  while (status() == word) {
    if (!device_.waitInterrupt(options_.vector, deadline)) {
      return std::nullopt;
    }
  }
  return status();
}

bool UserRegion::lend(const Deadline& deadline) {
  add();
  return waitWhile(LANECALL_REGION_PENDING, deadline) == LANECALL_REGION_ACTIVE;
}

bool UserRegion::takeBack(const Deadline& deadline) {
  remove();
  return waitWhile(LANECALL_REGION_ACTIVE, deadline) == LANECALL_REGION_FREE;
}

void UserRegion::forget() {
  lanecall_put32(&descriptor().status, LANECALL_REGION_PENDING);
}

}  // namespace lanecall::test
