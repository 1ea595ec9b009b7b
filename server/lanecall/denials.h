// SPDX-License-Identifier: Apache-2.0
//
// Counts who was turned away, and says when the log is to tell of it: whoever
// is denied can try again at once, and must not fill a disk by that. Internal
// to the server library. Any thread.
#ifndef LANECALL_DENIALS_H
#define LANECALL_DENIALS_H

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

namespace lanecall {

class Denials {
 public:
  using Clock = std::chrono::steady_clock;

  // One more. All there were, if a line is due: the first, then one a second.
  std::optional<std::uint64_t> add(Clock::time_point now = Clock::now()) {
    std::lock_guard<std::mutex> lock(mutex_);
    ++count_;
    if (count_ > 1 && now < next_) return {};
    next_ = now + std::chrono::seconds(1);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  Clock::time_point next_;
};

}  // namespace lanecall

#endif
