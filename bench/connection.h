// SPDX-License-Identifier: Apache-2.0
//
// One client of a slice: a generated client on a connection of its own.
#ifndef LANECALL_BENCH_CONNECTION_H
#define LANECALL_BENCH_CONNECTION_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "channel.h"
#include "latencies.h"
#include "test.h"

namespace lanecall::bench {

// How long calls go on: until a time and until so many were made, whichever
// comes later.
struct Span {
  std::int64_t untilNs = 0;  // of nowNs()
  std::size_t calls = 0;

  bool isOver(std::int64_t now, std::size_t made) const {
    return now >= untilNs && made >= calls;
  }
};

// One thread at a time. Whatever fails is an exception, and after it the
// connection is good for nothing but to be destroyed.
class Connection {
 public:
  virtual ~Connection() = default;

  // Calls until the span is over, comparing every byte that comes back.
  virtual void warmUp(const Span& span) = 0;

  // Calls until the span is over or latencies has no room, so many of them on
  // their way at a time. What a call takes is the time from the end of the one
  // before it; if several are on their way, from before it is sent, each to
  // when its answer has been read; that is for ping() only. Looks at the clock
  // once for each call, or twice. What is no call of Edu's says itself what its
  // times are.
  virtual void run(const Span& span, int outstanding, Latencies& latencies) = 0;

  // Of what cleans beside other work: while cleans were under way in run(), the
  // share of the time in which that work went on.
  virtual std::optional<double> overlap() const { return {}; }
};

// Connects; blocks for kTimeoutMs (transports.h) at most. number: the client's,
// from 0. outstanding: as it will be in run().
std::unique_ptr<Connection> connect(const Channel& channel, const Test& test,
                                    int number, int outstanding);

}  // namespace lanecall::bench

#endif
