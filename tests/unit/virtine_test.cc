// SPDX-License-Identifier: Apache-2.0
//
// VirtineCleanup's handler, called as its generated processor would.
#include <gtest/gtest.h>

#include <limits>

#include "virtine_extents.h"
#include "virtine_handler.h"
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

  CleanRequest request(AttachmentId attachment, const std::string& memory) {
    CleanRequest r;
    r.attachment = attachment;
    r.__set_memory(bytesOf(memory));
    return r;
  }

  VirtineLimits limits{.snapshotBytes = 100,
                       .snapshots = 3,
                       .attachments = 4,
                       .memoryBytes = 1000};
  std::shared_ptr<VirtineStore> store = std::make_shared<VirtineStore>(limits);
  VirtineHandler handler{store};
};

TEST_F(VirtineTest, CleanRestoresTheSnapshotAndZeroesAboveIt) {
  auto attachment =
      handler.attach(sizeOf(8), handler.registerSnapshot(bytesOf("abcde")));
  CleanResult result;
  handler.clean(result, request(attachment, "XXXXXXXX"));
  EXPECT_EQ(result.memory.bytes, std::string("abcde\0\0\0", 8));
  EXPECT_EQ(result.restored, 5);
  EXPECT_EQ(result.zeroed, 3);
}

TEST_F(VirtineTest, ExtentsAreCleanedInTheirOrder) {
  auto attachment =
      handler.attach(sizeOf(8), handler.registerSnapshot(bytesOf("abcde")));
  auto r = request(attachment, "1234567");
  r.__set_dirty({extent(6, 2), extent(3, 3), extent(0, 2)});
  CleanResult result;
  handler.clean(result, r);
  EXPECT_EQ(result.memory.bytes, std::string("\0\0de\0ab", 7));
  EXPECT_EQ(result.restored, 4);
  EXPECT_EQ(result.zeroed, 3);
}

TEST_F(VirtineTest, AnEmptyListCleansNothing) {
  auto attachment =
      handler.attach(sizeOf(8), handler.registerSnapshot(bytesOf("abcde")));
  auto r = request(attachment, "");
  r.__set_dirty({});
  CleanResult result;
  handler.clean(result, r);
  EXPECT_EQ(result.memory.bytes, "");
}

TEST_F(VirtineTest, MemoryOfAnotherSizeIsRefusedAndCounted) {
  auto attachment =
      handler.attach(sizeOf(8), handler.registerSnapshot(bytesOf("abcde")));
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
  auto snapshot = handler.registerSnapshot(bytesOf("abc"));
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
  EXPECT_THROW(handler.registerSnapshot(sizeOf(5)), BadMemory);
  EXPECT_THROW(handler.registerSnapshot(bytesOf("")), BadMemory);
  EXPECT_THROW(handler.registerSnapshot(Memory()), BadMemory);
  auto snapshot = handler.registerSnapshot(bytesOf("abc"));
  EXPECT_THROW(handler.attach(bytesOf("abc"), snapshot), BadMemory);
  EXPECT_THROW(handler.attach(sizeOf(2), snapshot), BadMemory);
  EXPECT_THROW(handler.attach(sizeOf(-1), snapshot), BadMemory);
}

TEST_F(VirtineTest, EveryLimitHolds) {
  EXPECT_THROW(handler.registerSnapshot(bytesOf(std::string(101, 'x'))),
               QuotaExceeded);
  auto snapshot = handler.registerSnapshot(bytesOf(std::string(60, 'x')));
  EXPECT_THROW(handler.registerSnapshot(bytesOf(std::string(41, 'x'))),
               QuotaExceeded);
  handler.registerSnapshot(bytesOf("a"));
  handler.registerSnapshot(bytesOf("b"));
  EXPECT_THROW(handler.registerSnapshot(bytesOf("c")), QuotaExceeded);
  EXPECT_THROW(handler.attach(sizeOf(1001), snapshot), QuotaExceeded);
  for (int i = 0; i < 4; ++i) handler.attach(sizeOf(1000), snapshot);
  EXPECT_THROW(handler.attach(sizeOf(1000), snapshot), QuotaExceeded);
}

TEST_F(VirtineTest, WhatAConnectionMadeEndsWithIt) {
  SnapshotId shared;
  AttachmentId ours;
  {
    VirtineHandler other(store);
    shared = other.registerSnapshot(bytesOf("shared"));
    other.registerSnapshot(bytesOf("its own"));
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

TEST_F(VirtineTest, AShellIsCleanedInPlaceAndDetaches) {
  auto snapshot = handler.registerSnapshot(bytesOf("abcde"));
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
