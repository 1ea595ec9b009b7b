// SPDX-License-Identifier: Apache-2.0
//
// What processors did: how much of their time this program has had, its system
// calls included, and how long they were idle. A machine's time that was
// neither is that of interrupts, other threads of the kernel, and others'
// programs.
#ifndef LANECALL_BENCH_PROCESSOR_TIME_H
#define LANECALL_BENCH_PROCESSOR_TIME_H

#include <cstdint>
#include <optional>
#include <string>

namespace lanecall::bench {

// Of all threads of this program.
std::int64_t programNs();

// Of all processors together; nothing where the kernel does not say, or only to
// others. Costs some 100 us: reads what the kernel says of its timers, which is
// exact to the nanosecond where /proc/stat counts hundredths of a second.
std::optional<std::int64_t> idleNs();

// From the text of /proc/timer_list.
std::optional<std::int64_t> idleNsIn(const std::string& timers);

}  // namespace lanecall::bench

#endif
