// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace lanecall::bench {
namespace {

TEST(BenchTest, NamesSayHowLargeTheBinaryIs) {
  EXPECT_EQ(parseTest("ping").bytes, 0u);
  EXPECT_FALSE(parseTest("ping").isAsynchronous);
  EXPECT_EQ(parseTest("ping_cob").bytes, 0u);
  EXPECT_TRUE(parseTest("ping_cob").isAsynchronous);
  EXPECT_EQ(parseTest("ping").stage, Stage::kWhole);
  EXPECT_EQ(parseTest("ping_send").stage, Stage::kSend);
  EXPECT_EQ(parseTest("ping_wait").stage, Stage::kWait);
  EXPECT_EQ(parseTest("ping_receive").stage, Stage::kReceive);
  EXPECT_EQ(parseTest("reflect_64").bytes, 64u);
  EXPECT_EQ(parseTest("reflect_1k").bytes, 1024u);
  EXPECT_EQ(parseTest("reflect_64k").bytes, 65536u);
  EXPECT_EQ(parseTest("reflect_32m").bytes, 32u << 20);
  EXPECT_EQ(parseTest("reflect_32m").name, "reflect_32m");
}

TEST(BenchTest, RejectsWhatIsNoTest) {
  for (const char* name :
       {"", "pong", "ping_4k", "reflect_cob", "reflect", "reflect_",
        "reflect_63", "reflect_k", "reflect_4g", "reflect_-64", "reflect_64kk",
        "reflect_33m", "reflect_4294967296k", "reflect_64 "})
    EXPECT_THROW(parseTest(name), std::invalid_argument) << name;
}

}  // namespace
}  // namespace lanecall::bench
