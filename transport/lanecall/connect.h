// SPDX-License-Identifier: Apache-2.0
//
// Opening a channel with a bound; the same for a ChannelIo and a RingIo.
#ifndef LANECALL_CONNECT_H
#define LANECALL_CONNECT_H

#include <lanecall/deadline.h>
#include <poll.h>

#include <cerrno>

namespace lanecall {

// Blocks until io is connected: 0. Else an errno value, io as it is then:
// ETIMEDOUT at the deadline, ECANCELED after interrupt(), or what went wrong.
template <typename Io>
int connectWithin(Io& io, const Deadline& deadline) {
  // A full queue of a Unix listener gives no event to wait for, so connecting
  // is tried again after this long.
  constexpr int kFullQueueMs = 5;
  int outcome;
  while ((outcome = io.open()) < 0) {
    if (outcome != -EAGAIN && outcome != -EINTR) return -outcome;
    if (deadline.passed()) return ETIMEDOUT;
    ::poll(nullptr, 0, kFullQueueMs);
  }
  while ((outcome = io.status()) == -EINPROGRESS) {
    if (deadline.passed()) return ETIMEDOUT;
    const int ready = io.poll(POLLOUT, deadline.remainingMs());
    if (ready < 0 && ready != -EINTR) return -ready;
  }
  return -outcome;
}

}  // namespace lanecall

#endif
