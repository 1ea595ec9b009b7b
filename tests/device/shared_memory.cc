// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace lanecall::test {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

SharedMemory::SharedMemory(int fd) {
  struct stat about;
  if (fstat(fd, &about) != 0) fail("fstat of card memory");
  const auto size = static_cast<size_t>(about.st_size);
  void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) fail("mmap of card memory");
  bytes_ = {static_cast<unsigned char*>(map), size};
}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace lanecall::test
