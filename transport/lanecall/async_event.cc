// SPDX-License-Identifier: Apache-2.0
#include <event2/event.h>
#include <lanecall/async_event.h>
#include <poll.h>

#include <cerrno>
#include <new>

namespace lanecall {
namespace {

timeval inLibevent(std::chrono::nanoseconds time) {
  using namespace std::chrono;
  const auto us = ceil<microseconds>(time);
  const auto s = floor<seconds>(us);
  return {static_cast<time_t>(s.count()),
          static_cast<suseconds_t>((us - s).count())};
}

// libevent says -1, and errno is that of what failed, if anything set it.
int outcome(int result) {
  if (result == 0) return 0;
  return errno ? -errno : -ENOMEM;
}

}  // namespace

void AsyncEvent::Free::operator()(event* it) const { event_free(it); }

AsyncEvent::AsyncEvent(event_base* loop, Callback callback, void* argument)
    : loop_(loop),
      callback_(callback),
      argument_(argument),
      event_(event_new(loop, -1, 0, callback, argument)) {
  if (!event_) throw std::bad_alloc();
}

int AsyncEvent::watch(int fd, short events) {
  if (fd == fd_ && events == events_) return 0;
  clear();
  short what = EV_PERSIST;
  if (events & POLLIN) what |= EV_READ;
  if (events & POLLOUT) what |= EV_WRITE;
  errno = 0;
  if (event_assign(event_.get(), loop_, fd, what, callback_, argument_) < 0)
    return outcome(-1);
  fd_ = fd;
  events_ = events;
  return outcome(event_add(event_.get(), nullptr));
}

int AsyncEvent::after(std::chrono::nanoseconds time) {
  const timeval wait = inLibevent(time);
  errno = 0;
  return outcome(event_add(event_.get(), &wait));
}

void AsyncEvent::soon() { event_active(event_.get(), 0, 0); }

void AsyncEvent::clear() {
  event_del(event_.get());
  fd_ = -1;
  events_ = 0;
}

}  // namespace lanecall
