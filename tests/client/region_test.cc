// SPDX-License-Identifier: Apache-2.0
//
// Memory by reference, end to end: where the client's device is a card of the
// server's, it moves the bytes; on every other path the server says that it
// cannot.
#include <lanecall/memory_region.h>
#include <lanecall/region_in_idl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <vector>

#include "fixture.h"

namespace lanecall::test {
namespace {

using Numbers = std::vector<std::int32_t>;

class RegionTest : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    client = connect();
  }

  // None where memory cannot be lent: then the server has no card, either.
  Region lend(Numbers& numbers) {
    try {
      return {lenderOf(client->transport), numbers.data(),
              numbers.size() * sizeof numbers[0], RegionAccess::kReadWrite};
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code().value(), EOPNOTSUPP) << error.what();
      return {};
    }
  }

  static idl::RegionReference named(const Region& region) {
    return region.isLent() ? toIdl<idl::RegionReference>(region.reference())
                           : idl::RegionReference();
  }

  // Whether it was done; otherwise it was refused as it has to be.
  bool scale(const Region& source, const Region& target, std::int32_t factor) {
    if (source.isLent()) {
      client->edu.scaleRegion(named(source), named(target), factor);
      return true;
    }
    EXPECT_THROW(client->edu.scaleRegion(named(source), named(target), factor),
                 edu::NoCard);
    return false;
  }

  std::unique_ptr<Client> client;
};
LANECALL_ON_EVERY_PATH(RegionTest);

TEST_P(RegionTest, MemoryIsLentWhereTheServerIsTheCard) {
  Numbers numbers(1);
  EXPECT_EQ(lend(numbers).isLent(), lends());
}

TEST_P(RegionTest, NumbersAreScaledInPlace) {
  Numbers numbers((3 << 20) / 4 + 5);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<std::int32_t>(i) - 1000;
  const Region region = lend(numbers);
  const std::int32_t factor = scale(region, region, 4) ? 4 : 1;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    ASSERT_EQ(numbers[i], (static_cast<std::int32_t>(i) - 1000) * factor) << i;
}

TEST_P(RegionTest, NumbersAreScaledIntoAnotherRegion) {
  Numbers from((2 << 20) / 4, 21), to(from.size());
  const Region source = lend(from), target = lend(to);
  const std::int32_t expected = scale(source, target, 2) ? 42 : 0;
  EXPECT_EQ(std::count(to.begin(), to.end(), expected),
            static_cast<std::ptrdiff_t>(to.size()));
  EXPECT_EQ(std::count(from.begin(), from.end(), 21),
            static_cast<std::ptrdiff_t>(from.size()));
}

TEST_P(RegionTest, FailuresAreTyped) {
  Numbers numbers(1000, 100);
  Region region = lend(numbers);
  if (!scale(region, region, 2)) return;
  EXPECT_THROW(scale(region, region, 5), edu::OutOfRange);
  numbers[999] = 1 << 30;
  try {
    scale(region, region, 2);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const edu::Overflow& overflow) {
    EXPECT_EQ(overflow.index, 999);
    EXPECT_EQ(overflow.value, 1 << 30);
  }
  auto part = named(region);
  part.length = 42;
  EXPECT_THROW(client->edu.scaleRegion(part, part, 2), edu::BadRegion);

  const auto reference = named(region);
  region.takeBack();
  EXPECT_THROW(client->edu.scaleRegion(reference, reference, 2), edu::DmaFault);
  auto forged = reference;
  forged.key ^= 1;
  EXPECT_THROW(client->edu.scaleRegion(forged, forged, 2), edu::DmaFault);
  client->edu.ping();  // the connection outlives all of them
}

}  // namespace
}  // namespace lanecall::test
