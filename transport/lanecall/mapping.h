// SPDX-License-Identifier: Apache-2.0
//
// Owns memory, or a shared mapping of a part of a file or device; unmaps it at
// the end of its life.
#ifndef LANECALL_MAPPING_H
#define LANECALL_MAPPING_H

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace lanecall {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : at_(std::exchange(other.at_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping() { reset(); }

  // Each replaces what was mapped; 0 or a negated errno value. protection is
  // mmap's.

  int map(int fd, off_t offset, std::size_t bytes, int protection);

  // The same bytes twice, back to back, so that every span of a ring is
  // contiguous; bytes is a multiple of the page size.
  int mapTwice(int fd, off_t offset, std::size_t bytes, int protection);

  // Fresh memory of this process alone, all zero.
  int mapMemory(std::size_t bytes);
  // The same in whole huge pages, as far as the kernel has them to give: few
  // pieces for a device, wherever that is told of them. More is mapped than was
  // asked for, up to a huge page's size.
  int mapHuge(std::size_t bytes);

  void reset();

  bool valid() const { return at_ != nullptr; }
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(at_); }

 private:
  void* at_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace lanecall

#endif
