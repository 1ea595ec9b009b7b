// SPDX-License-Identifier: Apache-2.0
//
// A server's DMA against a device that the test plays, operation by operation.
#include <endian.h>
#include <gtest/gtest.h>
#include <lanecall/card_device.h>
#include <lanecall/card_port.h>
#include <lanecall/card_transport.h>
#include <poll.h>
#include <spdlog/logger.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../seed.h"
#include "card_device.h"
#include "log_lines.h"

namespace lanecall {
namespace {

using test::CardClient;
using test::DmaPacket;
using test::LogLines;
using Device = std::shared_ptr<CardDevice>;

constexpr int kPatienceMs = 60'000;
constexpr std::size_t kExtentsInAPacket =
    (LANECALL_CARD_PACKET_MAX - sizeof(lanecall_card_frame) -
     sizeof(lanecall_dma_operation)) /
    sizeof(lanecall_dma_extent);

lanecall_dma_done done(std::uint64_t id, std::uint64_t bytes,
                       std::uint32_t error = LANECALL_ERR_NONE) {
  return {id, htole64(bytes), htole32(error), 0};
}

std::uint64_t bytesOf(const std::vector<lanecall_dma_extent>& extents) {
  std::uint64_t bytes = 0;
  for (const auto& extent : extents) bytes += le64toh(extent.bytes);
  return bytes;
}

// What came of a batch, as its callback was told.
class Outcome {
 public:
  explicit Outcome(std::size_t operations) : run_(operations) {}

  DmaCallback callback() {
    return [this, done = run_.callback()](std::span<const DmaResult> results) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        ++calls_;
        for (const DmaResult& result : results) ++times_[result.operation];
      }
      done(results);
    };
  }

  const std::vector<DmaResult>& wait() { return run_.wait(); }
  bool isDone() const { return run_.isDone(); }
  int calls() {
    std::lock_guard<std::mutex> lock(mutex_);
    return calls_;
  }
  bool eachOnce(std::size_t operations) {
    std::lock_guard<std::mutex> lock(mutex_);
    return times_.size() == operations &&
           std::all_of(times_.begin(), times_.end(),
                       [](const auto& time) { return time.second == 1; });
  }

 private:
  DmaRun run_;
  std::mutex mutex_;
  int calls_ = 0;
  std::map<std::size_t, int> times_;
};

class CardDmaTest : public ::testing::Test {
 protected:
  ~CardDmaTest() override {
    port.reset();
    std::filesystem::remove_all(folder);
  }

  void connect(std::uint32_t operations = 1024) {
    far.dmaOperations = operations;
    far.greet();
    device = open();
  }

  // The device of another channel.
  Device open() {
    clients.push_back(far.open());
    pollfd wait{port->fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&wait, 1, kPatienceMs), 1) << "no channel";
    channels.push_back(std::make_shared<CardTransport>(port->accept()));
    return cardDeviceOf(channels.back());
  }

  // Fills of one byte each, so many, or of so many extents.
  DmaBatch fills(std::size_t count, std::size_t extents = 1) const {
    DmaBatch batch;
    const std::vector<DmaExtent> each(extents, {0, 1});
    for (std::size_t i = 0; i < count; ++i)
      batch.fill(region, static_cast<std::uint8_t>(i), each);
    return batch;
  }

  DmaPacket receive() {
    auto packet = far.receiveDma();
    if (!packet) throw std::runtime_error("the server has ended the session");
    return std::move(*packet);
  }

  // All of a packet is done.
  void answer(const DmaPacket& packet) {
    std::vector<lanecall_dma_done> all;
    auto extent = packet.extents.begin();
    for (const auto& operation : packet.operations) {
      const auto end = extent + le32toh(operation.extents);
      all.push_back(done(operation.id, bytesOf({extent, end})));
      extent = end;
    }
    far.sendDone(all);
  }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    return ::mkdtemp(pattern.data());
  }

  const RegionReference region{0, 0xfedcba9876543210, 4096, 1 << 20};
  const std::string folder = makeFolder();
  const std::string path = folder + "/card";
  std::shared_ptr<LogLines> log = std::make_shared<LogLines>();
  std::unique_ptr<CardPort> port = std::make_unique<CardPort>(
      "unix:" + path, std::make_shared<spdlog::logger>("test", log));
  test::CardDevice far{path};
  std::vector<std::unique_ptr<CardClient>> clients;
  std::vector<std::shared_ptr<CardTransport>> channels;
  Device device;
};

