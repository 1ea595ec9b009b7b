// SPDX-License-Identifier: Apache-2.0
#include "guest_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>

namespace lanecall::test {

GuestMemory::GuestMemory(uint64_t base, size_t size, size_t reserved)
    : base_(base),
      size_(size),
      file_(memfd_create("guest-memory", MFD_CLOEXEC)) {
  const auto fail = [](const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
  };
  if (!file_.valid()) fail("memfd_create");
  if (ftruncate(file_.get(), static_cast<off_t>(size)) != 0) fail("ftruncate");
  void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE, file_.get(), 0);
  if (map == MAP_FAILED) fail("mmap");
  map_ = static_cast<unsigned char*>(map);
  free_[base + reserved] = base + size;
}

GuestMemory::~GuestMemory() { munmap(map_, size_); }

bool GuestMemory::contains(uint64_t address, size_t bytes) const {
  return address >= base_ && bytes <= size_ && address - base_ <= size_ - bytes;
}

unsigned char* GuestMemory::at(uint64_t address, size_t bytes) const {
  return contains(address, bytes) ? map_ + (address - base_) : nullptr;
}

uint64_t GuestMemory::allocate(size_t bytes, size_t align) {
  std::lock_guard lock(mutex_);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [start, end] = *it;
    const uint64_t at = (start + align - 1) & ~(uint64_t{align} - 1);
    if (at >= end || end - at < bytes) continue;
    free_.erase(it);
    if (at > start) free_[start] = at;
    if (at + bytes < end) free_[at + bytes] = end;
    std::memset(map_ + (at - base_), 0, bytes);
    return at;
  }
  throw std::bad_alloc();
}

void GuestMemory::release(uint64_t address, size_t bytes) {
  std::lock_guard lock(mutex_);
  auto next = free_.lower_bound(address);
  uint64_t end = address + bytes;
  if (next != free_.end() && next->first == end) {
    end = next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->second == address) {
      before->second = end;
      return;
    }
  }
  free_[address] = end;
}

}  // namespace lanecall::test
