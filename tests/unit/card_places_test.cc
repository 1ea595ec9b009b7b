// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <lanecall/card_places.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../seed.h"

namespace lanecall {
namespace {

constexpr std::uint64_t kPage = 4096;

class CardPlacesTest : public ::testing::Test {
 protected:
  std::shared_ptr<CardPlaces> places =
      std::make_shared<CardPlaces>(8 * kPage, 4 * kPage);
};

TEST_F(CardPlacesTest, GivesTheFirstThatFits) {
  auto a = places->take(kPage, kPage);
  auto b = places->take(2 * kPage, kPage);
  auto c = places->take(kPage, kPage);
  EXPECT_EQ(a->offset(), 0u);
  EXPECT_EQ(b->offset(), 1 * kPage);
  EXPECT_EQ(c->offset(), 3 * kPage);
  b.reset();
  auto d = places->take(kPage, kPage);
  EXPECT_EQ(d->offset(), 1 * kPage);
  auto e = places->take(2 * kPage, kPage);
  EXPECT_EQ(e->offset(), 4 * kPage);
}

TEST_F(CardPlacesTest, AlignsBeginningAndEnd) {
  auto a = places->take(1, kPage);
  EXPECT_EQ(a->bytes(), kPage);
  auto b = places->take(kPage, 4 * kPage);
  EXPECT_EQ(b->offset(), 4 * kPage);
  EXPECT_EQ(b->bytes(), 4 * kPage);
}

TEST_F(CardPlacesTest, BuffersHaveABoundTogether) {
  constexpr auto kBuffer = CardPlaces::Use::kBuffer;
  EXPECT_EQ(places->take(5 * kPage, kPage, kBuffer), nullptr);
  auto a = places->take(3 * kPage, kPage, kBuffer);
  EXPECT_EQ(places->bufferBytes(), 3 * kPage);
  EXPECT_EQ(places->take(2 * kPage, kPage, kBuffer), nullptr);
  auto b = places->take(1, kPage, kBuffer);
  EXPECT_EQ(places->bufferBytes(), 4 * kPage);
  auto rings = places->take(4 * kPage, kPage);
  EXPECT_NE(rings, nullptr);
  a.reset();
  EXPECT_EQ(places->bufferBytes(), kPage);
  rings = nullptr;
  EXPECT_NE(places->take(3 * kPage, kPage, kBuffer), nullptr);
}

TEST_F(CardPlacesTest, SaysWhenThereIsNoRoom) {
  EXPECT_EQ(places->take(9 * kPage, kPage), nullptr);
  EXPECT_EQ(places->take(~0ULL, kPage), nullptr);
  EXPECT_EQ(places->take(0, kPage), nullptr);
  auto all = places->take(8 * kPage, kPage);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(places->take(1, kPage), nullptr);
  all.reset();
  EXPECT_NE(places->take(8 * kPage, kPage), nullptr);
}

TEST_F(CardPlacesTest, KnowsHowMuchIsFree) {
  EXPECT_EQ(places->freeBytes(), 8 * kPage);
  auto a = places->take(kPage, kPage);
  auto b = places->take(2 * kPage, kPage);
  EXPECT_EQ(places->freeBytes(), 5 * kPage);
  a.reset();
  EXPECT_EQ(places->freeBytes(), 6 * kPage);
}

TEST_F(CardPlacesTest, AvoidsWhatTheDeviceCallsBusy) {
  places->avoid(kPage - 1, 2);
  EXPECT_EQ(places->take(kPage, kPage)->offset(), 2 * kPage);
}

TEST_F(CardPlacesTest, TriesBusyPlacesAgainWhenNothingElseIsFree) {
  places->avoid(0, 8 * kPage);
  EXPECT_EQ(places->take(kPage, kPage)->offset(), 0u);
}

TEST_F(CardPlacesTest, PiecesNeverOverlap) {
  const auto seed = static_cast<unsigned>(test::announcedSeed());
  std::mt19937_64 random(seed);
  constexpr std::uint64_t kPages = 400;
  auto all = std::make_shared<CardPlaces>(kPages * kPage, kPages * kPage);
  std::vector<std::unique_ptr<CardPlaces::Place>> taken;
  for (int i = 0; i < 5000; ++i) {
    if (random() % 8 == 0) all->avoid(random() % (kPages * kPage), 3 * kPage);
    if (random() % 2 == 0 && !taken.empty()) {
      std::swap(taken[random() % taken.size()], taken.back());
      taken.pop_back();
      continue;
    }
    const std::uint64_t alignment = kPage << random() % 3;
    auto place = all->take(1 + random() % (10 * kPage), alignment);
    if (!place) continue;
    ASSERT_EQ(place->offset() % alignment, 0u);
    ASSERT_LE(place->offset() + place->bytes(), kPages * kPage);
    for (const auto& other : taken)
      ASSERT_TRUE(place->offset() + place->bytes() <= other->offset() ||
                  other->offset() + other->bytes() <= place->offset());
    taken.push_back(std::move(place));
  }
  taken.clear();
  EXPECT_NE(all->take(kPages * kPage, kPage), nullptr);
}

TEST_F(CardPlacesTest, TakesNonsenseAboutBusyPlaces) {
  places->avoid(~0ULL, ~0ULL);
  places->avoid(7 * kPage, ~0ULL);
  places->avoid(0, 0);
  auto most = places->take(7 * kPage, kPage);
  ASSERT_NE(most, nullptr);
  EXPECT_EQ(most->offset(), 0u);
}

}  // namespace
}  // namespace lanecall
