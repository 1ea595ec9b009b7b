// SPDX-License-Identifier: Apache-2.0
//
// A way to have memory cleaned. What is compared:
// - on a pcie channel: by the service VirtineCleanup, which is told where the
//   memory is, once; its bytes travel by DMA
// - on a socket's channel: by the same service, with the bytes in its messages
// - on a memory channel: by memcpy, in this thread
#ifndef LANECALL_BENCH_CLEANER_H
#define LANECALL_BENCH_CLEANER_H

#include <memory>

#include "channel.h"
#include "shells.h"

namespace lanecall::bench {

class Cleaner {
 public:
  virtual ~Cleaner() = default;

  // All shells' memory, or what is dirty of it, as one batch; blocks until it
  // is clean. Throws whatever is in the way.
  virtual void clean() = 0;
};

// Connects, registers the snapshot, attaches all shells, which must outlive
// what it returns.
std::unique_ptr<Cleaner> makeCleaner(const Channel& channel, Shells& shells);

}  // namespace lanecall::bench

#endif
