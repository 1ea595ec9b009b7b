// SPDX-License-Identifier: Apache-2.0
//
// What the driver counts of a device's channels, and what programs tell it of
// those they have mapped: docs/driver.md has the list.
#ifndef LANECALL_BENCH_COUNTERS_H
#define LANECALL_BENCH_COUNTERS_H

#include <cstdint>
#include <map>
#include <string>

namespace lanecall::bench {

// By name: "doorbells", "interrupts", "sleeps" and so on; what a program counts
// itself ("user_doorbells") is added to what the driver does.
using Counters = std::map<std::string, std::uint64_t>;

// A folder with a file for each. Empty if there is none, as with a driver that
// does not count; what is no number is left out.
Counters readCounters(const std::string& folder);

// Where those of a device are, from the name of its node.
std::string countersOf(const std::string& node);

Counters difference(const Counters& before, const Counters& after);

}  // namespace lanecall::bench

#endif
