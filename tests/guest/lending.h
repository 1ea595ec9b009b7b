// SPDX-License-Identifier: Apache-2.0
// Memory of this program, and lending it to the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "channel.h"

namespace lanecall::guest_tests {

inline constexpr std::size_t kPage = 4096;
inline constexpr std::uint32_t kReadable = 1;  // LANECALL_REGION_MAY_READ
inline constexpr std::uint32_t kWritable = 2;
inline constexpr std::uint32_t kBoth = kReadable | kWritable;

// A mapping of this program, unmapped at the end.
class Memory {
 public:
  // Private and anonymous unless a descriptor or flags say otherwise.
  explicit Memory(std::size_t bytes, int fd = -1, int flags = 0);
  Memory(Memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  ~Memory();

  std::uint8_t* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  void put(std::size_t offset, const std::string& text) const;
  std::string get(std::size_t offset, std::size_t count) const;

 private:
  std::uint8_t* data_;
  std::size_t bytes_;
};

// Two mappings whose pages were touched in turn: neither is contiguous to a
// device, as far as the kernel hands pages out in order.
std::vector<Memory> interleaved(std::size_t bytes);

// 0, or errno. The first sets what the driver returns in wanted.
int register_region(int fd, lanecall_region_registration* wanted);
int unregister_region(int fd, std::uint32_t region);
int errno_of(int fd, std::uintptr_t address, std::uint64_t bytes,
             std::uint32_t access = kBoth, std::uint32_t flags = 0);
int sync_region(int fd, std::uint32_t region, std::uint32_t direction,
                std::uint64_t offset, std::uint64_t bytes);

// Expected to succeed.
lanecall_region_registration lend(int fd, const void* data, std::size_t bytes,
                                  std::uint32_t access = kBoth);
lanecall_region_registration lend(int fd, const Memory& memory,
                                  std::uint32_t access = kBoth);

// How much of this program's memory is pinned, in pages.
std::size_t pinned_pages();

long regions_in_use();

bool device_takes_regions();

}  // namespace lanecall::guest_tests
