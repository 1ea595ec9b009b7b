// SPDX-License-Identifier: Apache-2.0
//
// VirtineCleanup's handler, called as its generated processor would.
#include <gtest/gtest.h>

#include <limits>

#include "virtine_cleanup/virtine_extents.h"
#include "virtine_cleanup/virtine_handler.h"
#include "virtine_shell.h"

namespace lanecall {
namespace {

using namespace virtine;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

Extent extent(std::int64_t offset, std::int64_t length) {
  Extent e;
  e.offset = offset;
  e.length = length;
  return e;
}

Memory bytesOf(const std::string& text) {
  Memory memory;
  memory.__set_bytes(text);
  return memory;
}

Memory sizeOf(std::int64_t bytes) {
  Memory memory;
  memory.__set_inlineSize(bytes);
  return memory;
}

struct BadCase {
  std::vector<Extent> extents;
  ExtentFault::type fault;
  int index;
};

TEST(ExtentsTest, EachFaultIsNamedWithItsPlace) {
  const BadCase cases[] = {
      {{extent(0, 0)}, ExtentFault::EMPTY, 0},
      {{extent(1, 1), extent(-1, 5)}, ExtentFault::EMPTY, 1},
      {{extent(0, -1)}, ExtentFault::EMPTY, 0},
      {{extent(kMax, 1)}, ExtentFault::OVERFLOW, 0},
      {{extent(1, kMax)}, ExtentFault::OVERFLOW, 0},
      {{extent(0, 101)}, ExtentFault::OUTSIDE, 0},
      {{extent(100, 1)}, ExtentFault::OUTSIDE, 0},
      {{extent(0, kMax)}, ExtentFault::OUTSIDE, 0},
      {{extent(10, 10), extent(19, 1)}, ExtentFault::OVERLAP, 1},
      {{extent(19, 2), extent(10, 10)}, ExtentFault::OVERLAP, 0},
      {{extent(5, 1), extent(5, 1)}, ExtentFault::OVERLAP, 1},
      {{extent(0, 100), extent(50, 1)}, ExtentFault::OVERLAP, 1}};
  for (const BadCase& bad : cases) {
    try {
      checkExtents(bad.extents, 100);
      ADD_FAILURE() << "accepted, fault " << bad.fault;
    } catch (const BadExtent& error) {
      EXPECT_EQ(error.fault, bad.fault);
      EXPECT_EQ(error.index, bad.index);
    }
  }
}

TEST(ExtentsTest, TouchingIsNotOverlapping) {
  EXPECT_EQ(checkExtents({extent(50, 50), extent(0, 50)}, 100), 100);
  EXPECT_EQ(checkExtents({}, 100), 0);
}

class VirtineTest : public ::testing::Test {
 protected:
  Stats stats() {
    Stats s;
    handler.stats(s);
    return s;
  }

  virtine::Snapshot registered(const Memory& image, bool keep = false) {
    return registeredBy(handler, image, keep);
  }

  static virtine::Snapshot registeredBy(VirtineHandler& by, const Memory& image,
                                        bool keep = false) {
    virtine::Snapshot snapshot;
    by.registerSnapshot(snapshot, image, keep);
    return snapshot;
  }

  static CleanRequest request(AttachmentId attachment,
                              const std::string& memory) {
    CleanRequest r;
    r.attachment = attachment;
    r.__set_memory(bytesOf(memory));
    return r;
  }

  AttachmentId attached(const std::string& image, std::int64_t bytes) {
    return handler.attach(sizeOf(bytes), registered(bytesOf(image)).id);
  }

  std::vector<Ticket> submitted(const std::vector<CleanRequest>& requests) {
    std::vector<Ticket> tickets;
    handler.submit(tickets, requests);
    return tickets;
  }

