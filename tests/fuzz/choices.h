// SPDX-License-Identifier: Apache-2.0
//
// What a fuzzer's bytes decide: each is a choice. When they are used up every
// choice is the first, and isOver() says so.
#ifndef LANECALL_TESTS_FUZZ_CHOICES_H
#define LANECALL_TESTS_FUZZ_CHOICES_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace lanecall::fuzz {

class Choices {
 public:
  Choices(const std::uint8_t* data, std::size_t size)
      : next_(data), end_(data + size) {}

  bool isOver() const { return next_ == end_; }

  std::uint8_t byte() { return isOver() ? 0 : *next_++; }
  // 0 to bound - 1; bound is 1 to 256.
  unsigned below(unsigned bound) { return byte() % bound; }
  bool flip() { return byte() & 1; }
  std::uint32_t word() { return number<std::uint32_t>(); }
  std::uint64_t longWord() { return number<std::uint64_t>(); }
  // 0 to most.
  std::uint32_t upTo(std::uint32_t most) {
    const std::uint64_t bound = std::uint64_t{most} + 1;
    return static_cast<std::uint32_t>(
        (most < 256 ? std::uint64_t{byte()} : std::uint64_t{word()}) % bound);
  }

 private:
  template <typename Number>
  Number number() {
    Number value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i)
      value = static_cast<Number>(value << 8 | byte());
    return value;
  }

  const std::uint8_t* next_;
  const std::uint8_t* const end_;
};

// A promise was broken: ends the program, as a sanitizer does.
inline void require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", promise);
  std::abort();
}

}  // namespace lanecall::fuzz

#endif
