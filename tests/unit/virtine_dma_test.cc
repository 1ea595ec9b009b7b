// SPDX-License-Identifier: Apache-2.0
//
// VirtineCleanup's handler with memory by reference, on a device of the test's.
#include "virtine_cleanup/virtine_dma.h"

#include <gtest/gtest.h>
#include <lanecall/after_answer.h>

#include <atomic>
#include <cstring>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "../fake/fake_card_device.h"
#include "../seed.h"
#include "random.h"
#include "virtine_cleanup/virtine_handler.h"

namespace lanecall {
namespace {

using namespace virtine;

constexpr int kPatienceMs = 60'000;  // met only by a test that hangs
constexpr std::size_t kGuard = 64;

Extent extent(std::int64_t offset, std::int64_t length) {
  Extent e;
  e.offset = offset;
  e.length = length;
  return e;
}

Memory regionOf(const RegionReference& reference) {
  idl::RegionReference region;
  region.device = static_cast<std::int32_t>(reference.device);
  region.key = static_cast<std::int64_t>(reference.key);
  region.offset = static_cast<std::int64_t>(reference.offset);
  region.length = static_cast<std::int64_t>(reference.bytes);
  Memory memory;
  memory.__set_region(region);
  return memory;
}

Memory bytesOf(const std::string& text) {
  Memory memory;
  memory.__set_bytes(text);
  return memory;
}

// Counts batches, and spoils memory before it is read back.
class Device : public test::FakeCardDevice {
 public:
  using FakeCardDevice::FakeCardDevice;

  void submit(DmaBatch batch, DmaCallback done) override {
    ++batches;
    if (batch.operations().at(0).type == LANECALL_DMA_READ) {
      if (std::uint8_t* byte = spoilt.exchange(nullptr)) *byte ^= 1;
      freeAtRead = space().freeBytes;
    }
    FakeCardDevice::submit(std::move(batch), std::move(done));
  }

  std::atomic<int> batches{0};
  std::atomic<std::uint64_t> freeAtRead{0};
  std::atomic<std::uint8_t*> spoilt{nullptr};
};

// A virtine's memory between guards, lent.
struct Lent {
  Lent(Device& device, std::size_t bytes)
      : bytes_(bytes + 2 * kGuard, 0xee),
        memory(std::span(bytes_).subspan(kGuard, bytes)),
        region(device.lend(memory)) {}

  std::string text() const { return {memory.begin(), memory.end()}; }
  bool hasGuards() const {
    for (std::size_t i = 0; i < kGuard; ++i)
      if (bytes_[i] != 0xee || bytes_[bytes_.size() - 1 - i] != 0xee)
        return false;
    return true;
  }

  std::vector<std::uint8_t> bytes_;
  std::span<std::uint8_t> memory;
  RegionReference region;
};

class VirtineDmaTest : public ::testing::Test {
 protected:
  void TearDown() override {
    handler.reset();
    settle(*device);
    EXPECT_TRUE(std::all_of(lent.begin(), lent.end(), [](const auto& one) {
      return one->hasGuards();
    })) << "something was written outside";
  }

  // All that a device had under way is done, and has let go of everything: of
  // the device, too, which must not go in its own thread.
  static void settle(Device& device) {
    device.release();
    std::uint8_t byte = 0;
    DmaBatch batch;
    batch.fill(device.lend(std::span(&byte, 1)), 0);
    device.start(std::move(batch)).wait();
  }

  Stats stats() {
    Stats s;
    handler->stats(s);
    return s;
  }

  SnapshotId registered(const Memory& image) {
    Snapshot snapshot;
    handler->registerSnapshot(snapshot, image, false);
    return snapshot.id;
  }

  Lent& lend(std::size_t bytes) {
    lent.push_back(std::make_unique<Lent>(*device, bytes));
    return *lent.back();
  }

  AttachmentId attach(const Lent& memory, SnapshotId snapshot) {
    return handler->attach(regionOf(memory.region), snapshot);
  }