  // With a bound that only a test that hangs meets.
  std::vector<Completion> reaped(int atLeast, int atMost) {
    std::vector<Completion> completions;
    handler.reap(completions, atLeast, atMost, 60'000);
    return completions;
  }

  VirtineLimits limits{.snapshotBytes = 100,
                       .snapshots = 3,
                       .attachments = 4,
                       .memoryBytes = 1000,
                       .tickets = 5,
                       .extents = 20,
                       .answerBytes = 2000};
  std::shared_ptr<VirtineStore> store = std::make_shared<VirtineStore>(limits);
  VirtineHandler handler{store};
};

TEST_F(VirtineTest, CleanRestoresTheSnapshotAndZeroesAboveIt) {
  auto attachment = handler.attach(sizeOf(8), registered(bytesOf("abcde")).id);
  CleanResult result;
  handler.clean(result, request(attachment, "XXXXXXXX"));
  EXPECT_EQ(result.memory.bytes, std::string("abcde\0\0\0", 8));
  EXPECT_EQ(result.restored, 5);
  EXPECT_EQ(result.zeroed, 3);
}

TEST_F(VirtineTest, ExtentsAreCleanedInTheirOrder) {
  auto attachment = handler.attach(sizeOf(8), registered(bytesOf("abcde")).id);
  auto r = request(attachment, "1234567");
  r.__set_dirty({extent(6, 2), extent(3, 3), extent(0, 2)});
  CleanResult result;
  handler.clean(result, r);
  EXPECT_EQ(result.memory.bytes, std::string("\0\0de\0ab", 7));
  EXPECT_EQ(result.restored, 4);
  EXPECT_EQ(result.zeroed, 3);
}

TEST_F(VirtineTest, AnEmptyListCleansNothing) {
  auto attachment = handler.attach(sizeOf(8), registered(bytesOf("abcde")).id);
  auto r = request(attachment, "");
  r.__set_dirty({});
  CleanResult result;
  handler.clean(result, r);
  EXPECT_EQ(result.memory.bytes, "");
}

TEST_F(VirtineTest, MemoryOfAnotherSizeIsRefusedAndCounted) {
  auto attachment = handler.attach(sizeOf(8), registered(bytesOf("abcde")).id);
  CleanResult result;
  EXPECT_THROW(handler.clean(result, request(attachment, "1234567")),
               BadMemory);
  CleanRequest without;
  without.attachment = attachment;
  EXPECT_THROW(handler.clean(result, without), BadMemory);
  EXPECT_EQ(stats().failedCleans, 2);
  EXPECT_EQ(stats().cleans, 0);
}

TEST_F(VirtineTest, UnknownIdsAreRefused) {
  CleanResult result;
  EXPECT_THROW(handler.dropSnapshot(7), UnknownSnapshot);
  EXPECT_THROW(handler.attach(sizeOf(1), 7), UnknownSnapshot);
  EXPECT_THROW(handler.detach(7), UnknownAttachment);
  EXPECT_THROW(handler.clean(result, request(7, "")), UnknownAttachment);
}

TEST_F(VirtineTest, ASnapshotInUseIsNotDropped) {
  auto snapshot = registered(bytesOf("abc")).id;
  auto attachment = handler.attach(sizeOf(3), snapshot);
  try {
    handler.dropSnapshot(snapshot);
    FAIL();
  } catch (const SnapshotInUse& error) {
    EXPECT_EQ(error.attachments, 1);
  }
  handler.detach(attachment);
  handler.dropSnapshot(snapshot);
  EXPECT_EQ(stats().snapshots, 0);
  EXPECT_EQ(stats().snapshotBytes, 0);
}

TEST_F(VirtineTest, TheMemoryUnionMustFitTheCall) {
  EXPECT_THROW(registered(sizeOf(5)), BadMemory);
  EXPECT_THROW(registered(bytesOf("")), BadMemory);
  EXPECT_THROW(registered(Memory()), BadMemory);
  auto snapshot = registered(bytesOf("abc")).id;
  EXPECT_THROW(handler.attach(bytesOf("abc"), snapshot), BadMemory);
  EXPECT_THROW(handler.attach(sizeOf(2), snapshot), BadMemory);
  EXPECT_THROW(handler.attach(sizeOf(-1), snapshot), BadMemory);
}

TEST_F(VirtineTest, EveryLimitHolds) {
  EXPECT_THROW(registered(bytesOf(std::string(101, 'x'))), QuotaExceeded);
  auto snapshot = registered(bytesOf(std::string(60, 'x'))).id;
  EXPECT_THROW(registered(bytesOf(std::string(41, 'x'))), QuotaExceeded);
  registered(bytesOf("a"));
  registered(bytesOf("b"));
  EXPECT_THROW(registered(bytesOf("c")), QuotaExceeded);
  EXPECT_THROW(handler.attach(sizeOf(1001), snapshot), QuotaExceeded);
  for (int i = 0; i < 4; ++i) handler.attach(sizeOf(1000), snapshot);
  EXPECT_THROW(handler.attach(sizeOf(1000), snapshot), QuotaExceeded);
}

TEST_F(VirtineTest, WhatAConnectionMadeEndsWithIt) {
  SnapshotId shared;
  AttachmentId ours;
  {
    VirtineHandler other(store);
    shared = registeredBy(other, bytesOf("shared")).id;
    registeredBy(other, bytesOf("its own"));
    other.attach(sizeOf(10), shared);
    ours = handler.attach(sizeOf(8), shared);
    EXPECT_EQ(stats().snapshots, 2);
    EXPECT_EQ(stats().attachments, 2);
  }
  // Ours still cleans; nobody else can find the snapshot.
  CleanResult result;
  handler.clean(result, request(ours, "XXXXXXXX"));
  EXPECT_EQ(result.memory.bytes, std::string("shared\0\0", 8));
  EXPECT_THROW(handler.attach(sizeOf(8), shared), UnknownSnapshot);
  EXPECT_EQ(stats().snapshots, 1);
  handler.detach(ours);
  EXPECT_EQ(stats().snapshots, 0);
  EXPECT_EQ(stats().snapshotBytes, 0);
}

TEST_F(VirtineTest, TheSameBytesAreStoredOnce) {
  auto one = registered(bytesOf(std::string(80, 'x')));
  auto two = registered(bytesOf(std::string(80, 'x')));
  EXPECT_NE(one.id, two.id);
  EXPECT_EQ(one.checksum, two.checksum);
  EXPECT_EQ(stats().snapshots, 2);
  EXPECT_EQ(stats().snapshotBytes, 80);
  handler.dropSnapshot(one.id);
  EXPECT_EQ(stats().snapshotBytes, 80);
  auto attachment = handler.attach(sizeOf(80), two.id);
  CleanResult result;
  handler.clean(result, request(attachment, std::string(80, 'y')));
  EXPECT_EQ(result.memory.bytes, std::string(80, 'x'));
  handler.detach(attachment);
  handler.dropSnapshot(two.id);
  EXPECT_EQ(stats().snapshotBytes, 0);
}

TEST_F(VirtineTest, AKeptSnapshotOutlivesItsConnectionUntilItIsDropped) {
  SnapshotId kept;
  {
    VirtineHandler other(store);
    kept = registeredBy(other, bytesOf("kept"), true).id;
  }
  EXPECT_EQ(stats().snapshots, 1);
  handler.detach(handler.attach(sizeOf(8), kept));
  handler.dropSnapshot(kept);
  EXPECT_EQ(stats().snapshots, 0);
}

TEST_F(VirtineTest, ASnapshotsChecksumIsXxh3OfItsBytes) {
  // Known from xxHash's own tests: 64 bits, no seed, of no bytes.
  EXPECT_EQ(checksumOf(""), static_cast<std::int64_t>(0x2d06800538d394c2u));
  auto snapshot = registered(bytesOf("abcde"));
  EXPECT_EQ(snapshot.bytes, 5);
  EXPECT_EQ(snapshot.checksum, checksumOf("abcde"));
}

TEST_F(VirtineTest, VerifyGivesTheChecksumOfWhatWasCleaned) {
  auto attachment = handler.attach(sizeOf(8), registered(bytesOf("abcde")).id);
  auto r = request(attachment, "12345");
  r.__set_dirty({extent(6, 2), extent(0, 3)});
  CleanResult result;
  handler.clean(result, r);
  EXPECT_FALSE(result.__isset.checksum);
  r.__set_verify(true);
  handler.clean(result, r);
  EXPECT_EQ(result.checksum, checksumOf(std::string("\0\0abc", 5)));
}

TEST_F(VirtineTest, RegionsNeedACardPort) {
  Memory region;
  region.__set_region({});
  EXPECT_THROW(registered(region), BadMemory);
  auto snapshot = registered(bytesOf("abc")).id;
  EXPECT_THROW(handler.attach(region, snapshot), BadMemory);
  auto attachment = handler.attach(sizeOf(3), snapshot);
  CleanRequest r;
  r.attachment = attachment;
  r.__set_memory(region);
  CleanResult result;
  EXPECT_THROW(handler.clean(result, r), BadMemory);
  Info info;
  handler.info(info);
  EXPECT_FALSE(info.byReference);
  EXPECT_EQ(info.cardBytes, 0);
  EXPECT_EQ(info.maxMemoryBytes, 1000);
  EXPECT_EQ(info.maxSnapshots, 3);
  EXPECT_EQ(info.maxSnapshotBytes, 100);
  EXPECT_EQ(info.maxAttachments, 4);
  EXPECT_EQ(info.maxTickets, 5);
  EXPECT_EQ(info.maxExtents, 20);
}

TEST_F(VirtineTest, WhatIsKeptLeavesRoomForOthers) {
  virtine::Snapshot kept;
  for (const char* text : {"1", "2"})
    handler.registerSnapshot(kept, bytesOf(text), true);
  EXPECT_THROW(handler.registerSnapshot(kept, bytesOf("3"), true),
               QuotaExceeded);
  EXPECT_NO_THROW(registered(bytesOf("3")));
  handler.dropSnapshot(kept.id);
  EXPECT_THROW(
      handler.registerSnapshot(kept, bytesOf(std::string(50, 'x')), true),
      QuotaExceeded);
  handler.registerSnapshot(kept, bytesOf(std::string(49, 'x')), true);
}

TEST_F(VirtineTest, AConnectionHasAShareOfTheAttachments) {
  limits.attachmentsEach = 2;
  const auto shared = std::make_shared<VirtineStore>(limits);
  VirtineHandler one(shared), other(shared);
  virtine::Info info;
  one.info(info);
  EXPECT_EQ(info.maxAttachments, 2);
  virtine::Snapshot snapshot;
  one.registerSnapshot(snapshot, bytesOf("abc"), true);
  const auto first = one.attach(sizeOf(3), snapshot.id);
  one.attach(sizeOf(3), snapshot.id);
  EXPECT_THROW(one.attach(sizeOf(3), snapshot.id), QuotaExceeded);
  other.attach(sizeOf(3), snapshot.id);
  other.detach(first);  // whoever has an id may use it
  EXPECT_NO_THROW(one.attach(sizeOf(3), snapshot.id));
}

// ---- Tickets

TEST_F(VirtineTest, AllConnectionsTogetherHaveSoManyTickets) {
  limits.attachments = 20;
  limits.allTickets = 6;
  limits.allExtents = 8;
  const auto shared = std::make_shared<VirtineStore>(limits);
  VirtineHandler one(shared), other(shared);
  virtine::Snapshot snapshot;
  one.registerSnapshot(snapshot, bytesOf("abc"), true);
  const auto submit = [&](VirtineHandler& by, int times) {
    const auto attachment = by.attach(sizeOf(3), snapshot.id);
    std::vector<CleanRequest> requests(times, request(attachment, "abc"));
    std::vector<Ticket> tickets;
    by.submit(tickets, requests);
  };
  submit(one, 5);
  EXPECT_THROW(submit(other, 2), QuotaExceeded);
  EXPECT_NO_THROW(submit(other, 1));
  std::vector<Completion> completions;
  one.reap(completions, 5, 5, 60'000);
  EXPECT_EQ(completions.size(), 5U);
  EXPECT_NO_THROW(submit(other, 4));
  {
    VirtineHandler third(shared);
    EXPECT_NO_THROW(submit(third, 1));
    EXPECT_THROW(submit(third, 1), QuotaExceeded);
  }
  EXPECT_NO_THROW(submit(one, 1)) << "the third one's ended with it";
}

TEST_F(VirtineTest, EachTicketCompletesOnceInOrder) {
  auto attachment = attached("abcde", 8);
  auto dirty = request(attachment, "12");
  dirty.__set_dirty({extent(4, 2)});
  auto tickets = submitted({request(attachment, "12345678"), dirty});
  ASSERT_EQ(tickets.size(), 2u);
  EXPECT_NE(tickets[0], tickets[1]);
  EXPECT_EQ(stats().tickets, 2);
  auto completions = reaped(2, 10);
  ASSERT_EQ(completions.size(), 2u);
  EXPECT_EQ(completions[0].ticket, tickets[0]);
  EXPECT_EQ(completions[0].result.memory.bytes, std::string("abcde\0\0\0", 8));
  EXPECT_FALSE(completions[0].__isset.failure);
  EXPECT_EQ(completions[1].ticket, tickets[1]);
  EXPECT_EQ(completions[1].result.memory.bytes, std::string("e\0", 2));
  EXPECT_EQ(completions[1].result.zeroed, 1);
  EXPECT_TRUE(reaped(1, 10).empty()) << "nothing is outstanding";
  EXPECT_EQ(stats().tickets, 0);
  EXPECT_EQ(stats().submitted, 2);
  EXPECT_EQ(stats().cleans, 2);
}

TEST_F(VirtineTest, NoMoreThanAtMostAreReaped) {
  auto attachment = attached("ab", 2);
  submitted({request(attachment, "12"), request(attachment, "12"),
             request(attachment, "12")});
  EXPECT_EQ(reaped(3, 0).size(), 0u);
  EXPECT_EQ(reaped(3, -1).size(), 0u);
  EXPECT_EQ(reaped(3, 2).size(), 2u);
  EXPECT_EQ(reaped(0, 5).size(), 1u);
}

TEST_F(VirtineTest, AnAnswerHoldsNoMoreMemoryThanItsLimit) {
  auto attachment = attached("ab", 900);
  const auto r = request(attachment, std::string(900, 'x'));
  submitted({r, r, r});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(reaped(3, 3).size(), 1u);
}

TEST_F(VirtineTest, SubmitTakesAllRequestsOrNone) {
  auto attachment = attached("ab", 4);
  auto bad = request(attachment, "1");
  bad.__set_dirty({extent(4, 1)});
  try {
    submitted({request(attachment, "1234"), bad});
    FAIL();
  } catch (const BadExtent& error) {
    EXPECT_EQ(error.request, 1);
    EXPECT_EQ(error.index, 0);
    EXPECT_EQ(error.fault, ExtentFault::OUTSIDE);
  }
  EXPECT_THROW(submitted({request(attachment, "1234"), request(7, "")}),
               UnknownAttachment);
  EXPECT_THROW(
      submitted({request(attachment, "1234"), request(attachment, "")}),
      BadMemory);
  EXPECT_EQ(stats().submitted, 0);
  EXPECT_TRUE(submitted({}).empty());
}

TEST_F(VirtineTest, TicketsAreLimited) {
  const auto r = request(attached("ab", 2), "12");
  submitted({r, r, r, r});
  EXPECT_THROW(submitted({r, r}), QuotaExceeded);
  submitted({r});
  EXPECT_THROW(submitted({r}), QuotaExceeded);
  EXPECT_EQ(reaped(5, 5).size(), 5u);
  submitted({r, r, r, r, r});
}

TEST_F(VirtineTest, ExtentsOfTicketsAreLimited) {
  auto r = request(attached("ab", 30), std::string(15, 'x'));
  std::vector<Extent> dirty;
  for (int i = 0; i < 15; ++i) dirty.push_back(extent(2 * i, 1));
  r.__set_dirty(dirty);
  submitted({r});
  EXPECT_THROW(submitted({r}), QuotaExceeded);
  reaped(1, 1);
  submitted({r});
}

TEST_F(VirtineTest, ACancelledTicketSaysSo) {
  auto attachment = attached("ab", 2);
  auto tickets =
      submitted({request(attachment, "12"), request(attachment, "12")});
  EXPECT_TRUE(handler.cancel(tickets[1]));
  EXPECT_TRUE(handler.cancel(tickets[1])) << "it still will not run";
  EXPECT_THROW(handler.cancel(tickets[1] + 1), UnknownTicket);
  auto completions = reaped(2, 2);
  ASSERT_EQ(completions.size(), 2u);
  EXPECT_TRUE(completions[0].__isset.result);
  EXPECT_FALSE(completions[1].__isset.result);
  EXPECT_EQ(completions[1].failure.fault, CleanFault::CANCELLED);
  EXPECT_EQ(stats().cancelled, 1);
  EXPECT_EQ(stats().cleans, 1);
  EXPECT_THROW(handler.cancel(tickets[1]), UnknownTicket) << "reaped already";
}

TEST_F(VirtineTest, DetachCancelsWhatHasNotBegun) {
  auto attachment = attached("ab", 2);
  submitted({request(attachment, "12")});
  handler.detach(attachment);
  auto completions = reaped(1, 1);
  ASSERT_EQ(completions.size(), 1u);
  EXPECT_EQ(completions[0].failure.fault, CleanFault::CANCELLED);
}

TEST_F(VirtineTest, TicketsAreTheirConnections) {
  auto attachment = attached("ab", 2);
  {
    VirtineHandler other(store);
    std::vector<Ticket> tickets;
    other.submit(tickets, {request(attachment, "12")});
    EXPECT_THROW(handler.cancel(tickets[0]), UnknownTicket);
    EXPECT_TRUE(reaped(1, 1).empty());
    EXPECT_EQ(stats().tickets, 1);
  }
  EXPECT_EQ(stats().tickets, 0) << "its connection has ended";
}

TEST_F(VirtineTest, AShellIsCleanedInPlaceAndDetaches) {
  auto snapshot = registered(bytesOf("abcde")).id;
  std::vector<std::uint8_t> memory(8, 'X');
  {
    VirtineShell shell(handler, snapshot, memory);
    shell.clean({extent(4, 2)});
    EXPECT_EQ(std::string(memory.begin(), memory.end()),
              std::string("XXXXe\0XX", 8));
    shell.clean();
    EXPECT_EQ(std::string(memory.begin(), memory.end()),
              std::string("abcde\0\0\0", 8));
  }
  EXPECT_EQ(stats().attachments, 0);
}

}  // namespace
}  // namespace lanecall
