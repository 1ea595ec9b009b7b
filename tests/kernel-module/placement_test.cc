// SPDX-License-Identifier: Apache-2.0
// Which places of a channel's parts in card memory the module believes, and
// that a device which lies about them gets nowhere.
#include "placement.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace {

constexpr std::uint32_t kPage = 4096;
constexpr std::uint64_t kCard = 64 * kPage;
constexpr std::uint32_t kRing = 4 * kPage;

bool isBelieved(std::uint64_t index, std::uint64_t tx, std::uint64_t rx,
                std::uint32_t ring = kRing, std::uint32_t page = kPage,
                std::uint64_t card = kCard) {
  const lanecall_placement at{index, tx, rx};
  return lanecall_placement_is_valid(&at, ring, ring, page, card);
}

TEST(Placement, SideBySideIsBelievedInAnyOrder) {
  EXPECT_TRUE(isBelieved(0, kPage, kPage + kRing));
  EXPECT_TRUE(isBelieved(2 * kRing, kRing, 0));
}

TEST(Placement, UpToTheLastByteIsBelievedAndNoFurther) {
  EXPECT_TRUE(isBelieved(0, kPage, kCard - kRing));
  EXPECT_TRUE(isBelieved(kCard - kPage, 0, kRing));
  EXPECT_FALSE(isBelieved(0, kPage, kCard - kRing + kPage));
  EXPECT_FALSE(isBelieved(0, kCard - kRing + kPage, kPage));
  EXPECT_FALSE(isBelieved(kCard, 0, kRing));
}

TEST(Placement, WhatWrapsAroundIsNot) {
  const std::uint64_t last = ~std::uint64_t{0} - kPage + 1;
  EXPECT_FALSE(isBelieved(last, 0, kRing));
  EXPECT_FALSE(isBelieved(0, last, kPage));
  EXPECT_FALSE(isBelieved(0, kPage, last - kRing + kPage));
}

TEST(Placement, WhatIsNotAlignedIsNot) {
  for (std::uint64_t off : {1, 8, 128, 4095}) {
    EXPECT_FALSE(isBelieved(off, 2 * kPage, 2 * kPage + kRing)) << off;
    EXPECT_FALSE(isBelieved(0, 2 * kPage + off, kCard - kRing)) << off;
    EXPECT_FALSE(isBelieved(0, kPage, kPage + kRing + off)) << off;
  }
}

TEST(Placement, PartsThatShareAPageAreNot) {
  EXPECT_FALSE(isBelieved(0, 0, kRing));
  EXPECT_FALSE(isBelieved(kPage, 0, kRing));              // index inside TX
  EXPECT_FALSE(isBelieved(kRing + 3 * kPage, 0, kRing));  // ... inside RX
  EXPECT_FALSE(isBelieved(0, kPage, kPage));
  EXPECT_FALSE(isBelieved(0, kPage, kRing));  // RX begins in TX's last page
  EXPECT_FALSE(isBelieved(0, 0, 0));
}

TEST(Placement, ARingSmallerThanAPageHasAPageToItself) {
  constexpr std::uint32_t kBig = 65536;
  constexpr std::uint64_t kBigCard = 4 * kBig;
  EXPECT_TRUE(isBelieved(0, kBig, 2 * kBig, 4096, kBig, kBigCard));
  EXPECT_FALSE(isBelieved(0, kBig, kBig + 4096, 4096, kBig, kBigCard));
  EXPECT_FALSE(isBelieved(0, kBig, kBigCard, 4096, kBig, kBigCard));
}

TEST(Placement, WithoutCardMemoryNothingIsBelieved) {
  EXPECT_FALSE(isBelieved(0, kPage, kPage + kRing, kRing, kPage, 0));
}

TEST(Placement, NoneIsAllZeroes) {
  const lanecall_placement none{0, 0, 0}, some{0, kPage, 0};
  EXPECT_TRUE(lanecall_placement_is_none(&none));
  EXPECT_FALSE(lanecall_placement_is_none(&some));
}

}  // namespace
