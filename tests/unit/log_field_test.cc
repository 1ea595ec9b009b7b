// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <lanecall/log_field.h>

#include <string>

namespace lanecall {
namespace {

TEST(LogFieldTest, WhatCannotHarmIsKept) {
  EXPECT_EQ(logField("tcp:[::1]:80: it's \xc3\xa4 b"),
            "tcp:[::1]:80: it's \xc3\xa4 b");
}

TEST(LogFieldTest, NothingEndsTheFieldOrTheLine) {
  EXPECT_EQ(logField("a\" level=error\n\r\t\x1b[2J\x7f\\"),
            "a? level=error????[2J??");
  EXPECT_EQ(logField(std::string("a\0b", 3)), "a?b");
}

TEST(LogFieldTest, ALongOneIsCut) {
  EXPECT_EQ(logField(std::string(512, 'x')), std::string(512, 'x'));
  EXPECT_EQ(logField(std::string(513, 'x')), std::string(512, 'x'));
}

}  // namespace
}  // namespace lanecall
