// SPDX-License-Identifier: Apache-2.0
//
// Owns one event of a libevent loop, with one callback for whatever makes it
// happen: a descriptor, a time, or soon(). The callback may destroy it.
#ifndef LANECALL_ASYNC_EVENT_H
#define LANECALL_ASYNC_EVENT_H

#include <chrono>
#include <memory>

struct event;
struct event_base;

namespace lanecall {

class AsyncEvent {
 public:
  // Of libevent: descriptor, what happened, argument.
  using Callback = void (*)(int, short, void*);

  // Throws std::bad_alloc. Nothing happens yet.
  AsyncEvent(event_base* loop, Callback callback, void* argument);

  // Each time that poll() would find these events (POLLIN, POLLOUT), an end or
  // an error of fd, until clear(); instead of another descriptor or events.
  // 0, or a negated errno value.
  int watch(int fd, short events);

  // Once, so much later; 0: when the loop has looked at all its events. Only
  // the last one counts.
  int after(std::chrono::nanoseconds time);

  // Once, when what happens in the loop now has been seen to.
  void soon();

  // Takes all that back, before its descriptor is closed.
  void clear();

 private:
  struct Free {
    void operator()(event* it) const;
  };

  event_base* const loop_;
  const Callback callback_;
  void* const argument_;
  std::unique_ptr<event, Free> event_;
  int fd_ = -1;  // that is watched
  short events_ = 0;
};

}  // namespace lanecall

#endif
