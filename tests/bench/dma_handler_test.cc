// SPDX-License-Identifier: Apache-2.0
//
// Service DmaBench on a device of the test's.
#include "dma_handler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "../fake/fake_card_device.h"

namespace lanecall::bench {
namespace {

using test::FakeCardDevice;

class BenchDmaHandler : public ::testing::Test {
 protected:
  BenchDmaHandler() : memory(64 << 10) {
    std::iota(memory.begin(), memory.end(), 0);
    const RegionReference reference = device->lend(memory);
    work.region.key = static_cast<std::int64_t>(reference.key);
    work.region.length = static_cast<std::int64_t>(reference.bytes);
    work.batch = 4;
    work.extents = 8;
  }

  std::vector<std::int64_t> move(bool writes) {
    work.writes = writes;
    std::vector<std::int64_t> ns;
    handler.move(ns, work);
    return ns;
  }

  std::string whyNot() {
    try {
      move(true);
    } catch (const dma::DmaBenchFailed& failed) {
      return failed.reason;
    }
    return "it did";
  }

  std::vector<std::uint8_t> memory;
  std::shared_ptr<FakeCardDevice> device = std::make_shared<FakeCardDevice>();
  DmaHandler handler{device};
  dma::DmaWork work;
};

TEST_F(BenchDmaHandler, WritesBackWhatItRead) {
  const std::vector<std::uint8_t> sent = memory;
  move(false);
  std::fill(memory.begin(), memory.end(), 0);
  move(true);
  EXPECT_EQ(memory, sent);
}

TEST_F(BenchDmaHandler, GivesTheTimeOfEachBatch) {
  EXPECT_EQ(move(true).size(), 1u);
  work.leastBatches = 7;
  const auto ns = move(true);
  EXPECT_EQ(ns.size(), 7u);
  EXPECT_GT(*std::min_element(ns.begin(), ns.end()), 0);
  work.leastUs = 2000;
  const auto longer = move(true);
  EXPECT_GE(std::accumulate(longer.begin(), longer.end(), INT64_C(0)),
            2'000'000);
}

TEST_F(BenchDmaHandler, HasOneBufferForWorkOfOneSize) {
  move(true);
  move(false);
  EXPECT_EQ(device->buffersInUse(), 1u);
  work.region.length /= 2;
  move(true);
  EXPECT_EQ(device->buffersInUse(), 1u);
}

TEST_F(BenchDmaHandler, SaysWhyItCannot) {
  device->failNext(DmaError::kRevoked);
  EXPECT_NE(whyNot(), "it did");
  work.extents = 3;
  EXPECT_NE(whyNot().find("multiple"), std::string::npos);
  work.extents = 0;
  EXPECT_NE(whyNot().find("multiple"), std::string::npos);
  DmaHandler none(nullptr);
  std::vector<std::int64_t> ns;
  EXPECT_THROW(none.move(ns, work), dma::DmaBenchFailed);
}

}  // namespace
}  // namespace lanecall::bench
