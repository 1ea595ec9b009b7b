// SPDX-License-Identifier: Apache-2.0
//
// Wakes a thread that waits for descriptors (poll, epoll): readable from
// raise() until clear(). An eventfd of our own; nobody else may have it, since
// one that is full and blocking would stop whoever raises it.
#ifndef LANECALL_WAKE_H
#define LANECALL_WAKE_H

#include <lanecall/descriptor.h>

namespace lanecall {

class Wake {
 public:
  Wake();  // throws std::system_error

  // Any thread, and signal handlers. Never blocks or fails.
  void raise() noexcept;

  // Whether it had been raised since it was last cleared. Never blocks.
  bool clear() noexcept;

  // Level-triggered: POLLIN while raised.
  int fd() const { return event_.get(); }

 private:
  const Descriptor event_;
};

}  // namespace lanecall

#endif
