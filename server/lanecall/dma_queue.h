// SPDX-License-Identifier: Apache-2.0
//
// Operations that wait to be sent to the device: a queue for each channel, and
// the channels in turn, an operation each, so that one that submits without end
// delays the others by its share only. Internal to the server library.
//
// No locks: whoever has it guards it.
#ifndef LANECALL_DMA_QUEUE_H
#define LANECALL_DMA_QUEUE_H

#include <lanecall/card_device.h>
#include <lanecall/dma_batch.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace lanecall {

// A batch that was submitted, until all of it is done.
struct DmaWork {
  DmaBatch batch;
  DmaCallback done;
  std::vector<DmaResult> fresh;  // done, and not told yet
};

// An operation, or what is left of one whose extents fill more than a packet.
struct DmaPart {
  std::shared_ptr<DmaWork> work;
  std::size_t operation = 0;
  std::size_t from = 0;     // its first extent, of all of the batch's
  std::size_t extents = 0;  // from there to the operation's end
  std::uint64_t moved = 0;  // bytes, by parts before

  const DmaBatch::Operation& what() const {
    return work->batch.operations()[operation];
  }
  const lanecall_dma_extent* begin() const {
    return work->batch.extents().data() + from;
  }
};

class DmaQueue {
 public:
  // A channel's.
  struct Lane {
    std::deque<DmaPart> parts;
    std::size_t underWay = 0;  // its user's count of what it has taken
  };

  bool empty() const { return turns_.empty(); }
  // Passes over channels that have so many under way, or more, until one has
  // its turn that has not. False: all have.
  bool passOver(std::size_t underWay);

  // All operations of a batch.
  void push(const std::shared_ptr<Lane>& lane,
            const std::shared_ptr<DmaWork>& work);
  // The rest of an operation, before all that waits in its lane.
  void pushRest(const std::shared_ptr<Lane>& lane, DmaPart part);

  // Whose turn it is; not when empty.
  const DmaPart& next() const { return turns_.front()->parts.front(); }
  // Takes it, with the lane it comes from.
  std::pair<std::shared_ptr<Lane>, DmaPart> take();
  // All that waits in a lane.
  std::deque<DmaPart> takeAll(const std::shared_ptr<Lane>& lane);

 private:
  std::deque<std::shared_ptr<Lane>> turns_;  // that are not empty, each once
};

}  // namespace lanecall

#endif
