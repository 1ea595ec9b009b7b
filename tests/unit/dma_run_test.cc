// SPDX-License-Identifier: Apache-2.0
//
// Waiting for batches, on a device that is told when to go on.
#include <gtest/gtest.h>
#include <lanecall/card_device.h>
#include <thrift/transport/TBufferTransports.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "../fake/fake_card_device.h"

namespace lanecall {
namespace {

using namespace std::chrono_literals;

class DmaRunTest : public ::testing::Test {
 protected:
  DmaBatch fill(std::uint8_t value) {
    DmaBatch batch;
    batch.fill(region, value);
    return batch;
  }

  std::vector<std::uint8_t> memory = std::vector<std::uint8_t>(8192, 1);
  test::FakeCardDevice device;
  RegionReference region = device.lend(memory);
};

TEST_F(DmaRunTest, RunReturnsWhenAllIsMoved) {
  auto buffer = device.allocate(100);
  DmaBatch batch;
  batch.read(region, buffer, {50, 100, 0});
  std::memset(memory.data(), 7, 150);
  device.run(std::move(batch));
  EXPECT_EQ(buffer->data()[99], 7);
}

TEST_F(DmaRunTest, RunThrowsForTheFirstThatFailed) {
  DmaBatch batch;
  batch.fill(region, 1);
  batch.fill({0, ~region.key, 0, 10}, 2);
  batch.fill({0, region.key, 0, 8193}, 3);
  try {
    device.run(std::move(batch));
    FAIL() << "nothing was thrown";
  } catch (const DmaFailure& failure) {
    EXPECT_EQ(failure.result().operation, 1u);
    EXPECT_EQ(failure.result().error, DmaError::kAccess);
  }
}

TEST_F(DmaRunTest, WaitGivesTheResultOfEach) {
  DmaBatch batch;
  batch.fill(region, 1, {0, 100});
  batch.fill({0, region.key, 0, 8193}, 3);
  const DmaRun run = device.start(std::move(batch));
  const auto& results = run.wait();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].bytes, 100u);
  EXPECT_EQ(results[1].operation, 1u);
  EXPECT_EQ(results[1].error, DmaError::kRange);
}

TEST_F(DmaRunTest, WaitForGivesUpAndTheBatchGoesOn) {
  device.hold();
  const DmaRun run = device.start(fill(9));
  EXPECT_FALSE(run.isDone());
  EXPECT_FALSE(run.waitFor(1ms));
  device.release();
  run.wait();
  EXPECT_TRUE(run.isDone());
  EXPECT_TRUE(run.waitFor(0ms));
  EXPECT_EQ(memory[0], 9);
}

TEST_F(DmaRunTest, AnEmptyBatchIsDone) {
  EXPECT_TRUE(device.start({}).isDone());
  device.run({});
}

TEST_F(DmaRunTest, ABatchHoldsItsBuffers) {
  auto buffer = device.allocate(8192);
  std::memset(buffer->data(), 3, 8192);
  device.hold();
  DmaBatch batch;
  batch.write(region, std::move(buffer));
  const DmaRun run = device.start(std::move(batch));
  EXPECT_EQ(device.buffersInUse(), 1u);
  device.release();
  run.wait();
  EXPECT_EQ(memory[8191], 3);
}

TEST_F(DmaRunTest, TheEndOfTheSessionEndsTheWait) {
  device.hold();
  const DmaRun run = device.start(fill(9));
  std::thread loser([this] { device.lose(); });
  EXPECT_EQ(run.wait()[0].error, DmaError::kReset);
  loser.join();
  EXPECT_THROW(device.run(fill(9)), DmaFailure);
  EXPECT_EQ(memory[0], 1);
}

TEST_F(DmaRunTest, ACallbackMaySubmitButNotWait) {
  std::atomic<bool> refused{false};
  DmaRun second(1);
  device.submit(fill(5), [&](std::span<const DmaResult>) {
    device.submit(fill(6), second.callback());
    try {
      second.wait();
    } catch (const std::logic_error&) {
      refused = true;
    }
  });
  second.wait();
  EXPECT_TRUE(refused);
  EXPECT_EQ(memory[0], 6);
}

TEST_F(DmaRunTest, OnlyOwnBuffersAreTaken) {
  test::FakeCardDevice other;
  DmaBatch batch;
  batch.read(region, other.allocate(8192));
  EXPECT_THROW(device.submit(std::move(batch), {}), std::invalid_argument);
}

TEST(CardDeviceOf, IsNullForOtherTransports) {
  EXPECT_EQ(cardDeviceOf(nullptr), nullptr);
  EXPECT_EQ(cardDeviceOf(
                std::make_shared<apache::thrift::transport::TMemoryBuffer>()),
            nullptr);
}

}  // namespace
}  // namespace lanecall
