// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <lanecall/card_channel.h>
#include <lanecall/interrupter.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

namespace lanecall {
namespace {

Descriptor makeEvent(int flags = 0) {
  return Descriptor(::eventfd(0, EFD_CLOEXEC | flags));
}

TEST(InterrupterTest, AddsOneEachTime) {
  const Interrupter interrupter;
  const Descriptor event = makeEvent();
  EXPECT_TRUE(interrupter.raise(event.get()));
  EXPECT_TRUE(interrupter.raise(event.get()));
  eventfd_t count = 0;
  ASSERT_EQ(::eventfd_read(event.get(), &count), 0);
  EXPECT_EQ(count, 2u);
}

TEST(InterrupterTest, LosesNoneOfManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kTimes = 2000;  // more than can be remembered as completed
  const Interrupter interrupter;
  const Descriptor event = makeEvent();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < kTimes; ++k)
        ASSERT_TRUE(interrupter.raise(event.get()));
    });
  for (auto& thread : threads) thread.join();
  eventfd_t count = 0;
  ASSERT_EQ(::eventfd_read(event.get(), &count), 0);
  EXPECT_EQ(count, eventfd_t{kThreads} * kTimes);
}

TEST(InterrupterTest, SaysWhatItCannotRaise) {
  const Interrupter interrupter;
  EXPECT_FALSE(interrupter.raise(STDERR_FILENO));
  EXPECT_FALSE(interrupter.raise(-1));
}

TEST(InterrupterTest, AChannelWhoseInterruptIsLostHasEnded) {
  CardChannelSignals signals(makeEvent(), Descriptor(),
                             std::make_shared<const Interrupter>());
  EXPECT_EQ(signals.error(), 0);
  signals.tell();
  EXPECT_EQ(signals.error(), -ENOBUFS);
  EXPECT_TRUE(signals.isInterruptLost());
}

}  // namespace
}  // namespace lanecall
