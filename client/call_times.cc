// SPDX-License-Identifier: Apache-2.0
#include "call_times.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace lanecall {
namespace {

constexpr int kBarMost = 40;
constexpr int kRangesPerDecade = 5;

// Where the histogram's range `index` begins; that of 0 at one microsecond.
// Two digits of it, so that what is printed is what was meant.
double edge(int index) {
  constexpr double kDigits[kRangesPerDecade] = {1.0, 1.6, 2.5, 4.0, 6.3};
  const int decade = static_cast<int>(
      std::floor(static_cast<double>(index) / kRangesPerDecade));
  return kDigits[index - decade * kRangesPerDecade] * std::pow(10.0, decade);
}

int rangeOf(double us) {
  // A clock that is coarse may say nothing at all.
  int index = static_cast<int>(
      std::floor(std::log10(std::max(us, 1e-3)) * kRangesPerDecade));
  while (us < edge(index) && index > -3 * kRangesPerDecade) --index;
  while (us >= edge(index + 1)) ++index;
  return index;
}

template <typename... Values>
std::string line(const char* format, Values... values) {
  char text[128];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

// An edge as one would write it: 1.6, 10000.
std::string written(double edge) {
  return line(edge < 10 ? "%.4g" : "%.0f", edge);
}

// The smallest value that at least this share of all values do not exceed.
double percentile(const std::vector<double>& sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace

void CallTimes::sort() { std::sort(us_.begin(), us_.end()); }

std::string CallTimes::percentiles() {
  sort();
  std::string text = line("min %.1f", us_.front());
  for (auto [label, share] :
       {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}})
    text += line(" %s %.1f", label, percentile(us_, share));
  return text + line(" max %.1f", us_.back());
}

std::string CallTimes::histogram() {
  sort();
  std::vector<int> counts;
  const int first = rangeOf(us_.front());
  for (double us : us_) {
    const auto at = static_cast<std::size_t>(rangeOf(us) - first);
    if (at >= counts.size()) counts.resize(at + 1);
    ++counts[at];
  }
  const int highest = *std::max_element(counts.begin(), counts.end());
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const int index = first + static_cast<int>(i);
    // A range with a single call shows, too.
    const auto bar = static_cast<std::size_t>(
        std::ceil(static_cast<double>(counts[i]) * kBarMost / highest));
    text += line("%9s to %9s us  ", written(edge(index)).c_str(),
                 written(edge(index + 1)).c_str());
    text += std::string(bar, '#') + (bar ? " " : "") +
            std::to_string(counts[i]) + "\n";
  }
  return text;
}

}  // namespace lanecall
