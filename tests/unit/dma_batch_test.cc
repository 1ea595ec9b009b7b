// SPDX-License-Identifier: Apache-2.0
#include <endian.h>
#include <gtest/gtest.h>
#include <lanecall/dma_batch.h>
#include <region/region_types.h>

#include <limits>
#include <tuple>

namespace lanecall {
namespace {

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();

class DmaBatchTest : public ::testing::Test {
 protected:
  static std::shared_ptr<CardBuffer> bufferAt(std::uint64_t offset,
                                              std::size_t bytes) {
    return std::make_shared<CardBuffer>(nullptr, bytes, nullptr, offset,
                                        nullptr);
  }

  // Of all operations: region offset, card, bytes.
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> extents()
      const {
    std::vector<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> all;
    for (const auto& e : batch.extents())
      all.emplace_back(le64toh(e.offset), le64toh(e.card), le64toh(e.bytes));
    return all;
  }

  const RegionReference reference{0, 0x1234, 100, 1000};
  DmaBatch batch;
};

TEST_F(DmaBatchTest, ExtentsAreOfTheReferenceAndTheBuffer) {
  const DmaExtent two[] = {{5, 10, 0}, {999, 1, 63}};
  EXPECT_EQ(batch.read(reference, bufferAt(4096, 64), two), 0u);
  EXPECT_EQ(batch.write(reference, bufferAt(8192, 1000)), 1u);
  EXPECT_EQ(batch.fill(reference, 0xab, {7, 9}), 2u);
  using E = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;
  EXPECT_EQ(extents(), (std::vector<E>{{105, 4096, 10},
                                       {1099, 4159, 1},
                                       {100, 8192, 1000},
                                       {107, 0xab, 9}}));
  const auto& operations = batch.operations();
  ASSERT_EQ(operations.size(), 3u);
  EXPECT_EQ(operations[0].type, std::uint32_t{LANECALL_DMA_READ});
  EXPECT_EQ(operations[0].extents, 2u);
  EXPECT_EQ(operations[0].bytes, 11u);
  EXPECT_EQ(operations[1].type, std::uint32_t{LANECALL_DMA_WRITE});
  EXPECT_EQ(operations[2].type, std::uint32_t{LANECALL_DMA_FILL});
  EXPECT_EQ(operations[2].key, 0x1234u);
  EXPECT_EQ(operations[2].buffer, nullptr);
}

TEST_F(DmaBatchTest, WhatLiesOutsideIsRefusedAndAddsNothing) {
  const auto buffer = bufferAt(0, 64);
  const DmaExtent wrong[] = {
      {0, 0, 0},     {1000, 1, 0}, {0, 1001, 0}, {1, 1000, 0},  {kHuge, 2, 0},
      {2, kHuge, 0}, {0, 65, 0},   {0, 1, 64},   {0, 2, kHuge},
  };
  for (const DmaExtent& extent : wrong) {
    const DmaExtent both[] = {{0, 1, 0}, extent};
    EXPECT_THROW(batch.read(reference, buffer, both), std::out_of_range);
    EXPECT_THROW(batch.write(reference, buffer, extent), std::out_of_range);
  }
  EXPECT_THROW(batch.fill(reference, 0, {1000, 1}), std::out_of_range);
  EXPECT_THROW(batch.read(reference, nullptr), std::invalid_argument);
  EXPECT_THROW(batch.fill(reference, 0, std::span<const DmaExtent>()),
               std::invalid_argument);
  EXPECT_TRUE(batch.empty());
  EXPECT_TRUE(batch.extents().empty());
}

TEST_F(DmaBatchTest, AReferenceMayNotWrap) {
  const RegionReference wraps{0, 1, kHuge - 9, 20};
  EXPECT_THROW(batch.fill(wraps, 0, {0, 1}), std::out_of_range);
  EXPECT_THROW(batch.fill(wraps, 0, {15, 1}), std::out_of_range);
  EXPECT_EQ(batch.fill({0, 1, kHuge - 9, 9}, 0), 0u);
}

TEST_F(DmaBatchTest, BytesOfAnOperationDoNotWrap) {
  const RegionReference all{0, 1, 0, kHuge};
  const std::vector<DmaExtent> many(4, {0, kHuge / 4 + 1, 0});
  EXPECT_THROW(batch.fill(all, 0, many), std::out_of_range);
}

// As the client's library sends them, and as a client may make them up.
TEST_F(DmaBatchTest, ReferencesOfAnIdlAreTakenAsTheyAre) {
  idl::RegionReference sent;
  sent.device = 3;
  sent.key = -2;
  sent.offset = 4096;
  sent.length = 16;
  const RegionReference taken = regionOf(sent);
  EXPECT_EQ(taken.device, 3u);
  EXPECT_EQ(taken.key, ~std::uint64_t{1});
  EXPECT_EQ(taken.offset, 4096u);
  EXPECT_EQ(taken.bytes, 16u);

  sent.offset = -1;
  EXPECT_THROW(batch.fill(regionOf(sent), 0), std::out_of_range);
  sent.offset = 0;
  sent.length = -1;
  EXPECT_THROW(batch.read(regionOf(sent), bufferAt(0, 64)), std::out_of_range);
}

TEST_F(DmaBatchTest, AFailureSaysWhatAndWhy) {
  const DmaFailure failure({2, DmaError::kRevoked, 4096});
  EXPECT_STREQ(failure.what(),
               "DMA operation 2 failed after 4096 bytes: the memory was taken "
               "back meanwhile");
}

}  // namespace
}  // namespace lanecall
