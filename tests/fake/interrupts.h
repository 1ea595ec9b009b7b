// SPDX-License-Identifier: Apache-2.0
// The interrupt controller of the fake device: one flag per vector, and a wait
// for it.
#ifndef LANECALL_TESTS_INTERRUPTS_H
#define LANECALL_TESTS_INTERRUPTS_H

#include <lanecall/deadline.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace lanecall::test {

// Any thread may call. A vector that is not there is never raised.
class Interrupts {
 public:
  explicit Interrupts(unsigned vectors) : raised_(vectors) {}

  void raise(unsigned vector) {
    std::lock_guard lock(mutex_);
    if (vector >= raised_.size()) return;
    raised_[vector] = true;
    changed_.notify_all();
  }

  bool take(unsigned vector) {
    std::lock_guard lock(mutex_);
    return takeLocked(vector);
  }

  bool wait(unsigned vector, const Deadline& deadline) {
    std::unique_lock lock(mutex_);
    while (!takeLocked(vector)) {
      const int left = deadline.remainingMs();
      if (left == 0) return false;
      if (left < 0) {
        changed_.wait(lock);
      } else {
        changed_.wait_for(lock, std::chrono::milliseconds(left));
      }
    }
    return true;
  }

 private:
  bool takeLocked(unsigned vector) {
    if (vector >= raised_.size() || !raised_[vector]) return false;
    raised_[vector] = false;
    return true;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> raised_;
};

}  // namespace lanecall::test

#endif
