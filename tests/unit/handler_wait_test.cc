// SPDX-License-Identifier: Apache-2.0
//
// What a handler's waits tell its server.
#include <gtest/gtest.h>
#include <lanecall/handler_wait.h>

#include <thread>

namespace lanecall {
namespace {

using std::chrono::hours;

class HandlerWait : public ::testing::Test {
 protected:
  int told = 0;
  const std::function<void()> hook = [this] { ++told; };
  std::mutex mutex;
  std::condition_variable changed;
  std::unique_lock<std::mutex> lock{mutex};
};

TEST_F(HandlerWait, TellsWhoeverHooksThisThread) {
  aboutToWait();
  int inner = 0;
  const std::function<void()> innerHook = [&] { ++inner; };
  {
    WaitHook outer(hook);
    aboutToWait();
    std::thread(aboutToWait).join();
    {
      WaitHook nested(innerHook);
      aboutToWait();
    }
    aboutToWait();
  }
  aboutToWait();
  EXPECT_EQ(told, 2);
  EXPECT_EQ(inner, 1);
}

TEST_F(HandlerWait, SaysNothingOfWhatIsThere) {
  WaitHook hooked(hook);
  waitInCall(changed, lock, [] { return true; });
  EXPECT_TRUE(waitInCallFor(changed, lock, hours(1), [] { return true; }));
  EXPECT_EQ(told, 0);
}

TEST_F(HandlerWait, TellsOfAWaitWithoutTheLock) {
  bool isDone = false;
  const std::function<void()> ends = [&] {
    ++told;
    // Would never be had if the waiting thread held it.
    std::thread([&] {
      std::lock_guard<std::mutex> other(mutex);
      isDone = true;
      changed.notify_all();
    }).join();
  };
  WaitHook hooked(ends);
  waitInCall(changed, lock, [&] { return isDone; });
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(lock.owns_lock());
  isDone = false;
  EXPECT_TRUE(waitInCallFor(changed, lock, hours(1), [&] { return isDone; }));
  EXPECT_EQ(told, 2);
}

TEST_F(HandlerWait, EndsWhenTheTimeIsOver) {
  WaitHook hooked(hook);
  EXPECT_FALSE(waitInCallFor(changed, lock, std::chrono::milliseconds(1),
                             [] { return false; }));
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace lanecall
