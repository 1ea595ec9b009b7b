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

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace lanecall {

// Before a wait in a call: another thread sees to the other clients from now
// on, until the call has ended. Costs them and this call some 50 us, so that it
// is not worth it for a wait that is shorter. Does nothing in a thread that is
// in no call, or with a server that has a thread for each. Any number of times.
void aboutToWait() noexcept;

// How long a wait may go on before the server is told: as long as it takes to
// tell it, or a little longer.
constexpr std::chrono::microseconds kBriefWait{200};

// As changed.wait_until(lock, until, isDone), with all of that.
template <typename IsDone>
bool waitInCall(std::condition_variable& changed,
                std::unique_lock<std::mutex>& lock, IsDone isDone,
                std::chrono::steady_clock::time_point until =
                    std::chrono::steady_clock::time_point::max()) {
  const auto brief = std::chrono::steady_clock::now() + kBriefWait;
  if (changed.wait_until(lock, std::min(brief, until), isDone)) return true;
  if (until <= brief) return false;
  lock.unlock();
  aboutToWait();
  lock.lock();
  return changed.wait_until(lock, until, isDone);
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
