// SPDX-License-Identifier: Apache-2.0
#include "virtine_dma.h"

#include <lanecall/deadline.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "virtine_target.h"

namespace lanecall {
namespace {

using virtine::CleanFailed;
using virtine::CleanFault;
using virtine::Extent;

using DevicePtr = std::shared_ptr<CardDevice>;

// Registering is rare: card memory for it is to be had for a moment only.
constexpr std::uint64_t kFetchBytes = 1 << 20;

CleanTarget& targetOf(const CleanTask& task) {
  return *task.job.attachment->target;
}

std::int64_t restoredOf(const Extent& extent, const CleanTask& task) {
  return std::clamp<std::int64_t>(
      task.job.attachment->image->size() - extent.offset, 0, extent.length);
}

// The extents of a task as the device is to see them.
struct Parts {
  std::vector<DmaExtent> restored;
  std::vector<DmaExtent> zeroed;

  explicit Parts(const CleanTask& task) {
    restored.reserve(task.job.extents.size());
    for (const Extent& extent : task.job.extents) {
      const auto offset = static_cast<std::uint64_t>(extent.offset);
      const auto length = static_cast<std::uint64_t>(extent.length);
      const auto inImage = static_cast<std::uint64_t>(restoredOf(extent, task));
      if (inImage > 0) restored.push_back({offset, inImage, offset});
      if (inImage < length)
        zeroed.push_back({offset + inImage, length - inImage, 0});
    }
  }
};

CleanOutcome failure(const CleanFailed& failed) {
  CleanOutcome outcome;
  outcome.failure = failed;
  return outcome;
}

CleanOutcome outcomeOf(const CleanTask& task) {
  if (task.refused) return failure(*task.refused);
  if (task.error != DmaError::kNone) return failure(cleanFailed(task.error));
  if (task.unread) return failure(*task.unread);
  CleanOutcome outcome;
  outcome.result.restored = 0;
  for (const Extent& extent : task.job.extents)
    outcome.result.restored += restoredOf(extent, task);
  outcome.result.zeroed = task.job.bytes - outcome.result.restored;
  if (task.readBack) outcome.result.__set_checksum(task.readBack->checksum());
  return outcome;
}

// Tells sinks, each of them once where their tasks follow each other.
class Completions {
 public:
  // expected: of outcomes, which are dear to move.
  explicit Completions(std::size_t expected) { done_.reserve(expected); }
  ~Completions() { deliver(); }

  void add(const CleanTask& task) {
    if (task.sink != sink_) deliver();
    sink_ = task.sink;
    done_.push_back({task.ticket, outcomeOf(task)});
  }

 private:
  void deliver() {
    if (!done_.empty()) sink_->completed(done_);
    done_.clear();
  }

  std::shared_ptr<CleanSink> sink_;
  std::vector<CleanDone> done_;
};

// One batch to one device: which operations are whose.
class Round : public std::enable_shared_from_this<Round> {
 public:
  explicit Round(DevicePtr device) : device_(std::move(device)) {}

  // As the target says: completes what was refused, begins what begins.
  void follow(CleanTarget::Turn turn, Completions& completions) {
    for (;;) {
      for (const CleanTaskPtr& task : turn.refused) completions.add(*task);
      if (!turn.begins) return;
      CleanTaskPtr task = std::move(turn.begins);
      addClean(task);
      if (task->operations > 0) return;
      turn = end(*task, completions);  // nothing was dirty
    }
  }

  // To the device. When it is lost, all of it may be done before this returns.
  void submit() {
    if (batch_.empty()) return;
    device_->submit(std::move(batch_), [self = shared_from_this()](
                                           std::span<const DmaResult> results) {
      self->done(results);
    });
  }

 private:
  void addClean(const CleanTaskPtr& task) {
    const CleanTarget& target = targetOf(*task);
    const Parts parts(*task);
    if (!parts.restored.empty()) {
      batch_.write(target.region(), target.copy(), parts.restored);
      own(task);
    }
    if (!parts.zeroed.empty()) {
      batch_.fill(target.region(), 0, parts.zeroed);
      own(task);
    }
  }

  void addRead(const CleanTaskPtr& task) {
    task->readBack->readNext(targetOf(*task).region(), batch_);
    own(task);
  }

