// SPDX-License-Identifier: Apache-2.0
// A region as a minimal driver lends it: a descriptor and pages of extents in
// guest memory, and a slot of the device. Its parts can be spoiled by tests
// that are no good driver.
#ifndef LANECALL_TESTS_USER_REGION_H
#define LANECALL_TESTS_USER_REGION_H

#include <lanecall/region.h>

#include <deque>
#include <optional>
#include <vector>

#include "device_under_test.h"

namespace lanecall::test {

using Extents = std::vector<lanecall_extent>;

// Pieces of this many bytes, scattered in guest memory, no two of them
// neighbours, with a guard between any two. They are one span of bytes.
class ScatteredMemory {
 public:
  ScatteredMemory(GuestMemory& memory, const std::vector<size_t>& pieces);

  const Extents& extents() const { return extents_; }
  size_t bytes() const { return bytes_; }
  std::vector<unsigned char> load(size_t offset, size_t bytes) const;
  void store(size_t offset, const std::vector<unsigned char>& bytes);
  bool guardsAreWhole() const;

 private:
  template <typename Copy>
  void walk(size_t offset, size_t bytes, Copy copy) const;

  GuestMemory& memory_;
  GuestBlock block_;
  Extents extents_;
  size_t bytes_ = 0;
};

struct RegionOptions {
  uint32_t slot = 0;
  uint64_t key = 0x0123456789abcdef;
  uint32_t access = LANECALL_REGION_MAY_READ | LANECALL_REGION_MAY_WRITE;
  uint32_t vector = 1;
};

// Belongs to one thread at a time.
class UserRegion {
 public:
  UserRegion(DeviceUnderTest& device, const Extents& extents,
             RegionOptions options = {});
  ~UserRegion();  // removes; waits until the device has let go of the memory
  UserRegion(const UserRegion&) = delete;
  UserRegion& operator=(const UserRegion&) = delete;

  // Each writes what its command needs, then the command.
  void add();
  void remove() { command(LANECALL_REGION_REMOVE); }
  void command(uint32_t command);

  uint32_t status() const;
  // Waits until the status word is another than this, sleeping on the region's
  // interrupt; nothing when the deadline has passed.
  std::optional<uint32_t> waitWhile(uint32_t word, const Deadline& deadline);
  // add, wait: true once it is ACTIVE. And back: FREE, without an error.
  bool lend(const Deadline& deadline);
  bool takeBack(const Deadline& deadline);
  // The device was reset, which tells nobody: nothing is to be taken back.
  void forget();

  uint64_t address() const { return descriptor_.address(); }
  lanecall_region& descriptor() const;
  lanecall_extent_page& page(size_t n) const;
  uint64_t pageAddress(size_t n) const { return pages_.at(n).address(); }
  uint64_t key() const { return options_.key; }

 private:
  DeviceUnderTest& device_;
  const RegionOptions options_;
  GuestBlock descriptor_;
  std::deque<GuestBlock> pages_;
};

}  // namespace lanecall::test

#endif
