// SPDX-License-Identifier: Apache-2.0
//
// A job under way, and who hears what came of it.
#ifndef LANECALL_SERVER_VIRTINE_TASK_H
#define LANECALL_SERVER_VIRTINE_TASK_H

#include <lanecall/dma_batch.h>
#include <virtine/virtine_types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "virtine_job.h"
#include "virtine_read_back.h"

namespace lanecall {

// One of the two.
struct CleanOutcome {
  std::optional<virtine::CleanFailed> failure;
  virtine::CleanResult result;
};

struct CleanDone {
  virtine::Ticket ticket = 0;
  CleanOutcome outcome;
};

class CleanSink {
 public:
  virtual ~CleanSink() = default;
  // Each task once, in all calls together. From any thread, the card port's
  // among them: short, without waiting, and without exceptions.
  virtual void completed(std::span<CleanDone> done) = 0;
};

struct CleanTask {
  CleanTask(CleanJob j, virtine::Ticket t, std::shared_ptr<CleanSink> s)
      : job(std::move(j)), ticket(t), sink(std::move(s)) {}

  const CleanJob job;
  const virtine::Ticket ticket;
  const std::shared_ptr<CleanSink> sink;

  // The target's, under its lock.
  bool hasBegun = false;
  std::optional<virtine::CleanFailed> refused;  // it will not begin

  // Of whoever carries it out.
  std::size_t operations = 0;  // under way
  DmaError error = DmaError::kNone;
  std::unique_ptr<ReadBack> readBack;          // verify, once the rest is done
  std::optional<virtine::CleanFailed> unread;  // it could not be read back
};

using CleanTaskPtr = std::shared_ptr<CleanTask>;

}  // namespace lanecall

#endif
