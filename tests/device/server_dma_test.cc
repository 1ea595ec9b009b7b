// SPDX-License-Identifier: Apache-2.0
// The server library's DMA on QEMU's device: what a handler asks of its
// CardDevice happens to a driver's memory, and to nothing else.
#include <lanecall/card_device.h>
#include <lanecall/card_port.h>
#include <lanecall/card_transport.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>

#include "contract.h"
#include "user_region.h"

namespace lanecall::test {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMiB = 1 << 20;

class ServerDma : public Contract {
 protected:
  void SetUp() override {
    use(makeDevice({.card = "unix:" + dir_.file("card")}));
    enableEngine(device(), ~0u);
    driver_ = std::make_unique<UserChannel>(this->device());
    ASSERT_TRUE(driver_->start(soon()));
    pollfd wait{port_->fd(), POLLIN, 0};
    ASSERT_EQ(poll(&wait, 1, soon().remainingMs()), 1);
    transport_ = std::make_shared<CardTransport>(port_->accept());
    card_ = cardDeviceOf(transport_);
    ASSERT_NE(card_, nullptr);
  }

  // Pages that are not neighbours; lent.
  struct Lent {
    Lent(DeviceUnderTest& device, const std::vector<size_t>& pieces,
         RegionOptions options)
        : memory(device.memory(), pieces),
          region(device, memory.extents(), options),
          reference{0, options.key, 0, memory.bytes()} {}
    ScatteredMemory memory;
    UserRegion region;
    const RegionReference reference;
  };
  Lent& lend(const std::vector<size_t>& pieces, RegionOptions options = {}) {
    Lent& lent = lent_.emplace_back(device(), pieces, options);
    if (!lent.region.lend(soon())) throw std::runtime_error("not lent");
    return lent;
  }

  std::shared_ptr<CardBuffer> bufferOf(const Bytes& bytes) {
    auto buffer = card_->allocate(bytes.size());
    std::memcpy(buffer->data(), bytes.data(), bytes.size());
    return buffer;
  }
  static Bytes bytesOf(const CardBuffer& buffer) {
    return {buffer.data(), buffer.data() + buffer.bytes()};
  }
  static Bytes load(const Lent& lent) {
    return lent.memory.load(0, lent.memory.bytes());
  }

  DmaError errorOf(DmaBatch batch) {
    return card_->start(std::move(batch)).wait().at(0).error;
  }

  std::unique_ptr<CardPort> port_ =
      std::make_unique<CardPort>("unix:" + dir_.file("card"));
  std::unique_ptr<UserChannel> driver_;
  std::shared_ptr<CardTransport> transport_;
  std::shared_ptr<CardDevice> card_;

