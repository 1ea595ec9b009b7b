// SPDX-License-Identifier: Apache-2.0
//
// How a wait on shared memory begins: by looking again and again, for a time
// that pays, before it costs a system call, an interrupt and a switch to sleep.
//
// - A budget bounds the spinning of one wait. The adaptive one learns: it grows
//   to what waits take as long as that is short, and shrinks to nothing where
//   spinning has been in vain, to be tried again more and more rarely.
// - A spinner in the way of others (the very one it waits for, perhaps) yields
//   the CPU. It knows them by time that passed while it did not run.
// - The clock is read every few looks, and not at all by waits that are over
//   before that: reading it is a system call on some machines.
#ifndef LANECALL_SPIN_H
#define LANECALL_SPIN_H

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <string>

namespace lanecall {

// What the user wants.
class Spin {
 public:
  enum class Kind { kNever, kAlways, kFixed, kAdaptive };

  static Spin never() { return {Kind::kNever, {}}; }
  // Until the wait is over: for whoever has a CPU to give.
  static Spin always() { return {Kind::kAlways, {}}; }
  static Spin fixed(std::chrono::microseconds budget) {
    return {Kind::kFixed, budget};
  }
  static Spin adaptive() { return {Kind::kAdaptive, {}}; }

  Kind kind() const { return kind_; }
  std::chrono::nanoseconds budget() const { return budget_; }  // of kFixed

 private:
  Spin(Kind kind, std::chrono::nanoseconds budget)
      : kind_(kind), budget_(budget) {}

  Kind kind_;
  std::chrono::nanoseconds budget_;
};

// "never", "always", "adaptive" or microseconds; std::invalid_argument
// otherwise.
Spin parseSpin(const std::string& text);
std::string name(const Spin& spin);

// Whether this is QEMU's emulated processor (TCG). There PAUSE leaves the
// emulation and takes the lock under which the device works: the very spinning
// for an answer would keep it back.
bool isEmulatedCpu();

// Clock and CPU of a Spinner; tests bring scripted ones.
struct RealCpu {
  std::chrono::nanoseconds now() {
    return std::chrono::steady_clock::now().time_since_epoch();
  }
  void pause() {
#if defined(__x86_64__)
    if (pauses) __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
  }
  void yield() { ::sched_yield(); }

  bool pauses = !isEmulatedCpu();
};

// The waits of one thread for one thing; remembers how they went.
template <typename Cpu>
class BasicSpinner {
 public:
  using Time = std::chrono::nanoseconds;

  static constexpr int kLooks = 64;  // between two readings of the clock
  // What sleeping and waking costs is 40 to 100 us between a guest and its
  // host; spinning for twice that is never more than three times as dear.
  static constexpr Time kMost = std::chrono::microseconds(200);
  static constexpr Time kFirst = std::chrono::microseconds(50);
  static constexpr Time kLeast = std::chrono::microseconds(5);
  static constexpr int kRestMost = 1024;  // waits between two tries
  static constexpr Time kYieldEvery = std::chrono::microseconds(50);
  // kLooks took this long, or a yield that long: another thread ran.
  static constexpr Time kGap = std::chrono::microseconds(200);
  static constexpr Time kYieldTaken = std::chrono::microseconds(5);

  explicit BasicSpinner(Spin spin = Spin::adaptive(), Cpu cpu = {})
      : cpu_(cpu), spin_(spin) {}

  // A few looks without the clock: for partners that answer at once. Whether
  // ready() said true.
  template <typename Ready>
  bool glance(Ready ready) {
    if (budget() == Time::zero()) return false;
    if (!look(ready)) return false;
    paid(Time::zero());
    return true;
  }

  // Looks until ready() says true (then so does this), or the budget is spent,
  // or expired() says true, which is asked whenever the clock was read. To be
  // followed by slept() if the wait went on without.
  template <typename Ready, typename Expired>
  bool spin(Ready ready, Expired expired) {
    began_ = cpu_.now();
    const Time budget = this->budget();
    if (budget == Time::zero()) return false;
    Time last = began_;
    Time yielded = began_;
    for (;;) {
      if (look(ready)) {
        paid(last - began_);
        return true;
      }
      const Time now = cpu_.now();
      if (now - began_ >= budget || expired()) return false;
      if (now - last >= kGap) yieldEvery_ = Time::zero();
      last = now;
      if (now - yielded >= yieldEvery_) last = yielded = yield(now);
    }
  }

  // The wait that spin() began is over, after a sleep.
  void slept() {
    const Time whole = cpu_.now() - began_;
    if (whole <= kMost && mayTry())
      budget_ = std::clamp(2 * whole, kFirst, kMost);
    else
      budget_ = budget_ / 2 < kLeast ? Time::zero() : budget_ / 2;
  }

  // What the next wait may spend.
  Time budget() const {
    switch (spin_.kind()) {
      case Spin::Kind::kNever:
        return Time::zero();
      case Spin::Kind::kAlways:
        return Time::max();
      case Spin::Kind::kFixed:
        return spin_.budget();
      default:
        return budget_;
    }
  }

 private:
  template <typename Ready>
  bool look(Ready& ready) {
    for (int i = 0; i < kLooks; ++i) {
      if (ready()) return true;
      cpu_.pause();
    }
    return false;
  }

  // A wait was over within `spent` and a few looks more.
  void paid(Time spent) {
    if (2 * spent > budget_) budget_ = std::min(2 * budget_, kMost);
    rest_ = 0;
    restLength_ = 1;
  }

  // A short wait that was slept through could have been spun through, unless
  // it was short because the CPU was left to the other side: then spinning
  // fails each time that it is tried, and it is tried ever more rarely.
  bool mayTry() {
    if (rest_ > 0) {
      --rest_;
      return false;
    }
    rest_ = restLength_;
    restLength_ = std::min(2 * restLength_, kRestMost);
    return true;
  }

  // Lets others run; returns the time after. Where there are such, every
  // reading of the clock is followed by another yield, until there are none.
  Time yield(Time before) {
    cpu_.yield();
    const Time after = cpu_.now();
    if (after - before >= kYieldTaken)
      yieldEvery_ = Time::zero();
    else
      yieldEvery_ = std::min(2 * yieldEvery_ + kLeast, kYieldEvery);
    return after;
  }

  Cpu cpu_;
  Spin spin_;
  Time budget_ = kFirst;
  Time began_{};
  Time yieldEvery_ = kYieldEvery;
  int rest_ = 0;
  int restLength_ = 1;
};

using Spinner = BasicSpinner<RealCpu>;

}  // namespace lanecall

#endif
