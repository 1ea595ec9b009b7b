// SPDX-License-Identifier: Apache-2.0
#include "edu_handler.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "call_log.h"

namespace lanecall {
namespace {

TEST(EduHandlerTest, FactorialCoversItsRangeAndNoMore) {
  EduHandler edu;
  EXPECT_EQ(edu.factorial(0), 1);
  EXPECT_EQ(edu.factorial(1), 1);
  EXPECT_EQ(edu.factorial(20), 2432902008176640000);
  for (std::int32_t n : {-1, 21, std::numeric_limits<std::int32_t>::min(),
                         std::numeric_limits<std::int32_t>::max()}) {
    try {
      edu.factorial(n);
      ADD_FAILURE() << n;
    } catch (const edu::OutOfRange& error) {
      EXPECT_EQ(error.value, n);
      EXPECT_EQ(error.highest, 20);
    }
  }
}

TEST(EduHandlerTest, ScaleNamesTheElementThatOverflows) {
  EduHandler edu;
  std::vector<std::int32_t> out;
  edu.scale(out, {1, -2, 0, 1 << 30}, -2);
  EXPECT_EQ(out, (std::vector<std::int32_t>{-2, 4, 0,
                                            std::numeric_limits<int>::min()}));
  edu.scale(out, {}, 5);
  EXPECT_TRUE(out.empty());
  try {
    edu.scale(out, {1, std::numeric_limits<int>::min(), 3}, -1);
    FAIL();
  } catch (const edu::Overflow& error) {
    EXPECT_EQ(error.index, 1);
    EXPECT_EQ(error.factor, -1);
  }
}

TEST(CallLogTest, TextCannotForgeALine) {
  EXPECT_EQ(quoted("Hello, world!"), "'Hello, world!'");
  EXPECT_EQ(quoted("a'\nping()\\\x7f"), "'a\\x27\\x0aping()\\x5c\\x7f'");
  EXPECT_EQ(quoted("\xc3\xa9"), "'\xc3\xa9'");
  EXPECT_LT(lanecall::quoted(std::string(1 << 20, 'x')).size(), 400u);
}

TEST(CallLogTest, ALineThatNobodyWantsIsNotMade) {
  int made = 0;
  const auto line = [&] {
    ++made;
    return std::string("ping()");
  };
  setCallLog(false);
  ::testing::internal::CaptureStdout();
  logCall(line);
  logCall("ping()");
  setCallLog(true);
  EXPECT_EQ(made, 0);
  logCall(line);
  logCall("echo('')");
  EXPECT_EQ(made, 1);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "ping()\necho('')\n");
}

}  // namespace
}  // namespace lanecall
