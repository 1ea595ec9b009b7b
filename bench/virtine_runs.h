// SPDX-License-Identifier: Apache-2.0
//
// One function run in virtines, one run after the other, each in memory that
// was cleaned since the last one: what a program gains from having a
// co-processor clean while it runs the next.
#ifndef LANECALL_BENCH_VIRTINE_RUNS_H
#define LANECALL_BENCH_VIRTINE_RUNS_H

#include <memory>

#include "connection.h"

namespace lanecall::bench {

// Virtual machines of KVM where there is KVM, else plain memory. The image
// fills the memory; a run writes to 16 of its pages.
// - on a channel of kind memory: one virtine, which this thread cleans by
//   memcpy after each run
// - on any other: a VirtinePool, which has the service clean in batches
std::unique_ptr<Connection> runVirtines(const Channel& channel,
                                        const Test& test, int batch);

// Which of the two virtines are: "KVM", or "plain memory" and why.
std::string virtineKind();

}  // namespace lanecall::bench

#endif