TEST_F(CardDmaTest, ThereIsNoneWithADeviceThatKnowsNone) {
  far.greet();
  EXPECT_EQ(open(), nullptr);
}

TEST_F(CardDmaTest, ABatchIsOnePacket) {
  connect();
  auto buffer = device->allocate(8192);
  DmaBatch batch;
  batch.read(region, buffer, {10, 100, 200});
  const DmaExtent two[] = {{1, 2, 3}, {4, 5, 6}};
  batch.write(region, buffer, two);
  batch.fill(region, 0xee);
  const DmaRun run = device->start(std::move(batch));

  const DmaPacket packet = receive();
  ASSERT_EQ(packet.operations.size(), 3u);
  ASSERT_EQ(packet.extents.size(), 4u);
  EXPECT_EQ(le32toh(packet.operations[0].type), unsigned{LANECALL_DMA_READ});
  EXPECT_EQ(le32toh(packet.operations[1].type), unsigned{LANECALL_DMA_WRITE});
  EXPECT_EQ(le32toh(packet.operations[1].extents), 2u);
  EXPECT_EQ(le32toh(packet.operations[2].type), unsigned{LANECALL_DMA_FILL});
  EXPECT_EQ(le64toh(packet.operations[2].key), region.key);
  EXPECT_EQ(le64toh(packet.extents[0].offset), 4106u);
  EXPECT_EQ(le64toh(packet.extents[0].card), buffer->offset() + 200);
  EXPECT_EQ(le64toh(packet.extents[0].bytes), 100u);
  EXPECT_EQ(le64toh(packet.extents[2].card), buffer->offset() + 6);
  EXPECT_EQ(le64toh(packet.extents[3].card), 0xeeu);
  EXPECT_FALSE(run.isDone());
  answer(packet);
  EXPECT_EQ(run.wait()[2].bytes, region.bytes);
}

TEST_F(CardDmaTest, ABufferIsTheCardsMemory) {
  connect();
  auto buffer = device->allocate(5000);
  EXPECT_EQ(buffer->bytes(), 5000u);
  std::memset(buffer->data(), 0x5a, 5000);
  std::vector<std::uint8_t> seen(5000);
  ASSERT_EQ(::pread(far.memory(), seen.data(), 5000,
                    static_cast<off_t>(buffer->offset())),
            5000);
  EXPECT_EQ(seen, std::vector<std::uint8_t>(5000, 0x5a));
}

TEST_F(CardDmaTest, NewsThatComeTogetherAreToldTogether) {
  connect();
  Outcome outcome(64);
  device->submit(fills(64), outcome.callback());
  const DmaPacket packet = receive();
  ASSERT_EQ(packet.operations.size(), 64u);
  answer(packet);
  outcome.wait();
  EXPECT_EQ(outcome.calls(), 1);
  EXPECT_TRUE(outcome.eachOnce(64));
}

TEST_F(CardDmaTest, OperationsMayBeDoneInAnyOrder) {
  connect();
  Outcome outcome(3);
  device->submit(fills(3), outcome.callback());
  const DmaPacket packet = receive();
  far.sendDone({done(packet.operations[2].id, 1)});
  far.sendDone({done(packet.operations[0].id, 0, LANECALL_ERR_REVOKED),
                done(packet.operations[1].id, 1)});
  const auto& results = outcome.wait();
  EXPECT_EQ(results[0].error, DmaError::kRevoked);
  EXPECT_EQ(results[0].bytes, 0u);
  EXPECT_EQ(results[1].error, DmaError::kNone);
  EXPECT_EQ(results[2].bytes, 1u);
  EXPECT_TRUE(outcome.eachOnce(3));
}

