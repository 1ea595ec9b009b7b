// SPDX-License-Identifier: Apache-2.0
//
// Service DmaBench, of the bench alone: moves bytes between memory that a client
// has lent and the card's, and says how long that took by the server's clock.

include "region.thrift"

namespace cpp lanecall.bench.dma

struct DmaWork {
  1: required region.RegionReference region
  // To the region; else from it. The bytes at the card's end stay what they
  // were, so that what was read is written back.
  2: required bool writes
  // Operations under way at a time; each moves its part of the region, the same
  // length for all, in so many extents of the same length.
  3: required i32 batch
  4: required i32 extents
  // Batches are moved until both are over, each when the last is done.
  5: required i64 leastUs
  6: required i32 leastBatches
}

exception DmaBenchFailed {
  1: string reason
}

service DmaBench {
  // Nanoseconds of each batch: from before it is made up to when its last
  // operation is done. Not more than 100,000 batches, nor begun after 5 s.
  list<i64> move(1: DmaWork work) throws (1: DmaBenchFailed failed)
}