 private:
  std::deque<Lent> lent_;
};

TEST_F(ServerDma, WritesReadsAndFills) {
  Lent& lent = lend({kPage, 100, 3 * kPage, 1, 70000});
  const Bytes bytes = someBytes(lent.memory.bytes());
  DmaBatch write;
  write.write(lent.reference, bufferOf(bytes));
  card_->run(std::move(write));
  EXPECT_EQ(load(lent), bytes);

  auto back = card_->allocate(bytes.size());
  DmaBatch read;
  read.read(lent.reference, back);
  card_->run(std::move(read));
  EXPECT_EQ(bytesOf(*back), bytes);

  DmaBatch fill;
  fill.fill(lent.reference, 0xa5, {1, bytes.size() - 2});
  card_->run(std::move(fill));
  Bytes expected(bytes.size(), 0xa5);
  expected.front() = bytes.front();
  expected.back() = bytes.back();
  EXPECT_EQ(load(lent), expected);
  EXPECT_TRUE(lent.memory.guardsAreWhole());
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(ServerDma, APartOfARegionIsAllThatAReferenceReaches) {
  Lent& lent = lend({3 * kPage});
  const RegionReference middle{0, lent.reference.key, kPage, kPage};
  DmaBatch batch;
  batch.fill(middle, 7);
  card_->run(std::move(batch));
  Bytes expected(3 * kPage);
  std::fill_n(expected.begin() + kPage, kPage, 7);
  EXPECT_EQ(load(lent), expected);
}

// Three times what the device takes at a time, and each in the right place.
TEST_F(ServerDma, MoreOperationsThanTheDeviceTakesAtATime) {
  constexpr size_t kOperations = 3000, kEach = 512;
  Lent& lent = lend(std::vector<size_t>(kOperations * kEach / kPage, kPage));
  const Bytes bytes = someBytes(lent.memory.bytes());
  const auto buffer = bufferOf(bytes);
  DmaBatch batch;
  for (size_t i = 0; i < kOperations; ++i)
    batch.write(lent.reference, buffer, {i * kEach, kEach, i * kEach});
  card_->run(std::move(batch));
  EXPECT_EQ(load(lent), bytes);
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(ServerDma, MoreExtentsThanAPacketHas) {
  constexpr size_t kExtents = 6000;
  Lent& lent = lend(std::vector<size_t>(64, kPage));
  const Bytes bytes = someBytes(kExtents);
  const auto buffer = bufferOf(bytes);
  std::vector<DmaExtent> extents;
  for (size_t i = 0; i < kExtents; ++i) extents.push_back({i * 43, 1, i});
  DmaBatch batch;
  batch.write(lent.reference, buffer, extents);
  const DmaRun run = card_->start(std::move(batch));
  EXPECT_EQ(run.wait()[0].bytes, kExtents);
  Bytes expected(lent.memory.bytes());
  for (size_t i = 0; i < kExtents; ++i) expected[i * 43] = bytes[i];
  EXPECT_EQ(load(lent), expected);
}

TEST_F(ServerDma, SaysWhyNothingWasMoved) {
  const RegionReference forged{0, 0xbad, 0, kPage};
  DmaBatch batch;
  batch.fill(forged, 1);
  EXPECT_EQ(errorOf(std::move(batch)), DmaError::kAccess);

  Lent& lent = lend({kPage}, {.access = LANECALL_REGION_MAY_READ});
  batch = {};
  batch.fill(lent.reference, 1);
  EXPECT_EQ(errorOf(std::move(batch)), DmaError::kAccess);

  RegionReference beyond = lent.reference;
  beyond.bytes += 1;
  batch = {};
  batch.read(beyond, card_->allocate(2 * kPage));
  EXPECT_EQ(errorOf(std::move(batch)), DmaError::kRange);
  EXPECT_EQ(load(lent), Bytes(kPage));

  ASSERT_TRUE(lent.region.takeBack(soon()));
  batch = {};
  batch.read(lent.reference, card_->allocate(kPage));
  EXPECT_EQ(errorOf(std::move(batch)), DmaError::kAccess);
  EXPECT_FALSE(card_->isLost());
}

// What a batch of many long operations ends with, whatever comes in the middle.
class ServerDmaEnd : public ServerDma {
 protected:
  DmaRun work() { return work(lend({kMiB})); }
  DmaRun work(const Lent& lent) {
    const std::vector<DmaExtent> again(2000, {0, kMiB});
    DmaBatch batch;
    for (uint8_t i = 0; i < 8; ++i) batch.fill(lent.reference, i, again);
    return card_->start(std::move(batch));
  }
};

TEST_F(ServerDmaEnd, AnEngineResetRevokesAndTheSessionGoesOn) {
  Lent& lent = lend({kMiB});
  const DmaRun run = work(lent);
  device().write32(LANECALL_REG_CONTROL, 0);
  // What the device had not begun yet finds no region any more.
  for (const DmaResult& result : run.wait())
    EXPECT_TRUE(result.error == DmaError::kRevoked ||
                result.error == DmaError::kAccess ||
                result.error == DmaError::kNone)
        << explain(result.error);
  ASSERT_TRUE(
      eventually([&] { return device().read32(LANECALL_REG_STATUS) == 0; }));
  lent.region.forget();
  EXPECT_FALSE(card_->isLost());
  enableEngine(device(), ~0u);
  Lent& next = lend({kPage}, {.key = 77});
  DmaBatch batch;
  batch.fill(next.reference, 3);
  card_->run(std::move(batch));
  EXPECT_EQ(load(next), Bytes(kPage, 3));
}

TEST_F(ServerDmaEnd, ThePortsEndResetsAll) {
  const DmaRun run = work();
  const auto buffer = card_->allocate(kPage);
  port_.reset();
  ASSERT_TRUE(run.isDone());
  for (const DmaResult& result : run.wait())
    EXPECT_TRUE(result.error == DmaError::kReset ||
                result.error == DmaError::kNone)
        << explain(result.error);
  EXPECT_TRUE(card_->isLost());
  std::memset(buffer->data(), 1, kPage);  // it is there
  DmaBatch batch;
  batch.read({0, 1, 0, 1}, buffer);
  EXPECT_EQ(errorOf(std::move(batch)), DmaError::kReset);
}

}  // namespace
}  // namespace lanecall::test
