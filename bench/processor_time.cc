// SPDX-License-Identifier: Apache-2.0
#include "processor_time.h"

#include <time.h>

#include <fstream>
#include <sstream>
#include <string_view>

namespace lanecall::bench {
namespace {

// "  .idle_sleeptime : 1234 nsecs", of each processor; waiting for a disk is
// counted apart, and no work either.
constexpr std::string_view kIdle[] = {".idle_sleeptime", ".iowait_sleeptime"};

}  // namespace

std::int64_t programNs() {
  timespec spent;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return spent.tv_sec * INT64_C(1'000'000'000) + spent.tv_nsec;
}

std::optional<std::int64_t> idleNsIn(const std::string& timers) {
  std::istringstream lines(timers);
  std::optional<std::int64_t> idle;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, colon;
    std::int64_t ns = 0;
    if (!(words >> name >> colon >> ns)) continue;
    for (std::string_view each : kIdle)
      if (name == each) idle = idle.value_or(0) + ns;
  }
  return idle;
}

std::optional<std::int64_t> idleNs() {
  std::ifstream file("/proc/timer_list");
  std::ostringstream text;
  text << file.rdbuf();
  return idleNsIn(text.str());
}

}  // namespace lanecall::bench
