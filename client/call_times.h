// SPDX-License-Identifier: Apache-2.0
//
// How long calls took, in words: percentiles on a line, and a histogram.
#ifndef LANECALL_CLIENT_CALL_TIMES_H
#define LANECALL_CLIENT_CALL_TIMES_H

#include <chrono>
#include <string>
#include <vector>

namespace lanecall {

class CallTimes {
 public:
  // So that adding takes no time.
  explicit CallTimes(std::size_t calls) { us_.reserve(calls); }

  void add(std::chrono::steady_clock::duration time) {
    us_.push_back(std::chrono::duration<double, std::micro>(time).count());
  }

  // Microseconds: "min 5.1 p50 5.5 p90 7.0 p99 12.5 p99.9 80.1 max 80.1".
  // There must be a time.
  std::string percentiles();

  // A line for each range of times that is 1.6 times as wide as the one before,
  // from the first that has calls to the last:
  //
  //         4.0 to        6.3  ####################################### 940
  //         6.3 to         10  ### 60
  std::string histogram();

 private:
  void sort();

  std::vector<double> us_;
};

}  // namespace lanecall

#endif
