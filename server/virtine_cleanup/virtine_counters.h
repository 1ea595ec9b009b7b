// SPDX-License-Identifier: Apache-2.0
//
// What VirtineCleanup counts, over all connections; each number on its own, so
// that nobody waits for anybody to count.
#ifndef LANECALL_SERVER_VIRTINE_COUNTERS_H
#define LANECALL_SERVER_VIRTINE_COUNTERS_H

#include <atomic>
#include <cstdint>

namespace lanecall {

struct VirtineCounters {
  std::atomic<std::int64_t> cleans{0};
  std::atomic<std::int64_t> failedCleans{0};
  std::atomic<std::int64_t> bytesRestored{0};
  std::atomic<std::int64_t> bytesZeroed{0};
  std::atomic<std::int64_t> tickets{0};  // submitted, not reaped
  std::atomic<std::int64_t> submitted{0};
  std::atomic<std::int64_t> cancelled{0};

  void countClean(std::int64_t restored, std::int64_t zeroed) {
    ++cleans;
    bytesRestored += restored;
    bytesZeroed += zeroed;
  }
};

}  // namespace lanecall

#endif
