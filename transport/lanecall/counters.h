// SPDX-License-Identifier: Apache-2.0
//
// What a channel's user has done, counted where it is done: the kernel sees
// nothing of a mapped channel but interrupts. Of a mapped channel `lanecall
// stat` shows the same numbers (lanecall/driver.h, lanecall_user_counters).
#ifndef LANECALL_COUNTERS_H
#define LANECALL_COUNTERS_H

#include <lanecall/driver.h>

#include <atomic>
#include <cstdint>

namespace lanecall {

// Of one connection. The struct's comments say of what.
struct Counters {
  lanecall_user_counters sent{};
  lanecall_user_counters received{};
};

// The counters of one direction, with one thread that adds and any that read.
class Tally {
 public:
  using Counter = __u64 lanecall_user_counters::*;

  Tally() = default;
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  // From 0 on, and into these words too, if not null, until hide().
  void begin(lanecall_user_counters* shown) {
    for (Counter counter : kAll) put(own_.*counter, 0);
    shown_ = shown ? shown : &own_;
  }
  void hide() { shown_ = &own_; }

  void add(Counter counter, std::uint64_t more = 1) {
    // 64 bits of whatever is counted here do not wrap.
    const std::uint64_t now = own_.*counter + more;
    put(own_.*counter, now);
    put(shown_->*counter, now);
  }

  lanecall_user_counters get() const {
    lanecall_user_counters now{};
    for (Counter counter : kAll) now.*counter = value(own_.*counter);
    return now;
  }

 private:
  static constexpr Counter kAll[] = {
      &lanecall_user_counters::bytes,   &lanecall_user_counters::doorbells,
      &lanecall_user_counters::spins,   &lanecall_user_counters::sleeps,
      &lanecall_user_counters::flushes, &lanecall_user_counters::full_waits};

  static void put(__u64& word, std::uint64_t now) {
    std::atomic_ref(word).store(now, std::memory_order_relaxed);
  }
  static std::uint64_t value(__u64& word) {
    return std::atomic_ref(word).load(std::memory_order_relaxed);
  }

  mutable lanecall_user_counters own_{};
  lanecall_user_counters* shown_ = &own_;
};

}  // namespace lanecall

#endif
