// SPDX-License-Identifier: Apache-2.0
//
// A virtine's memory that the client has lent to the device, and the line of
// tasks for it: one at a time is carried out, in the order they came, so that
// no two write the same bytes and each completes before the next. Any thread
// may call; nothing but waitUntilIdle() blocks.
//
// A task that will not run (cancelled, or the target was closed) keeps its
// place in the line, and completes when its turn comes.
#ifndef LANECALL_SERVER_VIRTINE_TARGET_H
#define LANECALL_SERVER_VIRTINE_TARGET_H

#include <lanecall/card_device.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "virtine_task.h"

namespace lanecall {

class CleanTarget {
 public:
  // copy: of the image, in this device's card memory.
  CleanTarget(std::shared_ptr<CardDevice> device, const RegionReference& region,
              std::shared_ptr<const CardBuffer> copy)
      : device_(std::move(device)), region_(region), copy_(std::move(copy)) {}
  CleanTarget(const CleanTarget&) = delete;
  CleanTarget& operator=(const CleanTarget&) = delete;

  const std::shared_ptr<CardDevice>& device() const { return device_; }
  const RegionReference& region() const { return region_; }
  const std::shared_ptr<const CardBuffer>& copy() const { return copy_; }

  // What the caller has to do next: complete those that were refused, in their
  // order, then carry out the one that begins.
  struct Turn {
    std::vector<CleanTaskPtr> refused;
    CleanTaskPtr begins;  // null: none
  };
  // One more. When it does not begin, end() of the one before hands it out.
  Turn add(CleanTaskPtr task);
  // The task that began has ended, and was completed.
  Turn end();

  // Whether it had not begun, and now will not.
  bool cancel(CleanTask& task);

  // What has not begun does not any more, nor does what is added from now on;
  // the first reason stays.
  void close(const virtine::CleanFailed& reason);
  void waitUntilIdle();

 private:
  Turn next();

  const std::shared_ptr<CardDevice> device_;
  const RegionReference region_;
  const std::shared_ptr<const CardBuffer> copy_;

  std::mutex mutex_;  // guards all below
  std::condition_variable idle_;
  std::deque<CleanTaskPtr> line_;  // that have not begun
  bool isBusy_ = false;            // one has begun
  std::optional<virtine::CleanFailed> closed_;
};

}  // namespace lanecall

#endif
