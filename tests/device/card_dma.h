// SPDX-License-Identifier: Apache-2.0
// DMA as a card's server asks for it: DMA packets, good and bad, and DONE.
#ifndef LANECALL_TESTS_CARD_DMA_H
#define LANECALL_TESTS_CARD_DMA_H

#include <lanecall/region.h>

#include <map>
#include <vector>

#include "card_ground.h"
#include "user_region.h"

namespace lanecall::test {

struct DmaOperation {
  uint64_t id = 0;
  uint32_t type = 0;
  uint64_t key = 0;
  std::vector<lanecall_dma_extent> extents{};
};

// One DMA packet, as its counts say.
Bytes dmaPacket(const std::vector<DmaOperation>& operations);

class DmaGround : public CardGround {
 protected:
  DmaGround() { features_ = LANECALL_CARD_FEATURE_DMA; }

  // Pages that are not neighbours, of these sizes; and lent.
  ScatteredMemory scattered(const std::vector<size_t>& pieces) {
    return {device().memory(), pieces};
  }
  std::unique_ptr<UserRegion> lend(const ScatteredMemory& memory,
                                   RegionOptions options = {});

  void submit(const std::vector<DmaOperation>& operations);
  // Waits for one DONE packet; throws if there is none, or it is no good.
  std::vector<lanecall_dma_done> takeDone();
  // Waits until so many operations are done: by id; fails if one is done twice.
  std::map<uint64_t, lanecall_dma_done> awaitDone(size_t count);
  lanecall_dma_done await(const DmaOperation& operation);
  ::testing::AssertionResult moves(const DmaOperation& operation);
  ::testing::AssertionResult fails(const DmaOperation& operation,
                                   uint32_t error, uint64_t bytes = 0);

  std::span<unsigned char> card() { return session().memory(); }
  Bytes cardBytes(uint64_t at, size_t bytes) {
    return {&card()[at], &card()[at] + bytes};
  }
};

// Filling one MiB again and again: takes long, if it is let.
DmaOperation longFill(uint64_t id, uint64_t key);

}  // namespace lanecall::test

#endif
