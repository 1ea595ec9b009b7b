// SPDX-License-Identifier: Apache-2.0
#include "shells.h"

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>

namespace lanecall::bench {
namespace {

void clean(Shells& shells) {
  for (std::size_t i = 0; i < shells.count(); ++i)
    for (const virtine::Extent& extent : shells.dirty())
      std::memcpy(shells.memory(i).data() + extent.offset,
                  shells.snapshot().data() + extent.offset, extent.length);
}

TEST(BenchShells, WhatIsDirtyIsSoManyPagesInRisingOrder) {
  const Shells shells(1, 512 << 10, 10);
  EXPECT_FALSE(shells.isAllDirty());
  std::int64_t end = -1;
  std::int64_t bytes = 0;
  for (const virtine::Extent& extent : shells.dirty()) {
    EXPECT_GT(extent.offset, end) << "neighbours are one extent";
    EXPECT_EQ(extent.offset % 4096, 0);
    EXPECT_EQ(extent.length % 4096, 0);
    end = extent.offset + extent.length;
    bytes += extent.length;
  }
  EXPECT_LE(end, 512 << 10);
  EXPECT_EQ(bytes, 12 * 4096);
}

TEST(BenchShells, AtLeastAPageIsDirtyAndAllMayBe) {
  ASSERT_EQ(Shells(1, 64 << 10, 1).dirty().size(), 1u);
  EXPECT_EQ(Shells(1, 64 << 10, 1).dirty()[0].length, 4096);
  const Shells all(1, 64 << 10, 100);
  EXPECT_TRUE(all.isAllDirty());
  ASSERT_EQ(all.dirty().size(), 1u);
  EXPECT_EQ(all.dirty()[0].length, 64 << 10);
}

TEST(BenchShells, SeesWhetherItWasCleaned) {
  for (int percent : {10, 100}) {
    Shells shells(3, 256 << 10, percent);
    EXPECT_NO_THROW(shells.checkAll());
    shells.soilEnds();
    EXPECT_THROW(shells.checkEnds(), std::runtime_error);
    clean(shells);
    EXPECT_NO_THROW(shells.checkEnds());
    shells.soilAll();
    EXPECT_THROW(shells.checkAll(), std::runtime_error);
    clean(shells);
    EXPECT_NO_THROW(shells.checkAll());
  }
}

TEST(BenchShells, SeesOneThatWasForgotten) {
  Shells shells(2, 64 << 10, 100);
  shells.soilEnds();
  std::memcpy(shells.memory(0).data(), shells.snapshot().data(), 64 << 10);
  EXPECT_THROW(shells.checkEnds(), std::runtime_error);
}

TEST(BenchShells, RefusesMoreMemoryThanAGuestHas) {
  EXPECT_THROW(Shells(256, 16 << 20, 100), std::invalid_argument);
}

}  // namespace
}  // namespace lanecall::bench
