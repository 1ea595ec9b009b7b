// SPDX-License-Identifier: Apache-2.0
//
// Slices on command: a JSON object a line, both ways.
//
//   {"ready": true, "clock_ns": .., "clock_cost_ns": .., "cpus": ..,
//    "clocksource": "..", "virtines": "KVM"}
//   > {"id": 1, "channel": "direct", "test": "ping", "clients": 1,
//      "outstanding": 1, "seconds": 0.25, "minimum_calls": 50,
//      "warmup_seconds": 0.02}
//   {"id": 1, "calls": .., "seconds": .., "min_us": .., "mean_us": ..,
//    "p50_us": .., "p99_us": .., "percentiles_us": {"50": .., ..},
//    "max_us": .., "calls_per_s": .., "mb_per_s": ..,
//    "doorbells": .., "interrupts": .., ..., "clock_ns": ..}
//   > {"quit": true}
//
// - channel and test must be given; of the rest, what slice.h says is the
//   default. A key that is not known is an error.
// - What fails is {"id": 1, "error": "what, to what"}, and the next command is
//   as good as any.
// - A call is also: a DMA operation, a clean, a function that ran; then
//   outstanding is the batch.
// - mb_per_s: 10^6 bytes of binaries that went there, and as many back, or of
//   memory that was moved or cleaned; 0 for ping.
// - cpu_us: of a processor's time for each clean or run, that of this program;
//   busy_us: all that the machine's processors were not idle, the kernel's and
//   others' included. Not there for calls, or where the kernel does not say.
// - overlap: of a pool's runs only (Connection::overlap()).
// - doorbells and so on: of the device during the slice, where the driver
//   counts (counters.h); of all its channels, which are the slice's if nobody
//   else uses it.
// - clock_ns: CLOCK_MONOTONIC_RAW when the line was written. clock_cost_ns:
//   what reading it takes, which is part of each latency.
#ifndef LANECALL_BENCH_CONTROL_H
#define LANECALL_BENCH_CONTROL_H

#include <string>
#include <vector>

#include "channel.h"
#include "lines.h"

namespace lanecall::bench {

// Until {"quit": true} or the end of the stream. Throws when lines cannot be
// read or written.
void obey(Lines& lines, const std::vector<Channel>& channels);

// The answer to one command, as obey() would give it.
std::string answerTo(const std::string& command,
                     const std::vector<Channel>& channels);

}  // namespace lanecall::bench

#endif
