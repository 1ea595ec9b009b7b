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

TEST(BenchTest, NamesSayWhatDmaMoves) {
  const auto write = parseTest("dma_write_1m");
  EXPECT_EQ(write.kind, Kind::kDma);
  EXPECT_EQ(write.bytes, 1u << 20);
  EXPECT_TRUE(write.writes);
  EXPECT_EQ(write.extents, 1);
  const auto read = parseTest("dma_read_64k_x256");
  EXPECT_FALSE(read.writes);
  EXPECT_EQ(read.bytes, 65536u);
  EXPECT_EQ(read.extents, 256);
}

TEST(BenchTest, NamesSayWhatIsCleaned) {
  EXPECT_EQ(parseTest("clean_4k").kind, Kind::kClean);
  EXPECT_EQ(parseTest("clean_4k").bytes, 4096u);
  EXPECT_EQ(parseTest("clean_4k").dirtyPercent, 100);
  EXPECT_EQ(parseTest("clean_512k_10").bytes, 512u << 10);
  EXPECT_EQ(parseTest("clean_512k_10").dirtyPercent, 10);
  EXPECT_EQ(parseTest("virtine_1m").kind, Kind::kVirtine);
  EXPECT_FALSE(parseTest("virtine_1m").dirtyOnly);
  EXPECT_TRUE(parseTest("virtine_4m_dirty").dirtyOnly);
  EXPECT_FALSE(parseTest("virtine_4m_dirty").isUncleaned);
  EXPECT_TRUE(parseTest("virtine_4m_uncleaned").isUncleaned);
}

TEST(BenchTest, RejectsWhatIsNoTest) {
  for (const char* name : {"",
                           "pong",
                           "ping_4k",
                           "reflect_cob",
                           "reflect",
                           "reflect_",
                           "reflect_63",
                           "reflect_k",
                           "reflect_4g",
                           "reflect_-64",
                           "reflect_64kk",
                           "reflect_33m",
                           "reflect_4294967296k",
                           "reflect_64 ",
                           "reflect_64_x2",
                           "dma_1m",
                           "dma_write_",
                           "dma_write_1m_",
                           "dma_write_1m_16",
                           "dma_write_1m_x0",
                           "dma_write_4k_x3",
                           "dma_write_1m_x8192",
                           "dma_read_64m",
                           "clean_",
                           "clean_4k_",
                           "clean_4k_0",
                           "clean_4k_100",
                           "clean_4k_1%",
                           "clean_5000",
                           "virtine_1m_clean",
                           "virtine_64"})
    EXPECT_THROW(parseTest(name), std::invalid_argument) << name;
}

}  // namespace
}  // namespace lanecall::bench
