// SPDX-License-Identifier: Apache-2.0
#include "counters.h"

#include <filesystem>
#include <fstream>
#include <system_error>

namespace lanecall::bench {
namespace {

constexpr std::string_view kByPrograms = "user_";

}  // namespace

Counters readCounters(const std::string& folder) {
  Counters counters;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    std::uint64_t value = 0;
    if (!(std::ifstream(entry.path()) >> value)) continue;
    std::string name = entry.path().filename();
    if (name.starts_with(kByPrograms)) name.erase(0, kByPrograms.size());
    counters[name] += value;
  }
  return counters;
}

std::string countersOf(const std::string& node) {
  return "/sys/class/lanecall/" +
         std::filesystem::path(node).filename().string() + "/total";
}

Counters difference(const Counters& before, const Counters& after) {
  Counters more = after;
  for (const auto& [name, value] : before) more[name] -= value;
  return more;
}

}  // namespace lanecall::bench
