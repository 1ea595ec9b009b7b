// SPDX-License-Identifier: Apache-2.0
//
// `lanecall stat`: what the driver counts of its channels, from sysfs
// (docs/driver.md). Needs no connection of its own.
#ifndef LANECALL_CLIENT_STAT_COMMANDS_H
#define LANECALL_CLIENT_STAT_COMMANDS_H

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace lanecall {

// The counters of a channel, or of all channels of a device.
struct ChannelStat {
  static constexpr int kCounters = 8;

  std::string device;                            // "lanecall0"
  std::string channel;                           // "7", or "total"
  std::string pid, command, plane, mode, state;  // of one channel; else empty
  // In the order of the table's columns, the driver's and the program's
  // together.
  std::vector<std::uint64_t> counters;
  // Of a total: the same before its channels' counters were read; else empty.
  // So what a total has counted between two looks is never less than what its
  // channels have.
  std::vector<std::uint64_t> before;
  std::vector<bool> isUsersWord;  // whether a program's word is in there
};

// All open channels of all devices, each device's followed by its total. Throws
// std::runtime_error, with the remedy, if there is no device.
std::vector<ChannelStat> readStats(const std::string& folder);

// A line for each, with the counters as they are.
std::string tableOf(const std::vector<ChannelStat>& stats);

// The same with how often a second each was counted, since `before`.
std::string ratesOf(const std::vector<ChannelStat>& before,
                    const std::vector<ChannelStat>& now,
                    std::chrono::duration<double> passed);

// What its columns are, for --help.
extern const char* const kStatColumns;

// Prints the table once, or again each second until the program is ended.
int runStat(bool watch, const std::string& folder = "/sys/class/lanecall");

}  // namespace lanecall

#endif