TEST_F(CardDmaTest, RunThrowsWhatTheDeviceSays) {
  connect();
  std::thread answering([this] {
    far.sendDone({done(receive().operations[0].id, 0, LANECALL_ERR_ACCESS)});
  });
  try {
    device->run(fills(1));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const DmaFailure& failure) {
    EXPECT_EQ(failure.result().error, DmaError::kAccess);
    // A key is nobody's business.
    const std::string text = failure.what();
    EXPECT_EQ(text.find(std::to_string(region.key)), text.npos) << text;
  }
  answering.join();
}

// ---- Limits

TEST_F(CardDmaTest, NoMoreIsUnderWayThanHelloAllows) {
  connect(7);
  Outcome outcome(100);
  device->submit(fills(100), outcome.callback());
  for (std::size_t answered = 0; answered < 100;) {
    const DmaPacket packet = receive();
    ASSERT_LE(packet.operations.size(), 7u);
    answered += packet.operations.size();
    answer(packet);
  }
  outcome.wait();
  EXPECT_TRUE(outcome.eachOnce(100));
}

TEST_F(CardDmaTest, ChannelsTakeTurns) {
  connect(4);
  Device second = open();
  Outcome outcome(100), other(2);
  device->submit(fills(100), outcome.callback());
  second->submit(fills(2), other.callback());
  answer(receive());  // four of the first
  answer(receive());  // two of each
  other.wait();
  EXPECT_FALSE(outcome.isDone());
  for (int left = 100 - 6; left > 0; left -= 4) answer(receive());
  outcome.wait();
}

TEST_F(CardDmaTest, ABatchThatIsTooLargeForAPacketIsSplit) {
  connect();
  // 128 times 32 + 30 * 24 bytes.
  Outcome outcome(128);
  device->submit(fills(128, 30), outcome.callback());
  const DmaPacket first = receive(), second = receive();
  EXPECT_EQ(first.operations.size() + second.operations.size(), 128u);
  answer(second);
  answer(first);
  outcome.wait();
  EXPECT_TRUE(outcome.eachOnce(128));
}

// What is under way ends together: with all of it one channel's, the others
// would wait until then.
TEST_F(CardDmaTest, AChannelHasAShareOfWhatIsUnderWay) {
  connect();
  Device second = open();
  Outcome outcome(200), other(1);
  device->submit(fills(200), outcome.callback());
  const DmaPacket first = receive();
  EXPECT_EQ(first.operations.size(), 1024u / 8);
  second->submit(fills(1), other.callback());
  answer(receive());
  other.wait();
  EXPECT_FALSE(outcome.isDone());
  answer(first);
  answer(receive());
  outcome.wait();
  EXPECT_TRUE(outcome.eachOnce(200));
}

TEST_F(CardDmaTest, WhatWasNotSentCanBeDropped) {
  connect(4);
  Device second = open();
  Outcome outcome(10), other(1);
  device->submit(fills(10), outcome.callback());
  second->submit(fills(1), other.callback());
  device->dropUnsent();
  EXPECT_EQ(outcome.calls(), 1);
  answer(receive());
  answer(receive());  // the other's
  other.wait();
  const std::vector<DmaResult>& results = outcome.wait();
  EXPECT_TRUE(outcome.eachOnce(10));
  EXPECT_EQ(std::count_if(results.begin(), results.end(),
                          [](const DmaResult& result) {
                            return result.error == DmaError::kRevoked;
                          }),
            6);
  device->dropUnsent();
  EXPECT_EQ(outcome.calls(), 2);
}

