// SPDX-License-Identifier: Apache-2.0
//
// A shell that runs nothing: tests write into its memory. All of one image.
#ifndef LANECALL_TESTS_TEST_SHELL_H
#define LANECALL_TESTS_TEST_SHELL_H

#include <lanecall/shell.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "random.h"

namespace lanecall::test {

class TestShell : public Shell {
 public:
  static constexpr std::size_t kImageBytes = 5000;
  static constexpr std::size_t kBytes = 2 * 4096;

  TestShell() : memory_(kBytes) {
    std::copy(image().begin(), image().end(), memory_.begin());
  }

  std::span<std::uint8_t> memory() override { return memory_; }
  std::span<const std::uint8_t> image() const override {
    static const std::vector<std::uint8_t> bytes = [] {
      std::vector<std::uint8_t> made(kImageBytes);
      Random(1).fill(made);
      return made;
    }();
    return bytes;
  }
  // Leaves something everywhere.
  std::uint32_t run(std::uint32_t argument) override {
    Random(argument).fill(memory_);
    return argument;
  }
  std::vector<virtine::Extent> dirty() override { return {}; }
  void reset() override { ++resets; }

  int resets = 0;
  const int number = next_++;  // no other has it

 private:
  static inline std::atomic<int> next_ = 0;
  std::vector<std::uint8_t> memory_;
};

// Leaves something in some places, and says where, in no order.
inline std::vector<virtine::Extent> dirtySome(std::span<std::uint8_t> memory,
                                              Random& random) {
  std::vector<virtine::Extent> extents;
  for (std::size_t at = random.below(3000); at < memory.size();
       at += 1 + random.below(3000)) {
    virtine::Extent& extent = extents.emplace_back();
    extent.offset = static_cast<std::int64_t>(at);
    const std::size_t length =
        std::min<std::size_t>(1 + random.below(2000), memory.size() - at);
    extent.length = static_cast<std::int64_t>(length);
    random.fill(memory.subspan(at, length));
    at += length;
  }
  for (std::size_t i = extents.size(); i > 1; --i)
    std::swap(extents[i - 1], extents[random.below(i)]);
  return extents;
}

inline bool is_clean(Shell& shell) {
  const auto memory = shell.memory();
  const auto image = shell.image();
  return std::equal(image.begin(), image.end(), memory.begin()) &&
         std::all_of(memory.begin() + image.size(), memory.end(),
                     [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace lanecall::test

#endif
