// SPDX-License-Identifier: Apache-2.0
#include "payload.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace lanecall::bench {
namespace {

TEST(BenchPayload, WhatWasSentIsRight) {
  for (std::uint32_t size : {64u, 65u, 4096u}) {
    Payload payload(size, 1);
    payload.answer() = payload.next();
    EXPECT_EQ(payload.answer().size(), size);
    EXPECT_NO_THROW(payload.checkEnds());
    EXPECT_NO_THROW(payload.checkAll());
  }
}

TEST(BenchPayload, AnOldAnswerIsWrong) {
  Payload payload(64, 1);
  payload.answer() = payload.next();
  payload.next();
  EXPECT_THROW(payload.checkEnds(), std::runtime_error);
}

TEST(BenchPayload, AnotherClientsAnswerIsWrong) {
  Payload payload(64, 1);
  Payload other(64, 2);
  payload.next();
  payload.answer() = other.next();
  EXPECT_THROW(payload.checkEnds(), std::runtime_error);
}

TEST(BenchPayload, AShortAnswerOrAChangedByteIsWrong) {
  Payload payload(4096, 1);
  const std::string& sent = payload.next();
  payload.answer() = sent.substr(0, 4095);
  EXPECT_THROW(payload.checkEnds(), std::runtime_error);
  for (std::size_t at : {0u, 2000u, 4095u}) {
    payload.answer() = sent;
    payload.answer()[at] ^= 1;
    EXPECT_THROW(payload.checkAll(), std::runtime_error) << at;
  }
}

}  // namespace
}  // namespace lanecall::bench
