// SPDX-License-Identifier: Apache-2.0
//
// The clock of all measurements: one that nobody adjusts, so that the guest's
// can be compared with the host's.
#ifndef LANECALL_BENCH_CLOCK_H
#define LANECALL_BENCH_CLOCK_H

#include <time.h>

#include <cstdint>

namespace lanecall::bench {

// Nanoseconds since the machine started.
inline std::int64_t nowNs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return now.tv_sec * INT64_C(1'000'000'000) + now.tv_nsec;
}

inline double secondsBetween(std::int64_t from, std::int64_t to) {
  return static_cast<double>(to - from) / 1e9;
}

// What one nowNs() takes. Every latency that is reported contains one.
inline double clockCostNs() {
  constexpr int kReadings = 10'000;
  const std::int64_t start = nowNs();
  for (int i = 0; i < kReadings - 1; ++i) nowNs();
  return static_cast<double>(nowNs() - start) / kReadings;
}

}  // namespace lanecall::bench

#endif
