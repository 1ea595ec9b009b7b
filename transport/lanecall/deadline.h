// SPDX-License-Identifier: Apache-2.0
//
// A point on the monotonic clock by which a wait must be over, or never. Made
// once when a call starts, so that retries inside the call share one bound.
#ifndef LANECALL_DEADLINE_H
#define LANECALL_DEADLINE_H

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

namespace lanecall {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline never() { return Deadline(); }

  // TSocket's convention: 0 or less means no limit.
  static Deadline in(int milliseconds) {
    Deadline deadline;
    if (milliseconds > 0)
      deadline.at_ = Clock::now() + std::chrono::milliseconds(milliseconds);
    return deadline;
  }

  static Deadline earlier(const Deadline& a, const Deadline& b) {
    if (!a.at_) return b;
    if (!b.at_) return a;
    return *a.at_ < *b.at_ ? a : b;
  }

  bool passed() const { return at_ && Clock::now() >= *at_; }

  // For poll(2): -1 without a limit, else what is left, rounded up so that a
  // wait never ends before the deadline.
  int remainingMs() const {
    if (!at_) return -1;
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*at_ - Clock::now());
    return static_cast<int>(std::clamp<long long>(
        left.count(), 0, std::numeric_limits<int>::max()));
  }

 private:
  std::optional<Clock::time_point> at_;
};

}  // namespace lanecall

#endif
