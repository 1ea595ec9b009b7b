// SPDX-License-Identifier: Apache-2.0
#include <lanecall/dma_queue.h>

namespace lanecall {

void DmaQueue::push(const std::shared_ptr<Lane>& lane,
                    const std::shared_ptr<DmaWork>& work) {
  const auto& operations = work->batch.operations();
  if (operations.empty()) return;
  if (lane->empty()) turns_.push_back(lane);
  std::size_t from = 0;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    lane->push_back({work, i, from, operations[i].extents, 0});
    from += operations[i].extents;
  }
}

void DmaQueue::pushRest(const std::shared_ptr<Lane>& lane, DmaPart part) {
  if (lane->empty()) turns_.push_back(lane);
  lane->push_front(std::move(part));
}

std::pair<std::shared_ptr<DmaQueue::Lane>, DmaPart> DmaQueue::take() {
  std::shared_ptr<Lane> lane = std::move(turns_.front());
  turns_.pop_front();
  DmaPart part = std::move(lane->front());
  lane->pop_front();
  if (!lane->empty()) turns_.push_back(lane);
  return {std::move(lane), std::move(part)};
}

}  // namespace lanecall
