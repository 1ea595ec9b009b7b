// SPDX-License-Identifier: Apache-2.0
//
// A slice: calls of one test over one channel, for a short time. It opens its
// connections, warms up, and only then lets all clients begin together.
#ifndef LANECALL_BENCH_SLICE_H
#define LANECALL_BENCH_SLICE_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "channel.h"
#include "counters.h"
#include "test.h"

namespace lanecall::bench {

struct Slice {
  Test test;
  int clients = 1;      // threads, each with a connection of its own
  int outstanding = 1;  // calls of one client on their way at a time, a batch
  double seconds = 0.25;
  std::size_t minimumCalls = 50;  // of all clients; the slice lasts for these
  double warmUpSeconds = 0.02;
  // Times that there is room for, of all clients; whoever has used up its share
  // is done. Of a guest's memory they may only take so much.
  std::size_t mostCalls = 8'000'000;
};

struct Outcome {
  double seconds = 0;             // from the common start to the last end
  std::vector<std::uint32_t> ns;  // each call's time, in any order
  Counters counters;              // of the device meanwhile; empty: none
  // Of the processors' time meanwhile, this program's, and all that they were
  // not idle; 0 where the kernel does not say, or it is not asked.
  double programSeconds = 0;
  double busySeconds = 0;
  std::optional<double> overlap;  // Connection::overlap(), of one client
};

// Blocks for the slice. Throws what a client of it threw; then no number of it
// is worth anything.
Outcome runSlice(const Channel& channel, const Slice& slice);

}  // namespace lanecall::bench

#endif