// The second part is sent when the first is done: order is kept.
TEST_F(CardDmaTest, AnOperationThatIsTooLargeForAPacketIsSplit) {
  connect();
  const std::size_t extents = 2 * kExtentsInAPacket + 10;
  Outcome outcome(2);
  DmaBatch batch = fills(1, extents);
  batch.fill(region, 1, {0, 1});
  device->submit(std::move(batch), outcome.callback());
  const DmaPacket first = receive(), small = receive();
  EXPECT_EQ(first.extents.size(), kExtentsInAPacket);
  ASSERT_EQ(small.operations.size(), 1u);
  EXPECT_EQ(small.extents.size(), 1u);
  answer(first);
  const DmaPacket second = receive();
  EXPECT_EQ(second.extents.size(), kExtentsInAPacket);
  answer(second);
  const DmaPacket third = receive();
  EXPECT_EQ(third.extents.size(), 10u);
  answer(third);
  answer(small);
  const auto& results = outcome.wait();
  EXPECT_EQ(results[0].error, DmaError::kNone);
  EXPECT_EQ(results[0].bytes, extents);
  EXPECT_TRUE(outcome.eachOnce(2));
}

TEST_F(CardDmaTest, AnErrorInAPartEndsTheOperation) {
  connect();
  Outcome outcome(1);
  device->submit(fills(1, 3 * kExtentsInAPacket), outcome.callback());
  answer(receive());
  far.sendDone({done(receive().operations[0].id, 5, LANECALL_ERR_DMA)});
  const auto& results = outcome.wait();
  EXPECT_EQ(results[0].error, DmaError::kNotMemory);
  EXPECT_EQ(results[0].bytes, kExtentsInAPacket + 5);
}

TEST_F(CardDmaTest, WhatADeviceIsSlowToTakeWaits) {
  connect();
  std::vector<std::unique_ptr<Outcome>> outcomes;
  // 26 MiB of packets: more than any socket buffers.
  for (int i = 0; i < 400; ++i) {
    outcomes.push_back(std::make_unique<Outcome>(1));
    device->submit(fills(1, kExtentsInAPacket), outcomes.back()->callback());
  }
  for (int i = 0; i < 400; ++i) answer(receive());
  for (auto& outcome : outcomes) {
    EXPECT_EQ(outcome->wait()[0].bytes, kExtentsInAPacket);
    EXPECT_TRUE(outcome->eachOnce(1));
  }
}

// ---- Card memory

TEST_F(CardDmaTest, BuffersHaveAShareOfCardMemory) {
  connect();
  std::vector<std::shared_ptr<CardBuffer>> buffers;
  EXPECT_THROW(device->allocate(0), std::invalid_argument);
  EXPECT_THROW(device->allocate(test::CardDevice::kCardBytes), CardMemoryFull);
  try {
    for (;;) buffers.push_back(device->allocate(1 << 20));
  } catch (const CardMemoryFull& full) {
    EXPECT_NE(std::string(full.what()).find("card-memory="), std::string::npos);
  }
  EXPECT_EQ(buffers.size(), test::CardDevice::kCardBytes / 2 >> 20);
  EXPECT_EQ(device->space().bytes, test::CardDevice::kCardBytes / 2);
  EXPECT_EQ(device->space().freeBytes, 0u);
  // As many rings as ever.
  EXPECT_NE(open(), nullptr);
  buffers.clear();
  EXPECT_NE(device->allocate(20 << 20), nullptr);
}

TEST_F(CardDmaTest, ABufferUnderWayIsNotGivenAgain) {
  connect();
  auto buffer = device->allocate(16 << 20);
  const std::uint64_t offset = buffer->offset();
  DmaBatch batch;
  batch.read(region, std::move(buffer));
  const DmaRun run = device->start(std::move(batch));
  EXPECT_THROW(device->allocate(17 << 20), CardMemoryFull);
  answer(receive());
  run.wait();
  // The thread that told drops it after it has told.
  std::shared_ptr<CardBuffer> again;
  while (!again) try {
      again = device->allocate(17 << 20);
    } catch (const CardMemoryFull&) {
      std::this_thread::yield();
    }
  EXPECT_EQ(again->offset(), offset);
}

