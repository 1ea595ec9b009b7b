// SPDX-License-Identifier: Apache-2.0
//
// Raises the interrupts of a card's channels: adds one to their eventfds.
//
// A device has these eventfds, too. It may fill one and make it blocking at any
// time, even between a look and a write, and a write would then block until the
// device empties it. So they are not written: when an asynchronous read has
// completed the kernel adds one to an eventfd by itself, which never blocks
// (one that is full stays full). What is read is an empty file of ours.
#ifndef LANECALL_INTERRUPTER_H
#define LANECALL_INTERRUPTER_H

#include <lanecall/descriptor.h>
#include <linux/aio_abi.h>

namespace lanecall {

class Interrupter {
 public:
  // Throws std::runtime_error, one line: what the host does not allow, and what
  // to do.
  Interrupter();
  ~Interrupter();
  Interrupter(const Interrupter&) = delete;
  Interrupter& operator=(const Interrupter&) = delete;

  // One system call. False if the interrupt is lost: the host is out of memory,
  // or it is no eventfd. Any thread.
  bool raise(int eventfd) const noexcept;

 private:
  bool submit(int eventfd) const noexcept;
  void forgetCompleted() const noexcept;

  const Descriptor nothing_;
  aio_context_t context_ = 0;
};

}  // namespace lanecall

#endif
