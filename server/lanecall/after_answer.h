// SPDX-License-Identifier: Apache-2.0
//
// Work that a call begins, and that its answer need not wait for.
//
//   void submit(Tickets& tickets, const Requests& requests) override {
//     tickets = open(requests);
//     lanecall::afterAnswer([=] { begin(requests); });
//   }
//
// The client goes on while the work begins. What that wakes (QEMU, a backend)
// may take this thread's processor at once, and with it the answer's.
#ifndef LANECALL_AFTER_ANSWER_H
#define LANECALL_AFTER_ANSWER_H

#include <functional>
#include <utility>
#include <vector>

namespace lanecall {

// In a handler: runs work in this thread once the answer is on its way, before
// the connection's next call, and before its handler is destroyed. With a
// server that does not know of it (any but those of this library), at once.
// Work that throws ends the connection; the client has its answer. Where the
// answer cannot be sent, which ends the connection, work is dropped.
void afterAnswer(std::function<void()> work);

// For servers: takes this thread's work while it lives. One at a time in a
// thread.
class AnswerHook {
 public:
  AnswerHook() noexcept;
  ~AnswerHook();
  AnswerHook(const AnswerHook&) = delete;
  AnswerHook& operator=(const AnswerHook&) = delete;

  // What has been taken, in order. Throws what it throws; the rest is dropped.
  void run();

 private:
  friend void afterAnswer(std::function<void()> work);

  std::vector<std::function<void()>> work_;
};

}  // namespace lanecall

#endif