TEST_F(CardDmaTest, ABufferOfAnotherCardIsRefused) {
  connect();
  test::CardDevice otherFar(path);
  otherFar.dmaOperations = 1;
  otherFar.greet();
  auto client = otherFar.open();
  pollfd wait{port->fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, kPatienceMs), 1);
  const auto transport = std::make_shared<CardTransport>(port->accept());
  const Device other = cardDeviceOf(transport);
  DmaBatch batch;
  batch.fill(region, 1);
  batch.read(region, other->allocate(1 << 20));
  EXPECT_FALSE(device->owns(*batch.operations()[1].buffer));
  EXPECT_THROW(device->submit(std::move(batch), {}), std::invalid_argument);
}

// ---- Ends

TEST_F(CardDmaTest, TheEndOfTheSessionEndsAllOnce) {
  connect(2);
  auto buffer = device->allocate(1 << 20);
  std::memset(buffer->data(), 1, 1 << 20);
  DmaBatch batch = fills(5);
  batch.read(region, buffer);
  Outcome outcome(6);
  device->submit(std::move(batch), outcome.callback());
  far.sendDone({done(receive().operations[0].id, 1)});
  receive();  // the next
  EXPECT_FALSE(device->isLost());
  far.disconnect();
  const auto& results = outcome.wait();
  EXPECT_EQ(results[0].error, DmaError::kNone);
  for (int i = 1; i < 6; ++i) EXPECT_EQ(results[i].error, DmaError::kReset);
  EXPECT_TRUE(outcome.eachOnce(6));

  EXPECT_TRUE(device->isLost());
  EXPECT_EQ(buffer->data()[(1 << 20) - 1], 1);
  Outcome late(2);
  device->submit(fills(2), late.callback());
  EXPECT_TRUE(late.isDone());
  EXPECT_EQ(late.wait()[1].error, DmaError::kReset);
}

TEST_F(CardDmaTest, AHandlerOutlivesThePort) {
  connect(2);
  Outcome outcome(5);
  device->submit(fills(5), outcome.callback());
  channels.clear();
  port.reset();
  EXPECT_EQ(outcome.wait()[4].error, DmaError::kReset);
  EXPECT_TRUE(outcome.eachOnce(5));
  EXPECT_THROW(device->run(fills(1)), DmaFailure);
  EXPECT_NE(device->allocate(4096)->data(), nullptr);
}

TEST_F(CardDmaTest, AChannelsEndLeavesItsOperationsOnTheirWay) {
  connect(1);
  Outcome outcome(2);
  device->submit(fills(2), outcome.callback());
  const DmaPacket first = receive();
  channels.clear();
  far.expect(LANECALL_CARD_END, far.lastId());
  answer(first);
  answer(receive());
  EXPECT_EQ(outcome.wait()[1].bytes, 1u);
}

// A buffer of the last session is one of the next, if the device is the same.
TEST_F(CardDmaTest, ADeviceThatComesBackHasItsMemory) {
  connect();
  auto buffer = device->allocate(1 << 20);
  const Device before = device;
  channels.clear();
  clients.clear();
  far.disconnect();
  far.connect(path);
  far.greet();
  device = open();
  EXPECT_TRUE(device->owns(*buffer));
  DmaBatch batch;
  batch.read(region, buffer);
  const DmaRun run = device->start(std::move(batch));
  answer(receive());
  run.wait();
}

