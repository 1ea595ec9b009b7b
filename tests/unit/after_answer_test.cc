// SPDX-License-Identifier: Apache-2.0
//
// Work that answers do not wait for.
#include <gtest/gtest.h>
#include <lanecall/after_answer.h>

#include <stdexcept>
#include <string>
#include <thread>

namespace lanecall {
namespace {

TEST(AfterAnswer, IsAtOnceWithoutAServer) {
  int done = 0;
  afterAnswer([&] { ++done; });
  EXPECT_EQ(done, 1);
}

TEST(AfterAnswer, WaitsForTheServerAndKeepsTheOrder) {
  std::string done;
  AnswerHook hook;
  afterAnswer([&] { done += 'a'; });
  afterAnswer([&] { done += 'b'; });
  std::thread([&] { afterAnswer([&] { done += 'x'; }); }).join();
  EXPECT_EQ(done, "x") << "another thread's is no business of this one's";
  hook.run();
  EXPECT_EQ(done, "xab");
  hook.run();
  EXPECT_EQ(done, "xab");
}

TEST(AfterAnswer, MayHaveMoreToFollow) {
  std::string done;
  AnswerHook hook;
  afterAnswer([&] {
    done += 'a';
    afterAnswer([&] { done += 'b'; });
  });
  hook.run();
  EXPECT_EQ(done, "ab");
}

TEST(AfterAnswer, IsDroppedWithTheServersHook) {
  int done = 0;
  {
    AnswerHook hook;
    afterAnswer([&] { ++done; });
  }
  EXPECT_EQ(done, 0);
  afterAnswer([&] { ++done; });
  EXPECT_EQ(done, 1);
}

TEST(AfterAnswer, WhatThrowsDropsTheRest) {
  int done = 0;
  AnswerHook hook;
  afterAnswer([] { throw std::runtime_error("no"); });
  afterAnswer([&] { ++done; });
  EXPECT_THROW(hook.run(), std::runtime_error);
  hook.run();
  EXPECT_EQ(done, 0);
}

}  // namespace
}  // namespace lanecall
