// SPDX-License-Identifier: Apache-2.0
#include "virtine_target.h"

#include <lanecall/handler_wait.h>

#include <utility>

namespace lanecall {

// With mutex_ held.
CleanTarget::Turn CleanTarget::next() {
  Turn turn;
  while (!line_.empty() && !isBusy_) {
    CleanTaskPtr task = std::move(line_.front());
    line_.pop_front();
    if (closed_ && !task->refused) task->refused = closed_;
    if (task->refused) {
      turn.refused.push_back(std::move(task));
      continue;
    }
    isBusy_ = task->hasBegun = true;
    turn.begins = std::move(task);
  }
  if (!isBusy_) idle_.notify_all();
  return turn;
}

CleanTarget::Turn CleanTarget::add(CleanTaskPtr task) {
  std::lock_guard<std::mutex> lock(mutex_);
  line_.push_back(std::move(task));
  return next();
}

CleanTarget::Turn CleanTarget::end() {
  std::lock_guard<std::mutex> lock(mutex_);
  isBusy_ = false;
  return next();
}

bool CleanTarget::cancel(CleanTask& task) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (task.hasBegun) return false;
  if (!task.refused) task.refused = cancelled();
  return true;
}

void CleanTarget::close(const virtine::CleanFailed& reason) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!closed_) closed_ = reason;
}

void CleanTarget::waitUntilIdle() {
  std::unique_lock<std::mutex> lock(mutex_);
  waitInCall(idle_, lock, [this] { return !isBusy_; });
}

}  // namespace lanecall
