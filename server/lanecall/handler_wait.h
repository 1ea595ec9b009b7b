// SPDX-License-Identifier: Apache-2.0
//
// For handlers that wait for something other than their client: DMA, another
// service, a lock that is held for long. A polling server's other clients wait
// with them, for some milliseconds, unless the server is told.
//
//   lanecall::aboutToWait();
//   backend.ask(...);
//
// DmaRun and CardDevice::run() do so by themselves.
#ifndef LANECALL_HANDLER_WAIT_H
#define LANECALL_HANDLER_WAIT_H

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace lanecall {

// Before a wait in a call: another thread sees to the other clients from now
// on, until the call has ended. Costs them and this call some 50 us if there
// are others, and nothing if there are none, or in a thread that is in no call,
// or with a server that has a thread for each. Any number of times.
void aboutToWait() noexcept;

// Before a wait for a change that a lock guards: tells the server unless there
// is nothing to wait for. Without the lock.
template <typename IsDone>
bool isDoneOrTold(std::unique_lock<std::mutex>& lock, IsDone isDone) {
  if (isDone()) return true;
  lock.unlock();
  aboutToWait();
  lock.lock();
  return false;
}

// As changed.wait(lock, isDone), with that.
template <typename IsDone>
void waitInCall(std::condition_variable& changed,
                std::unique_lock<std::mutex>& lock, IsDone isDone) {
  if (!isDoneOrTold(lock, isDone)) changed.wait(lock, isDone);
}

// The same for a while; whether it is done. A wait with a timer is dearer than
// one without.
template <typename IsDone>
bool waitInCallFor(std::condition_variable& changed,
                   std::unique_lock<std::mutex>& lock,
                   std::chrono::milliseconds timeout, IsDone isDone) {
  return isDoneOrTold(lock, isDone) || changed.wait_for(lock, timeout, isDone);
}

// For servers: what aboutToWait() of this thread does while this lives. hook
// has to outlive it, and may not throw.
class WaitHook {
 public:
  explicit WaitHook(const std::function<void()>& hook) noexcept;
  ~WaitHook();
  WaitHook(const WaitHook&) = delete;
  WaitHook& operator=(const WaitHook&) = delete;

 private:
  const std::function<void()>* const before_;
};

}  // namespace lanecall

#endif