  static CleanRequest request(AttachmentId attachment,
                              std::vector<Extent> dirty = {}) {
    CleanRequest r;
    r.attachment = attachment;
    if (!dirty.empty()) r.__set_dirty(dirty);
    return r;
  }

  CleanResult clean(const CleanRequest& r) {
    CleanResult result;
    handler->clean(result, r);
    return result;
  }

  CleanFault::type faultOf(const CleanRequest& r) {
    try {
      clean(r);
    } catch (const CleanFailed& failed) {
      EXPECT_FALSE(failed.reason.empty());
      return failed.fault;
    }
    return static_cast<CleanFault::type>(0);
  }

  std::vector<Ticket> submit(const std::vector<CleanRequest>& requests) {
    std::vector<Ticket> tickets;
    handler->submit(tickets, requests);
    return tickets;
  }

  std::vector<Completion> reap(int atLeast, int timeoutMs = kPatienceMs) {
    std::vector<Completion> completions;
    handler->reap(completions, atLeast, 1 << 20, timeoutMs);
    return completions;
  }

  std::shared_ptr<Device> device = std::make_shared<Device>();
  std::shared_ptr<VirtineStore> store =
      std::make_shared<VirtineStore>(VirtineLimits{});
  std::unique_ptr<VirtineHandler> handler =
      std::make_unique<VirtineHandler>(store, device);
  std::vector<std::unique_ptr<Lent>> lent;
};

TEST_F(VirtineDmaTest, InfoSaysWhatTheCardHas) {
  Info info;
  handler->info(info);
  EXPECT_TRUE(info.byReference);
  EXPECT_EQ(info.cardBytes, 64 << 20);
  EXPECT_EQ(info.cardBytesFree, 64 << 20);
  EXPECT_EQ(info.maxMemoryBytes, 1 << 30);
}

TEST_F(VirtineDmaTest, CleanWritesTheSnapshotAndZeroesAboveIt) {
  Lent& memory = lend(8);
  auto attachment = attach(memory, registered(bytesOf("abcde")));
  CleanResult result = clean(request(attachment));
  EXPECT_EQ(memory.text(), std::string("abcde\0\0\0", 8));
  EXPECT_EQ(result.restored, 5);
  EXPECT_EQ(result.zeroed, 3);
  EXPECT_FALSE(result.__isset.memory);
  EXPECT_FALSE(result.__isset.checksum);
}

TEST_F(VirtineDmaTest, OnlyDirtyExtentsAreWritten) {
  Lent& memory = lend(8);
  auto attachment = attach(memory, registered(bytesOf("abcde")));
  std::memset(memory.memory.data(), 'X', 8);
  clean(request(attachment, {extent(6, 1), extent(4, 2), extent(0, 1)}));
  EXPECT_EQ(memory.text(), std::string("aXXXe\0\0X", 8));
}

TEST_F(VirtineDmaTest, AnEmptyListCleansNothing) {
  Lent& memory = lend(8);
  CleanRequest r = request(attach(memory, registered(bytesOf("abcde"))));
  r.__set_dirty({});
  r.__set_verify(true);
  const CleanResult result = clean(r);
  EXPECT_EQ(result.restored, 0);
  submit({r, r});
  EXPECT_EQ(reap(2).size(), 2u);
  EXPECT_EQ(memory.text(), std::string(8, '\xee'));
}

TEST_F(VirtineDmaTest, ASnapshotIsReadFromARegion) {
  Random random(1);
  Lent& image = lend(3'000'000);  // several pieces
  random.fill(image.memory);
  Snapshot byReference;
  handler->registerSnapshot(byReference, regionOf(image.region), false);
  Snapshot inMessage;
  handler->registerSnapshot(inMessage, bytesOf(image.text()), false);
  EXPECT_EQ(byReference.bytes, 3'000'000);
  EXPECT_EQ(byReference.checksum, inMessage.checksum);
  EXPECT_EQ(stats().snapshotBytes, 3'000'000) << "stored once";
  EXPECT_EQ(device->buffersInUse(), 0u);
}

TEST_F(VirtineDmaTest, ASnapshotThatCannotBeReadSaysWhy) {
  Lent& image = lend(100);
  device->takeBack(image.region);
  Snapshot snapshot;
  EXPECT_THROW(
      handler->registerSnapshot(snapshot, regionOf(image.region), false),
      CleanFailed);
  for (auto [offset, length] : {std::pair{-1, 5}, {0, 0}, {0, -1}}) {
    Memory bad = regionOf(image.region);
    bad.region.offset = offset;
    bad.region.length = length;
    EXPECT_THROW(handler->registerSnapshot(snapshot, bad, false), BadMemory);
    EXPECT_THROW(handler->attach(bad, registered(bytesOf("x"))), BadMemory);
  }
  Memory vast = regionOf(image.region);
  vast.region.length = std::int64_t{1} << 40;
  EXPECT_THROW(handler->registerSnapshot(snapshot, vast, false), QuotaExceeded);
  EXPECT_THROW(handler->attach(vast, registered(bytesOf("x"))), QuotaExceeded);
}

TEST_F(VirtineDmaTest, AnImageThatDoesNotComeIsNotWaitedForForEver) {
  Lent& memory = lend(1000);
  device->hold();
  try {
    fetch(*device, memory.region, std::chrono::milliseconds(1));
    FAIL() << "nothing was read";
  } catch (const CleanFailed& failed) {
    EXPECT_EQ(failed.fault, CleanFault::DMA);
  }
}

TEST_F(VirtineDmaTest, AttachmentsShareOneCopyOnTheCard) {
  const SnapshotId snapshot = registered(bytesOf("abcde"));
  const SnapshotId same = registered(bytesOf("abcde"));
  const AttachmentId one = attach(lend(8), snapshot);
  const AttachmentId two = attach(lend(8), same);
  {
    VirtineHandler other(store, device);
    other.attach(regionOf(lend(8).region), snapshot);
    EXPECT_EQ(device->buffersInUse(), 1u);
  }
  handler->detach(one);
  EXPECT_EQ(device->buffersInUse(), 1u);
  handler->detach(two);
  EXPECT_EQ(device->buffersInUse(), 0u);
}

TEST_F(VirtineDmaTest, EachCardHasACopyOfItsOwn) {
  const SnapshotId snapshot = registered(bytesOf("abcde"));
  attach(lend(8), snapshot);
  auto second = std::make_shared<Device>();
  VirtineHandler other(store, second);
  Lent memory(*second, 8);
  CleanRequest r = request(other.attach(regionOf(memory.region), snapshot));
  EXPECT_EQ(device->buffersInUse(), 1u);
  EXPECT_EQ(second->buffersInUse(), 1u);
  clean(r);  // by another connection, of another device
  EXPECT_EQ(memory.text(), std::string("abcde\0\0\0", 8));
  settle(*second);
}

TEST_F(VirtineDmaTest, ACardThatIsFullSaysSo) {
  device = std::make_shared<Device>(10'000);
  handler = std::make_unique<VirtineHandler>(store, device);
  const SnapshotId snapshot = registered(bytesOf(std::string(10'001, 'x')));
  try {
    attach(lend(20'000), snapshot);
    FAIL();
  } catch (const OutOfCardMemory& error) {
    EXPECT_EQ(error.bytes, 10'001);
    EXPECT_EQ(error.free, 10'000);
  }
  Snapshot result;
  EXPECT_THROW(
      handler->registerSnapshot(result, regionOf(lend(20'000).region), false),
      OutOfCardMemory);
  EXPECT_EQ(stats().attachments, 0);
}

TEST_F(VirtineDmaTest, MemoryIsNotSentAsWell) {
  CleanRequest r = request(attach(lend(3), registered(bytesOf("abc"))));
  r.__set_memory(bytesOf("XXX"));
  EXPECT_THROW(clean(r), BadMemory);
  EXPECT_THROW(submit({r}), BadMemory);
  EXPECT_THROW(clean(request(r.attachment, {extent(2, 2)})), BadExtent);
}

TEST_F(VirtineDmaTest, EveryFaultIsNamed) {
  Lent& memory = lend(8);
  const CleanRequest r = request(attach(memory, registered(bytesOf("abcde"))));
  const std::pair<DmaError, CleanFault::type> faults[] = {
      {DmaError::kAccess, CleanFault::REVOKED},
      {DmaError::kRevoked, CleanFault::REVOKED},
      {DmaError::kRange, CleanFault::DMA},
      {DmaError::kNotMemory, CleanFault::DMA},
      {DmaError::kResources, CleanFault::DMA},
      {DmaError::kReset, CleanFault::DEVICE_LOST}};
  for (auto [error, fault] : faults) {
    device->failNext(error);
    EXPECT_EQ(faultOf(r), fault);
  }
  clean(r);  // none of them ends the attachment
  device->takeBack(memory.region);
  EXPECT_EQ(faultOf(r), CleanFault::REVOKED);
  EXPECT_EQ(stats().failedCleans, 7);
  EXPECT_EQ(stats().cleans, 1);
}

// ---- Verify

TEST_F(VirtineDmaTest, VerifyReadsBackInTheOrderListed) {
  Lent& memory = lend(1'000'000);
  Random random(1);
  const std::string image = random.bytes(600'000);
  std::string expected = image;
  expected.resize(1'000'000);
  CleanRequest r = request(attach(memory, registered(bytesOf(image))));
  r.__set_verify(true);
  EXPECT_EQ(clean(r).checksum, checksumOf(expected));
  EXPECT_EQ(memory.text(), expected);
  r.__set_dirty({extent(599'000, 400'000), extent(3, 7)});
  EXPECT_EQ(clean(r).checksum, checksumOf(expected.substr(599'000, 400'000) +
                                          expected.substr(3, 7)));
}

TEST_F(VirtineDmaTest, VerifyFindsASpoiltByte) {
  Lent& memory = lend(1'000'000);
  CleanRequest r =
      request(attach(memory, registered(bytesOf(std::string(600'000, 'x')))));
  r.__set_verify(true);
  for (std::size_t at : {0, 599'999, 600'000, 999'999}) {
    device->spoilt = &memory.memory[at];
    EXPECT_EQ(faultOf(r), CleanFault::VERIFY) << at;
  }
  clean(r);
}

TEST_F(VirtineDmaTest, VerifyMakesDoWithLittleCardMemory) {
  device = std::make_shared<Device>(15'000);
  handler = std::make_unique<VirtineHandler>(store, device);
  const std::string image(5'000, 'x');
  CleanRequest r = request(attach(lend(100'000), registered(bytesOf(image))));
  r.__set_verify(true);
  EXPECT_EQ(clean(r).checksum, checksumOf(image + std::string(95'000, '\0')));
  settle(*device);
  auto rest = device->allocate(9'000);
  EXPECT_EQ(faultOf(r), CleanFault::DMA);
  EXPECT_EQ(device->buffersInUse(), 2u);
}

TEST_F(VirtineDmaTest, ManyThatVerifyLeaveCardMemoryToOthers) {
  device = std::make_shared<Device>(1 << 20);
  handler = std::make_unique<VirtineHandler>(store, device);
  const SnapshotId snapshot = registered(bytesOf("x"));
  std::vector<CleanRequest> requests;
  for (int i = 0; i < 20; ++i) {
    requests.push_back(request(attach(lend(100'000), snapshot)));
    requests.back().__set_verify(true);
  }
  submit(requests);
  for (const virtine::Completion& completion : reap(20))
    EXPECT_FALSE(completion.__isset.failure);
  EXPECT_GT(device->freeAtRead, 1u << 19);
}

// ---- Tickets

TEST_F(VirtineDmaTest, ABatchOfRequestsIsOneBatchOfTheDevices) {
  const SnapshotId snapshot = registered(bytesOf(std::string(1000, 'x')));
  std::vector<CleanRequest> requests;
  for (int i = 0; i < 64; ++i)
    requests.push_back(request(attach(lend(2000), snapshot)));
  submit(requests);
  EXPECT_EQ(reap(64).size(), 64u);
  EXPECT_EQ(device->batches, 1);
}

TEST_F(VirtineDmaTest, RequestsForOneAttachmentRunOneAfterTheOther) {
  Lent& memory = lend(8);
  const AttachmentId attachment = attach(memory, registered(bytesOf("abcde")));
  device->hold();
  auto tickets =
      submit({request(attachment), request(attachment, {extent(0, 1)}),
              request(attachment)});
  EXPECT_EQ(device->batches, 1);
  EXPECT_TRUE(reap(1, 0).empty());
  EXPECT_EQ(stats().tickets, 3);
  device->release();
  std::vector<Ticket> ended;
  for (const Completion& completion : reap(3)) {
    EXPECT_TRUE(completion.__isset.result);
    ended.push_back(completion.ticket);
  }
  EXPECT_EQ(ended, tickets);
  EXPECT_EQ(device->batches, 3);
  EXPECT_EQ(stats().tickets, 0);
}

TEST_F(VirtineDmaTest, ReapWaitsForAsManyAsItWasAskedFor) {
  Lent& first = lend(8);
  Lent& second = lend(8);
  const SnapshotId snapshot = registered(bytesOf("abcde"));
  device->hold();
  submit({request(attach(first, snapshot)), request(attach(second, snapshot))});
  EXPECT_TRUE(reap(0).empty());
  EXPECT_TRUE(reap(1, 1).empty()) << "the time has passed";
  auto reaping = std::async(std::launch::async, [&] { return reap(5); });
  device->release();
  EXPECT_EQ(reaping.get().size(), 2u) << "no more are outstanding";
}

TEST_F(VirtineDmaTest, CancelStopsWhatHasNotBegun) {
  Lent& memory = lend(8);
  const AttachmentId attachment = attach(memory, registered(bytesOf("abcde")));
  device->hold();
  auto tickets = submit({request(attachment, {extent(0, 1)}),
                         request(attachment, {extent(1, 1)}),
                         request(attachment, {extent(2, 1)})});
  EXPECT_FALSE(handler->cancel(tickets[0])) << "it is under way";
  EXPECT_TRUE(handler->cancel(tickets[1]));
  EXPECT_TRUE(handler->cancel(tickets[1]));
  device->release();
  auto completions = reap(3);
  ASSERT_EQ(completions.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(completions[i].ticket, tickets[i]) << "in their order";
    EXPECT_EQ(completions[i].__isset.failure, i == 1);
  }
  EXPECT_EQ(completions[1].failure.fault, CleanFault::CANCELLED);
  EXPECT_EQ(memory.text(), std::string("a\xee") + "c" + std::string(5, '\xee'));
  EXPECT_EQ(stats().cancelled, 1);
}

TEST_F(VirtineDmaTest, ACancelledTicketThatHasEndedStaysCancelled) {
  const AttachmentId attachment = attach(lend(8), registered(bytesOf("abcde")));
  device->hold();
  auto tickets = submit({request(attachment), request(attachment)});
  handler->cancel(tickets[1]);
  device->release();
  handler->detach(attachment);
  EXPECT_TRUE(handler->cancel(tickets[1]));
  EXPECT_FALSE(handler->cancel(tickets[0]));
  EXPECT_EQ(reap(2).size(), 2u);
}

TEST_F(VirtineDmaTest, DetachCancelsTheRestAndWaitsForWhatIsUnderWay) {
  Lent& memory = lend(8);
  const AttachmentId attachment = attach(memory, registered(bytesOf("abcde")));
  device->hold();
  submit({request(attachment, {extent(0, 4)}), request(attachment)});
  auto detaching =
      std::async(std::launch::async, [&] { handler->detach(attachment); });
  EXPECT_EQ(detaching.wait_for(std::chrono::milliseconds(20)),
            std::future_status::timeout);
  device->release();
  detaching.get();
  EXPECT_EQ(memory.text(), "abcd" + std::string(4, '\xee'));
  auto completions = reap(2);
  ASSERT_EQ(completions.size(), 2u);
  EXPECT_TRUE(completions[0].__isset.result);
  EXPECT_EQ(completions[1].failure.fault, CleanFault::CANCELLED);
  settle(*device);  // its thread may be about to let go
  EXPECT_EQ(device->buffersInUse(), 0u);
}

TEST_F(VirtineDmaTest, WhatIsUnderWayOutlivesItsConnection) {
  Lent& memory = lend(8);
  const AttachmentId attachment = attach(memory, registered(bytesOf("abcde")));
  device->hold();
  submit({request(attachment, {extent(0, 4)}), request(attachment)});
  handler.reset();
  EXPECT_EQ(store->stats().attachments, 0);
  EXPECT_EQ(store->stats().snapshots, 0);
  EXPECT_EQ(device->buffersInUse(), 1u) << "the device reads it";
  device->release();
  // A round trip through the device's thread.
  handler = std::make_unique<VirtineHandler>(store, device);
  clean(request(attach(lend(8), registered(bytesOf("x")))));
  EXPECT_EQ(memory.text(), "abcd" + std::string(4, '\xee'));
  EXPECT_EQ(store->stats().tickets, 0);
}

TEST_F(VirtineDmaTest, TheEndOfAConnectionCancelsItsRequestsForOthersMemory) {
  Lent& memory = lend(8);
  const AttachmentId attachment = attach(memory, registered(bytesOf("abcde")));
  device->hold();
  submit({request(attachment, {extent(0, 1)})});
  {
    VirtineHandler other(store, device);
    std::vector<Ticket> tickets;
    other.submit(tickets, {request(attachment)});
  }
  submit({request(attachment, {extent(2, 1)})});
  device->release();
  EXPECT_EQ(reap(2).size(), 2u);
  EXPECT_EQ(memory.text(), std::string("a\xee") + "c" + std::string(5, '\xee'));
}

TEST_F(VirtineDmaTest, WhatIsSubmittedEndsIfItsAnswerCannotBeSent) {
  const SnapshotId snapshot = registered(bytesOf(std::string(1000, 'x')));
  const CleanRequest r = request(attach(lend(2000), snapshot));
  {
    AnswerHook answer;  // and nobody runs it
    submit({r, r, r});
  }
  EXPECT_EQ(stats().tickets, 3);
  handler.reset();
  settle(*device);
  EXPECT_EQ(store->stats().tickets, 0);
  EXPECT_EQ(device->buffersInUse(), 0u);
}

TEST_F(VirtineDmaTest, ALostDeviceEndsEveryTicket) {
  const SnapshotId snapshot = registered(bytesOf("abcde"));
  std::vector<CleanRequest> requests;
  for (int i = 0; i < 4; ++i) {
    const CleanRequest r = request(attach(lend(8), snapshot));
    // So many that following each other by recursion would be noticed.
    for (int k = 0; k < 10'000; ++k) requests.push_back(r);
  }
  device->hold();
  auto tickets = submit(requests);
  device->lose();
  std::set<Ticket> ended;
  for (const Completion& completion : reap(int(tickets.size()))) {
    EXPECT_EQ(completion.failure.fault, CleanFault::DEVICE_LOST);
    EXPECT_TRUE(ended.insert(completion.ticket).second);
  }
  EXPECT_EQ(ended.size(), tickets.size());
  // Also those that come later.
  submit({requests[0], requests[0]});
  for (const Completion& completion : reap(2))
    EXPECT_EQ(completion.failure.fault, CleanFault::DEVICE_LOST);
  EXPECT_EQ(faultOf(requests[0]), CleanFault::DEVICE_LOST);
  EXPECT_EQ(stats().failedCleans, int(tickets.size()) + 3);
}

// ---- All together

// A connection with virtines of its own that cleans at random and compares
// every byte with a model.
class RandomClient {
 public:
  RandomClient(std::shared_ptr<VirtineStore> store,
               std::shared_ptr<Device> device, std::uint64_t seed)
      : random_(seed), handler_(std::move(store), device) {
    const std::string image = random_.bytes(1 + random_.below(5000));
    Snapshot snapshot;
    handler_.registerSnapshot(snapshot, bytesOf(image), false);
    for (int i = 0; i < 5; ++i) {
      const std::size_t bytes = image.size() + random_.below(5000);
      auto virtine = std::make_unique<Virtine>(*device, bytes);
      virtine->clean = image;
      virtine->clean.resize(bytes);
      virtine->attachment =
          handler_.attach(regionOf(virtine->lent.region), snapshot.id);
      virtines_.push_back(std::move(virtine));
    }
  }

  void run(int batches) {
    for (int batch = 0; batch < batches; ++batch) {
      std::map<Ticket, Asked> asked = submitSome();
      while (!asked.empty()) reapSome(asked);
    }
  }

 private:
  struct Virtine {
    Virtine(Device& device, std::size_t bytes) : lent(device, bytes) {}
    Lent lent;
    std::string clean;
    AttachmentId attachment = 0;
  };
  struct Asked {
    Virtine* virtine;
    std::vector<Extent> dirty;
    bool isCancelled = false;
  };

  // Extents that do not overlap, dirtied.
  std::vector<Extent> dirty(Virtine& virtine) {
    std::vector<Extent> extents;
    const std::size_t size = virtine.lent.memory.size();
    for (std::size_t at = random_.below(size); at < size;
         at += random_.below(500)) {
      const std::size_t length =
          std::min<std::size_t>(1 + random_.below(900), size - at);
      random_.fill(virtine.lent.memory.subspan(at, length));
      extents.push_back(extent(at, length));
      at += length;
    }
    return extents;
  }

  std::map<Ticket, Asked> submitSome() {
    std::vector<CleanRequest> requests;
    std::vector<Asked> wanted;
    for (const auto& virtine : virtines_) {
      if (random_.below(4) == 0) continue;
      CleanRequest request;
      request.attachment = virtine->attachment;
      Asked one{virtine.get(), dirty(*virtine)};
      request.__set_dirty(one.dirty);
      if (random_.below(3) == 0) request.__set_verify(true);
      requests.push_back(request);
      wanted.push_back(one);
    }
    std::vector<Ticket> tickets;
    handler_.submit(tickets, requests);
    EXPECT_EQ(tickets.size(), requests.size());
    std::map<Ticket, Asked> asked;
    for (std::size_t i = 0; i < tickets.size(); ++i) {
      if (random_.below(8) == 0)
        wanted[i].isCancelled = handler_.cancel(tickets[i]);
      EXPECT_TRUE(asked.emplace(tickets[i], wanted[i]).second);
    }
    return asked;
  }

  void reapSome(std::map<Ticket, Asked>& asked) {
    std::vector<Completion> completions;
    const int most = 1 + int(random_.below(asked.size()));
    handler_.reap(completions, most, most, kPatienceMs);
    ASSERT_FALSE(completions.empty()) << "a ticket was lost";
    for (const Completion& completion : completions) {
      auto found = asked.find(completion.ticket);
      ASSERT_NE(found, asked.end()) << "unknown, or completed twice";
      check(found->second, completion);
      asked.erase(found);
    }
  }

  void check(const Asked& asked, const Completion& completion) {
    EXPECT_EQ(completion.__isset.failure, asked.isCancelled);
    EXPECT_TRUE(asked.virtine->lent.hasGuards());
    if (asked.isCancelled) return;
    const std::string now = asked.virtine->lent.text();
    for (const Extent& e : asked.dirty)
      ASSERT_EQ(now.compare(e.offset, e.length, asked.virtine->clean, e.offset,
                            e.length),
                0);
  }

  Random random_;
  VirtineHandler handler_;
  std::vector<std::unique_ptr<Virtine>> virtines_;
};

TEST_F(VirtineDmaTest, RandomCleansOfSeveralConnections) {
  const std::uint64_t seed = test::announcedSeed();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back(
        [&, i] { RandomClient(store, device, seed + i).run(200); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stats().snapshots, 0);
  EXPECT_EQ(stats().attachments, 0);
  EXPECT_EQ(stats().tickets, 0);
  EXPECT_EQ(device->buffersInUse(), 0u);
}

}  // namespace
}  // namespace lanecall