TEST_F(CardDmaTest, WhatWasUnderWayAtTheEndIsAvoidedWhileThereIsOtherRoom) {
  connect();
  auto buffer = device->allocate(1 << 20);
  const std::uint64_t offset = buffer->offset();
  DmaBatch batch;
  batch.read(region, std::move(buffer));
  const DmaRun run = device->start(std::move(batch));
  receive();
  far.disconnect();
  run.wait();
  EXPECT_NE(device->allocate(1 << 20)->offset(), offset);
}

// ---- A device that breaks the protocol

struct Lie {
  const char* name;
  // Told of an operation of 100 bytes.
  std::function<std::vector<lanecall_dma_done>(std::uint64_t id)> done;
  const char* reason;
};

class CardDmaBreachTest : public CardDmaTest,
                          public ::testing::WithParamInterface<Lie> {};

TEST_P(CardDmaBreachTest, EndsTheSession) {
  connect();
  DmaBatch batch;
  batch.fill(region, 1, {0, 100});
  batch.fill(region, 1, {0, 100});
  Outcome outcome(2);
  device->submit(std::move(batch), outcome.callback());
  far.sendDone(GetParam().done(receive().operations[0].id));
  far.expectEnded();
  EXPECT_EQ(outcome.wait()[1].error, DmaError::kReset);
  EXPECT_TRUE(outcome.eachOnce(2));
  EXPECT_EQ(log->count(GetParam().reason), 1) << GetParam().reason;
}

INSTANTIATE_TEST_SUITE_P(
    All, CardDmaBreachTest,
    ::testing::Values(
        Lie{"UnknownNumber", [](auto) { return std::vector{done(5000, 0)}; },
            "DONE of an operation that is not under way"},
        Lie{"NumberThatIsUnused",
            [](auto id) { return std::vector{done(id + 2, 100)}; },
            "DONE of an operation that is not under way"},
        Lie{"AnotherGeneration",
            [](auto id) {
              return std::vector{done(id ^ htole64(std::uint64_t{1} << 32), 0)};
            },
            "DONE of an operation that is not under way"},
        Lie{"Twice",
            [](auto id) {
              return std::vector{done(id, 100), done(id, 100)};
            },
            "DONE of an operation that is not under way"},
        Lie{"MoreBytes", [](auto id) { return std::vector{done(id, 101)}; },
            "DONE of more bytes than it was to move"},
        Lie{"MoreBytesAndAnError",
            [](auto id) {
              return std::vector{done(id, 101, LANECALL_ERR_DMA)};
            },
            "DONE of more bytes than it was to move"},
        Lie{"FewerBytes", [](auto id) { return std::vector{done(id, 99)}; },
            "DONE of fewer bytes than it was to move, and no error"},
        Lie{"UnknownError",
            [](auto id) {
              return std::vector{done(id, 0, LANECALL_ERR_RESET)};
            },
            "DONE with an unknown error"},
        Lie{"Nothing", [](auto) { return std::vector<lanecall_dma_done>(); },
            "DONE of another length than it says"}),
    [](const auto& info) { return info.param.name; });

class CardDmaPacketTest : public CardDmaTest {
 protected:
  void expectBreach(const lanecall_card_frame& frame, std::size_t more,
                    const char* reason) {
    std::vector<std::uint8_t> bytes(sizeof frame + more);
    std::memcpy(bytes.data(), &frame, sizeof frame);
    far.sendBytes(bytes.data(), bytes.size());
    far.expectEnded();
    EXPECT_EQ(log->count(reason), 1) << reason;
  }

  static lanecall_card_frame doneFrame(std::uint32_t operations,
                                       std::uint32_t extents = 0) {
    auto frame = test::CardDevice::frame(LANECALL_CARD_DONE);
    frame.batch.operations = htole32(operations);
    frame.batch.extents = htole32(extents);
    return frame;
  }
};

