// SPDX-License-Identifier: Apache-2.0
#include <lanecall/mapping.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace lanecall {

int Mapping::map(int fd, off_t offset, std::size_t bytes, int protection) {
  reset();
  void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, offset);
  if (at == MAP_FAILED) return -errno;
  at_ = at;
  bytes_ = bytes;
  return 0;
}

int Mapping::mapTwice(int fd, off_t offset, std::size_t bytes, int protection) {
  reset();
  // Addresses first, so that nobody else's mapping can be hit.
  void* at =
      ::mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return -errno;
  at_ = at;
  bytes_ = 2 * bytes;
  for (std::size_t half : {std::size_t{0}, bytes}) {
    if (::mmap(data() + half, bytes, protection, MAP_SHARED | MAP_FIXED, fd,
               offset) == MAP_FAILED) {
      int error = errno;
      reset();
      return -error;
    }
  }
  return 0;
}

int Mapping::mapMemory(std::size_t bytes) {
  reset();
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return -errno;
  at_ = at;
  bytes_ = bytes;
  return 0;
}

int Mapping::mapHuge(std::size_t bytes) {
  constexpr std::size_t kHuge = 2 << 20;
  if (bytes > SIZE_MAX - 2 * kHuge) return -ENOMEM;
  bytes = (bytes + kHuge - 1) & ~(kHuge - 1);
  // Room for a beginning at a border; what is not needed goes back.
  if (int error = mapMemory(bytes + kHuge)) return error;
  const auto begin = reinterpret_cast<std::uintptr_t>(at_);
  const std::size_t before = -begin & (kHuge - 1);
  if (before > 0) ::munmap(at_, before);
  at_ = data() + before;
  ::munmap(data() + bytes, kHuge - before);
  bytes_ = bytes;
  ::madvise(at_, bytes_, MADV_HUGEPAGE);  // a wish
  return 0;
}

void Mapping::reset() {
  if (at_) ::munmap(at_, bytes_);
  at_ = nullptr;
  bytes_ = 0;
}

}  // namespace lanecall