  void own(const CleanTaskPtr& task) {
    owners_.push_back(task);
    ++task->operations;
  }

  // What follows goes to the device as one batch again.
  void done(std::span<const DmaResult> results) {
    auto next = std::make_shared<Round>(device_);
    {
      Completions completions(results.size());
      for (const DmaResult& result : results) {
        const CleanTaskPtr task = std::move(owners_[result.operation]);
        if (task->error == DmaError::kNone) task->error = result.error;
        if (--task->operations > 0) continue;
        if (mustReadOn(*task))
          next->addRead(task);
        else
          next->follow(end(*task, completions), completions);
      }
    }
    next->submit();
  }

  // A device that is lost stays so: what waits for it has lost it, too.
  CleanTarget::Turn end(const CleanTask& task, Completions& completions) {
    CleanTarget& target = targetOf(task);
    if (task.error == DmaError::kReset && device_->isLost())
      target.close(cleanFailed(DmaError::kReset));
    completions.add(task);
    return target.end();
  }

  // Whether there is more to be verified; what was read is checked.
  bool mustReadOn(CleanTask& task) {
    if (!task.job.verify || task.error != DmaError::kNone) return false;
    if (!task.readBack) return mustReadBack(task);
    if (!task.readBack->check()) {
      task.unread = cleanFailed(CleanFault::VERIFY,
                                "what was read back is not what was written");
      return false;
    }
    return !task.readBack->isOver();
  }

  bool mustReadBack(CleanTask& task) {
    try {
      task.readBack = std::make_unique<ReadBack>(task.job, *device_);
    } catch (const CardMemoryFull&) {
      task.unread = cleanFailed(
          CleanFault::DMA,
          "it was written, but no card memory is free to read it back to; "
          "submit less at a time, or without verify");
      return false;
    }
    return !task.readBack->isOver();
  }

  const DevicePtr device_;
  DmaBatch batch_;
  std::vector<CleanTaskPtr> owners_;  // of the operation at this place
};

CleanFault::type faultOf(DmaError error) {
  switch (error) {
    case DmaError::kReset:
      return CleanFault::DEVICE_LOST;
    case DmaError::kAccess:
    case DmaError::kRevoked:
      return CleanFault::REVOKED;
    default:
      return CleanFault::DMA;
  }
}

}  // namespace

CleanFailed cleanFailed(DmaError error) {
  return cleanFailed(faultOf(error), explain(error));
}

void beginCleaning(std::vector<CleanTaskPtr> tasks) {
  std::map<DevicePtr, std::shared_ptr<Round>> rounds;
  {
    Completions completions(0);
    for (CleanTaskPtr& task : tasks) {
      CleanTarget& target = targetOf(*task);
      auto& round = rounds[target.device()];
      if (!round) round = std::make_shared<Round>(target.device());
      round->follow(target.add(std::move(task)), completions);
    }
  }
  for (const auto& [device, round] : rounds) round->submit();
}

bool cancelCleaning(CleanTask& task) { return targetOf(task).cancel(task); }

std::string fetch(CardDevice& device, const RegionReference& region,
                  std::chrono::milliseconds timeout) {
  const Deadline deadline = Deadline::in(static_cast<int>(timeout.count()));
  std::string bytes;
  bytes.reserve(region.bytes);  // and no more, which is what was reserved
  auto buffer = device.allocate(std::min(region.bytes, kFetchBytes));
  while (bytes.size() < region.bytes) {
    const std::uint64_t now =
        std::min<std::uint64_t>(region.bytes - bytes.size(), buffer->bytes());
    DmaBatch batch;
    batch.read(region, buffer, DmaExtent{bytes.size(), now, 0});
    const DmaRun run = device.start(std::move(batch));
    if (!run.waitFor(std::chrono::milliseconds(deadline.remainingMs())))
      throw cleanFailed(CleanFault::DMA,
                        "the device did not bring the image in time");
    const DmaError error = run.wait().front().error;
    if (error != DmaError::kNone) throw cleanFailed(error);
    bytes.append(reinterpret_cast<const char*>(buffer->data()), now);
  }
  return bytes;
}

}  // namespace lanecall