TEST_F(CardDmaPacketTest, DoneThatIsShorterThanItSays) {
  connect();
  expectBreach(doneFrame(2), sizeof(lanecall_dma_done),
               "DONE of another length");
}
TEST_F(CardDmaPacketTest, DoneThatIsLongerThanItSays) {
  connect();
  expectBreach(doneFrame(1), sizeof(lanecall_dma_done) + 1,
               "DONE of another length");
}
TEST_F(CardDmaPacketTest, DoneWhoseLengthWouldWrap) {
  connect();
  expectBreach(doneFrame(0xaaaaaaab), 8, "DONE of another length");
}
TEST_F(CardDmaPacketTest, DoneWithExtents) {
  connect();
  expectBreach(doneFrame(1, 1), sizeof(lanecall_dma_done),
               "DONE of another length");
}
TEST_F(CardDmaPacketTest, DoneThatIsTooLong) {
  connect();
  expectBreach(doneFrame(3000), 3000 * sizeof(lanecall_dma_done),
               "a packet that is no frame");
}
TEST_F(CardDmaPacketTest, AnotherFrameWithMoreBehindIt) {
  connect();
  expectBreach(test::CardDevice::frame(LANECALL_CARD_CLOSE, 1), 24,
               "a packet that is no frame");
}
TEST_F(CardDmaPacketTest, DoneWithoutTheFeature) {
  far.greet();
  expectBreach(doneFrame(1), 0, "DONE without FEATURE_DMA");
}
TEST_F(CardDmaPacketTest, HelloThatTakesNoOperation) {
  auto hello = far.helloFrame();
  hello.greeting.features = htole64(LANECALL_CARD_FEATURE_DMA);
  far.send(hello, {far.memory()});
  far.expectEnded();
  EXPECT_EQ(log->count("a device that takes no DMA operation"), 1);
}

// ---- Many at a time

// Threads submit what they like on channels of their own, a device answers in
// any order.
TEST_F(CardDmaTest, EveryOperationOfManyThreadsIsDoneOnce) {
  constexpr std::size_t kThreads = 3, kBatches = 200;
  const std::uint64_t seed = test::announcedSeed();
  connect(50);
  std::vector<Device> devices{device};
  while (devices.size() < kThreads) devices.push_back(open());

  std::thread answering([&] {
    std::mt19937 random(static_cast<unsigned>(seed));
    std::vector<lanecall_dma_done> under;
    for (;;) {
      if (under.empty() || far.isReadable()) {
        const auto packet = far.receiveDma();
        if (!packet) break;
        auto extent = packet->extents.begin();
        for (const auto& operation : packet->operations) {
          const auto end = extent + le32toh(operation.extents);
          under.push_back(done(operation.id, bytesOf({extent, end})));
          extent = end;
        }
        EXPECT_LE(under.size(), 50u);
      }
      std::shuffle(under.begin(), under.end(), random);
      const std::size_t count = 1 + random() % under.size();
      const auto from = under.end() - static_cast<std::ptrdiff_t>(count);
      far.sendDone({from, under.end()});
      under.erase(from, under.end());
    }
    EXPECT_TRUE(under.empty());
  });

  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t, own = devices[t]] {
      std::mt19937 random(static_cast<unsigned>(seed + t + 1));
      std::vector<std::unique_ptr<Outcome>> outcomes;
      std::vector<std::size_t> sizes;
      for (std::size_t i = 0; i < kBatches; ++i) {
        sizes.push_back(1 + random() % 30);
        outcomes.push_back(std::make_unique<Outcome>(sizes.back()));
        own->submit(fills(sizes.back(), 1 + random() % 100),
                    outcomes.back()->callback());
        if (random() % 4 == 0) outcomes.back()->wait();
      }
      for (std::size_t i = 0; i < kBatches; ++i) {
        outcomes[i]->wait();
        EXPECT_TRUE(outcomes[i]->eachOnce(sizes[i]));
      }
    });
  for (auto& thread : threads) thread.join();
  port.reset();
  answering.join();
}

}  // namespace
}  // namespace lanecall
