// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <lanecall/dirty_pages.h>

#include <utility>

#include "random.h"
#include "settings.h"

namespace lanecall {
namespace {

using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

// In pages: where each extent begins, and how many it has.
Pairs inPages(const DirtyPages& dirty) {
  Pairs pairs;
  for (const auto& extent : dirty.extents()) {
    EXPECT_EQ(extent.offset % kPageBytes, 0u);
    EXPECT_EQ(extent.length % kPageBytes, 0u);
    pairs.emplace_back(extent.offset / kPageBytes, extent.length / kPageBytes);
  }
  return pairs;
}

TEST(DirtyPages, NothingAtFirstAndAfterClear) {
  DirtyPages dirty(100 * kPageBytes);
  EXPECT_EQ(inPages(dirty), Pairs{});
  dirty.mark(0);
  dirty.clear();
  EXPECT_EQ(inPages(dirty), Pairs{});
}

TEST(DirtyPages, AnyByteMarksItsPage) {
  DirtyPages dirty(100 * kPageBytes);
  dirty.mark(kPageBytes);
  dirty.mark(2 * kPageBytes - 1);
  dirty.mark(100 * kPageBytes - 1);
  EXPECT_EQ(inPages(dirty), (Pairs{{1, 1}, {99, 1}}));
}

TEST(DirtyPages, NeighboursAreOneExtentAcrossWords) {
  DirtyPages dirty(256 * kPageBytes);
  for (std::size_t page = 63; page < 193; ++page) dirty.mark(page * kPageBytes);
  dirty.mark(0);
  dirty.mark(255 * kPageBytes);
  EXPECT_EQ(inPages(dirty), (Pairs{{0, 1}, {63, 130}, {255, 1}}));
}

TEST(DirtyPages, WholeWords) {
  DirtyPages dirty(128 * kPageBytes);
  dirty.mark(std::vector<std::uint64_t>{~0ull, ~0ull});
  EXPECT_EQ(inPages(dirty), (Pairs{{0, 128}}));
}

TEST(DirtyPages, WhatWasMarkedBeforeStays) {
  DirtyPages dirty(128 * kPageBytes);
  dirty.mark(std::vector<std::uint64_t>{0b101, 0});
  dirty.mark(std::vector<std::uint64_t>{0b010, 1ull << 63});
  EXPECT_EQ(inPages(dirty), (Pairs{{0, 3}, {127, 1}}));
}

TEST(DirtyPages, RandomOnesAreThereAndNoOthers) {
  Random random(test::settings().seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<bool> model(1 + random.below(300));
    DirtyPages dirty(model.size() * kPageBytes);
    const std::size_t marks = random.below(2 * model.size());
    for (std::size_t i = 0; i < marks; ++i) {
      const std::size_t page = random.below(model.size());
      model[page] = true;
      dirty.mark(page * kPageBytes);
    }
    std::vector<bool> told(model.size());
    std::int64_t end = -1;
    for (auto [from, pages] : inPages(dirty)) {
      ASSERT_GT(from, end) << "they touch, or are not in order";
      end = from + pages;
      for (auto page = from; page < end; ++page) told.at(page) = true;
    }
    ASSERT_EQ(told, model) << "round " << round;
  }
}

}  // namespace
}  // namespace lanecall
