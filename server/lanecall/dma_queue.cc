// SPDX-License-Identifier: Apache-2.0
#include <lanecall/dma_queue.h>

#include <algorithm>
#include <utility>

namespace lanecall {

void DmaQueue::push(const std::shared_ptr<Lane>& lane,
                    const std::shared_ptr<DmaWork>& work) {
  const auto& operations = work->batch.operations();
  if (operations.empty()) return;
  if (lane->parts.empty()) turns_.push_back(lane);
  std::size_t from = 0;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    lane->parts.push_back({work, i, from, operations[i].extents, 0});
    from += operations[i].extents;
  }
}

void DmaQueue::pushRest(const std::shared_ptr<Lane>& lane, DmaPart part) {
  if (lane->parts.empty()) turns_.push_back(lane);
  lane->parts.push_front(std::move(part));
}

std::pair<std::shared_ptr<DmaQueue::Lane>, DmaPart> DmaQueue::take() {
  std::shared_ptr<Lane> lane = std::move(turns_.front());
  turns_.pop_front();
  DmaPart part = std::move(lane->parts.front());
  lane->parts.pop_front();
  if (!lane->parts.empty()) turns_.push_back(lane);
  return {std::move(lane), std::move(part)};
}

bool DmaQueue::passOver(std::size_t underWay) {
  const auto may =
      std::find_if(turns_.begin(), turns_.end(),
                   [&](const auto& lane) { return lane->underWay < underWay; });
  if (may == turns_.end()) return false;
  std::rotate(turns_.begin(), may, turns_.end());
  return true;
}

std::deque<DmaPart> DmaQueue::takeAll(const std::shared_ptr<Lane>& lane) {
  std::erase(turns_, lane);
  return std::exchange(lane->parts, {});
}

}  // namespace lanecall
