// SPDX-License-Identifier: Apache-2.0
#ifndef LANECALL_TESTS_SHARED_MEMORY_H
#define LANECALL_TESTS_SHARED_MEMORY_H

#include <span>
#include <utility>

namespace lanecall::test {

// A memory file, mapped.
class SharedMemory {
 public:
  SharedMemory() = default;
  explicit SharedMemory(int fd);  // all of it; throws std::system_error
  SharedMemory(SharedMemory&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})) {}
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SharedMemory();
  std::span<unsigned char> bytes() const { return bytes_; }

 private:
  std::span<unsigned char> bytes_;
};

}  // namespace lanecall::test

#endif
