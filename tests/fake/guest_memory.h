// SPDX-License-Identifier: Apache-2.0
// What a guest has for memory in these tests: a memory file, mapped here and
// found by the device at a bus address. QEMU is given the same file as its RAM,
// so that the tests' driver and QEMU's device share it as a guest's would.
#ifndef LANECALL_TESTS_GUEST_MEMORY_H
#define LANECALL_TESTS_GUEST_MEMORY_H

#include <lanecall/descriptor.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace lanecall::test {

// Any thread may call. Throws std::system_error when there is no memory file
// to be had, std::bad_alloc when the guest's memory is used up.
class GuestMemory {
 public:
  // `size` bytes that the device sees at `base`. Blocks are handed out from
  // `reserved` bytes on.
  GuestMemory(uint64_t base, size_t size, size_t reserved = 0);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  uint64_t base() const { return base_; }
  size_t size() const { return size_; }
  int fd() const { return file_.get(); }

  bool contains(uint64_t address, size_t bytes) const;

  // Where the bytes at a bus address are here; nullptr if they are not memory.
  unsigned char* at(uint64_t address, size_t bytes) const;

  // A zeroed block; its bus address is a multiple of `align`, a power of two.
  uint64_t allocate(size_t bytes, size_t align);
  void release(uint64_t address, size_t bytes);

 private:
  const uint64_t base_;
  const size_t size_;
  Descriptor file_;
  unsigned char* map_ = nullptr;
  std::mutex mutex_;
  std::map<uint64_t, uint64_t> free_;  // start and end of what is left
};

// A block that is given back at the end of its life.
class GuestBlock {
 public:
  GuestBlock(GuestMemory& memory, size_t bytes, size_t align = 4096)
      : memory_(&memory),
        bytes_(bytes),
        address_(memory.allocate(bytes, align)) {}
  GuestBlock(GuestBlock&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        bytes_(other.bytes_),
        address_(other.address_) {}
  GuestBlock& operator=(GuestBlock&&) = delete;
  ~GuestBlock() {
    if (memory_) memory_->release(address_, bytes_);
  }

  uint64_t address() const { return address_; }
  size_t bytes() const { return bytes_; }
  unsigned char* data() const { return memory_->at(address_, bytes_); }

 private:
  GuestMemory* memory_;
  size_t bytes_;
  uint64_t address_;
};

}  // namespace lanecall::test

#endif
