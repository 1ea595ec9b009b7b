// SPDX-License-Identifier: Apache-2.0
//
// Carries out clean tasks by DMA. However many are begun together, they go to
// the device as one batch: for each one write of the snapshot's bytes, one fill
// of what lies above, and, to verify, reads when these are done.
#ifndef LANECALL_SERVER_VIRTINE_DMA_H
#define LANECALL_SERVER_VIRTINE_DMA_H

#include <lanecall/card_device.h>

#include <chrono>
#include <string>
#include <vector>

#include "virtine_task.h"

namespace lanecall {

// Puts each into its target's line, in this order, and begins those whose turn
// it is. Each task's sink hears of it once, perhaps from in here. The tasks
// hold all they need: whoever began them may go.
void beginCleaning(std::vector<CleanTaskPtr> tasks);

// Whether the task had not begun, and now will not.
bool cancelCleaning(CleanTask& task);

// Reads all that the client has lent. Blocks, for so long at most. Throws
// CardMemoryFull, and virtine::CleanFailed.
std::string fetch(CardDevice& device, const RegionReference& region,
                  std::chrono::milliseconds timeout);

// What a client is told of the failure of DMA.
virtine::CleanFailed cleanFailed(DmaError error);

}  // namespace lanecall

#endif
