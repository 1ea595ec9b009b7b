// SPDX-License-Identifier: Apache-2.0
//
// Repeatable randomness: the same seed gives the same values everywhere (the
// standard library's distributions may differ between libraries).
#ifndef LANECALL_CLIENT_RANDOM_H
#define LANECALL_CLIENT_RANDOM_H

#include <cstdint>
#include <random>
#include <span>
#include <string>

namespace lanecall {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  // For a seed that nobody gave.
  static std::uint64_t freshSeed() { return std::random_device{}(); }

  // 0 to bound - 1; bound is not 0. Slightly uneven for huge bounds.
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }

  void fill(std::span<std::uint8_t> bytes) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (i % 8 == 0) word = engine_();
      bytes[i] = static_cast<std::uint8_t>(word >> (i % 8 * 8));
    }
  }

  std::string bytes(std::size_t size) {
    std::string out(size, '\0');
    fill({reinterpret_cast<std::uint8_t*>(out.data()), size});
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace lanecall

#endif
