// SPDX-License-Identifier: Apache-2.0
//
// How long each call of a slice took. All memory is there, and has been
// touched, before the first call.
#ifndef LANECALL_BENCH_LATENCIES_H
#define LANECALL_BENCH_LATENCIES_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace lanecall::bench {

class Latencies {
 public:
  explicit Latencies(std::size_t capacity) : ns_(capacity) {}

  std::size_t count() const { return count_; }
  std::size_t room() const { return ns_.size() - count_; }

  // Only while there is room. More than 4.2 seconds count as 4.2 seconds.
  void add(std::int64_t ns) {
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
    ns_[count_++] =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(ns, 0, kMost));
  }

  // All that were added, in any order.
  std::vector<std::uint32_t> take() && {
    ns_.resize(count_);
    return std::move(ns_);
  }

 private:
  std::vector<std::uint32_t> ns_;
  std::size_t count_ = 0;
};

// For each share, in rising order and from 0 to 1, the smallest value that at
// least this share of all values do not exceed. Reorders values, which must not
// be empty.
std::vector<double> percentiles(std::vector<std::uint32_t>& values,
                                const std::vector<double>& shares);

}  // namespace lanecall::bench

#endif
