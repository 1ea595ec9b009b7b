// SPDX-License-Identifier: Apache-2.0
#include "region_scaler.h"

#include <gtest/gtest.h>
#include <lanecall/memory_region.h>

#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "../fake/fake_card_device.h"
#include "edu_handler.h"

namespace lanecall {
namespace {

using Numbers = std::vector<std::int32_t>;

constexpr std::size_t kPieceNumbers = (512 << 10) / sizeof(std::int32_t);

Numbers upTo(std::size_t count) {
  Numbers numbers(count);
  std::iota(numbers.begin(), numbers.end(), -static_cast<int>(count / 2));
  return numbers;
}

Numbers times(Numbers numbers, std::int32_t factor) {
  for (auto& number : numbers) number *= factor;
  return numbers;
}

class RegionScalerTest : public ::testing::Test {
 protected:
  RegionReference lend(Numbers& numbers) {
    return device.lend({reinterpret_cast<std::uint8_t*>(numbers.data()),
                        numbers.size() * sizeof numbers[0]});
  }
  std::string faultOf(const RegionReference& source,
                      const RegionReference& target) {
    try {
      scaleByDma(device, source, target, 2);
    } catch (const edu::DmaFault& fault) {
      return fault.reason;
    }
    return {};
  }

  // The device's thread drops a batch after it has told of it.
  void awaitBuffersBack() const {
    while (device.buffersInUse() > 0) std::this_thread::yield();
  }

  test::FakeCardDevice device{2 << 20};
};

TEST_F(RegionScalerTest, ScalesInPlaceWhateverTheLength) {
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{1}, kPieceNumbers - 1, kPieceNumbers,
        kPieceNumbers + 1, 2 * kPieceNumbers, 5 * kPieceNumbers + 7}) {
    Numbers numbers = upTo(count);
    const auto region = lend(numbers);
    scaleByDma(device, region, region, 4);
    EXPECT_EQ(numbers, times(upTo(count), 4)) << count;
  }
}

TEST_F(RegionScalerTest, ScalesIntoAnotherRegion) {
  const Numbers before = upTo(3 * kPieceNumbers);
  Numbers source = before, target(before.size());
  scaleByDma(device, lend(source), lend(target), 2);
  EXPECT_EQ(target, times(before, 2));
  EXPECT_EQ(source, before);
}

TEST_F(RegionScalerTest, ScalesWhatTheReferencesName) {
  Numbers numbers = upTo(100);
  auto source = lend(numbers), target = source;
  source.offset = 40;
  target.offset = 80;
  source.bytes = target.bytes = 40;
  scaleByDma(device, source, target, 3);
  Numbers expected = upTo(100);
  for (int i = 0; i < 10; ++i) expected[20 + i] = 3 * expected[10 + i];
  EXPECT_EQ(numbers, expected);
}

TEST_F(RegionScalerTest, NamesTheNumberThatOverflows) {
  Numbers numbers(3 * kPieceNumbers, 1);
  numbers[kPieceNumbers + 5] = std::numeric_limits<std::int32_t>::min();
  const auto region = lend(numbers);
  try {
    scaleByDma(device, region, region, 2);
    FAIL() << "nothing was thrown";
  } catch (const edu::Overflow& overflow) {
    EXPECT_EQ(overflow.index, static_cast<int>(kPieceNumbers + 5));
    EXPECT_EQ(overflow.value, std::numeric_limits<std::int32_t>::min());
    EXPECT_EQ(overflow.factor, 2);
  }
  awaitBuffersBack();
  EXPECT_EQ(numbers.back(), 1);
}

TEST_F(RegionScalerTest, RefusesFactorsAndReferences) {
  Numbers numbers = upTo(100);
  const auto region = lend(numbers);
  for (const std::int32_t factor : {-2, 0, 1, 5})
    EXPECT_THROW(scaleByDma(device, region, region, factor), edu::OutOfRange);
  auto expectBad = [&](RegionReference source, RegionReference target) {
    EXPECT_THROW(scaleByDma(device, source, target, 2), edu::BadRegion);
  };
  auto part = [&](std::uint64_t offset, std::uint64_t bytes) {
    return RegionReference{0, region.key, offset, bytes};
  };
  expectBad(part(0, 42), part(0, 42));   // no multiple of 4
  expectBad(part(0, 40), part(0, 80));   // lengths
  expectBad(part(0, 40), part(36, 40));  // overlap
  expectBad(part(36, 40), part(0, 40));
  expectBad(part(0, ~std::uint64_t{3}), part(0, ~std::uint64_t{3}));  // huge
  expectBad(part(~std::uint64_t{0} - 10, 40), part(0, 40));           // wraps
  EXPECT_EQ(numbers, upTo(100));
}

TEST_F(RegionScalerTest, SaysWhyMemoryCannotBeReached) {
  Numbers numbers = upTo(4 * kPieceNumbers);
  const auto region = lend(numbers);
  RegionReference forged = region;
  forged.key ^= 1;
  EXPECT_EQ(faultOf(forged, forged), explain(DmaError::kAccess));
  device.failNext(DmaError::kRevoked);
  EXPECT_EQ(faultOf(region, region), explain(DmaError::kRevoked));
  awaitBuffersBack();
  const auto all = device.allocate(2 << 20);
  EXPECT_NE(faultOf(region, region), "");
}

TEST_F(RegionScalerTest, WithoutADeviceThereIsNoCard) {
  EduHandler edu;
  EXPECT_THROW(edu.scaleRegion({}, {}, 2), edu::NoCard);
}

}  // namespace
}  // namespace lanecall
