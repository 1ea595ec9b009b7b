// SPDX-License-Identifier: Apache-2.0
#include "lending.h"

#include <lanecall/region.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace lanecall::guest_tests {

static_assert(kReadable == LANECALL_REGION_MAY_READ);
static_assert(kWritable == LANECALL_REGION_MAY_WRITE);

Memory::Memory(std::size_t bytes, int fd, int flags) : bytes_(bytes) {
  if (fd < 0) flags |= MAP_ANONYMOUS;
  if (!(flags & MAP_SHARED)) flags |= MAP_PRIVATE;
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  EXPECT_NE(data, MAP_FAILED) << std::strerror(errno);
  data_ = static_cast<std::uint8_t*>(data);
}

Memory::~Memory() {
  if (data_) ::munmap(data_, bytes_);
}

void Memory::put(std::size_t offset, const std::string& text) const {
  std::memcpy(data_ + offset, text.data(), text.size());
}

std::string Memory::get(std::size_t offset, std::size_t count) const {
  return {reinterpret_cast<const char*>(data_) + offset, count};
}

std::vector<Memory> interleaved(std::size_t bytes) {
  std::vector<Memory> both;
  both.emplace_back(bytes);
  both.emplace_back(bytes);
  for (Memory& each : both)
    ::madvise(each.data(), each.bytes(), MADV_NOHUGEPAGE);
  for (std::size_t at = 0; at < bytes; at += kPage)
    for (Memory& each : both) each.data()[at] = 1;
  return both;
}

int register_region(int fd, lanecall_region_registration* wanted) {
  return ::ioctl(fd, LANECALL_IOC_REGION_REGISTER, wanted) == 0 ? 0 : errno;
}

int errno_of(int fd, std::uintptr_t address, std::uint64_t bytes,
             std::uint32_t access, std::uint32_t flags) {
  lanecall_region_registration wanted{};
  wanted.address = address;
  wanted.bytes = bytes;
  wanted.access = access;
  wanted.flags = flags;
  return register_region(fd, &wanted);
}

int unregister_region(int fd, std::uint32_t region) {
  return ::ioctl(fd, LANECALL_IOC_REGION_UNREGISTER, &region) == 0 ? 0 : errno;
}

int sync_region(int fd, std::uint32_t region, std::uint32_t direction,
                std::uint64_t offset, std::uint64_t bytes) {
  lanecall_region_sync wanted{region, direction, offset, bytes};
  return ::ioctl(fd, LANECALL_IOC_REGION_SYNC, &wanted) == 0 ? 0 : errno;
}

lanecall_region_registration lend(int fd, const void* data, std::size_t bytes,
                                  std::uint32_t access) {
  lanecall_region_registration wanted{};
  wanted.address = reinterpret_cast<std::uintptr_t>(data);
  wanted.bytes = bytes;
  wanted.access = access;
  EXPECT_EQ(register_region(fd, &wanted), 0) << std::strerror(errno);
  return wanted;
}

lanecall_region_registration lend(int fd, const Memory& memory,
                                  std::uint32_t access) {
  return lend(fd, memory.data(), memory.bytes(), access);
}

std::size_t pinned_pages() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    std::size_t kilobytes = 0;
    if (word == "VmPin:" && file >> kilobytes) return kilobytes * 1024 / kPage;
  }
  ADD_FAILURE() << "/proc/self/status has no VmPin";
  return 0;
}

long regions_in_use() { return sysfs_number("regions_in_use"); }

bool device_takes_regions() {
  Fd fd = open_channel();
  return info_of(fd.get()).features & LANECALL_FEATURE_REGIONS;
}

}  // namespace lanecall::guest_tests
