// SPDX-License-Identifier: Apache-2.0
// DMA by the card's server: bytes that move, operations that are refused, and
// packets that end the session.
#include <algorithm>
#include <cstring>
#include <functional>
#include <random>

#include "../seed.h"
#include "card_dma.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kRead = LANECALL_DMA_READ, kWrite = LANECALL_DMA_WRITE,
                   kFill = LANECALL_DMA_FILL;
constexpr size_t kPage = 4096;
constexpr size_t kMostOperations = 1024;

class Dma : public DmaGround {
 protected:
  void store(uint64_t at, const Bytes& bytes) {
    std::memcpy(&card()[at], bytes.data(), bytes.size());
  }
};

TEST_F(Dma, WritesToScatteredMemoryAndReadsItBack) {
  start();
  ScatteredMemory memory = scattered({kPage, 100, 3 * kPage, 1, 5, 70000});
  auto region = lend(memory);
  const Bytes bytes = someBytes(memory.bytes());
  store(12345, bytes);
  ASSERT_TRUE(moves({7, kWrite, region->key(), {{0, 12345, bytes.size()}}}));
  EXPECT_EQ(memory.load(0, bytes.size()), bytes);
  EXPECT_TRUE(memory.guardsAreWhole());
  ASSERT_TRUE(moves({8, kRead, region->key(), {{0, 999999, bytes.size()}}}));
  EXPECT_EQ(cardBytes(999999, bytes.size()), bytes);
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Dma, MovesTheSpansOfItsExtents) {
  start();
  ScatteredMemory memory = scattered({kPage, kPage});
  auto region = lend(memory);
  const Bytes bytes = someBytes(300);
  store(0, bytes);
  ASSERT_TRUE(moves({1,
                     kWrite,
                     region->key(),
                     {{4000, 0, 150}, {1, 150, 1}, {8192 - 149, 151, 149}}}));
  Bytes expected(2 * kPage);
  std::copy_n(bytes.begin(), 150, expected.begin() + 4000);
  expected[1] = bytes[150];
  std::copy_n(bytes.begin() + 151, 149, expected.end() - 149);
  EXPECT_EQ(memory.load(0, 2 * kPage), expected);
}

TEST_F(Dma, FillsWithOneByte) {
  start();
  ScatteredMemory memory = scattered({kPage, 1 << 20, 33});
  auto region = lend(memory);
  ASSERT_TRUE(
      moves({1, kFill, region->key(), {{3, 0xc3, memory.bytes() - 7}}}));
  Bytes expected(memory.bytes(), 0xc3);
  std::fill_n(expected.begin(), 3, 0);
  std::fill_n(expected.end() - 4, 4, 0);
  EXPECT_EQ(memory.load(0, memory.bytes()), expected);
  EXPECT_TRUE(memory.guardsAreWhole());
}

// Larger than a slice, in more pieces than a slice has: the worker's.
TEST_F(Dma, MovesMegabytesInPages) {
  start();
  ScatteredMemory memory = scattered(std::vector<size_t>(1500, kPage));
  auto region = lend(memory);
  const Bytes bytes = someBytes(memory.bytes());
  store(0, bytes);
  ASSERT_TRUE(moves({1, kWrite, region->key(), {{0, 0, bytes.size()}}}));
  EXPECT_EQ(memory.load(0, bytes.size()), bytes);
  EXPECT_TRUE(memory.guardsAreWhole());
  ASSERT_TRUE(moves({2, kRead, region->key(), {{0, 32 << 20, bytes.size()}}}));
  EXPECT_EQ(cardBytes(32 << 20, bytes.size()), bytes);
}

TEST_F(Dma, MovesMegabytesInOnePiece) {
  start();
  ScatteredMemory memory = scattered({size_t{10} << 20});
  auto region = lend(memory);
  const Bytes bytes = someBytes(memory.bytes());
  store(1, bytes);
  ASSERT_TRUE(moves({1, kWrite, region->key(), {{0, 1, bytes.size()}}}));
  EXPECT_EQ(memory.load(0, bytes.size()), bytes);
  EXPECT_TRUE(memory.guardsAreWhole());
}

TEST_F(Dma, MovesTheExtentsOfAnOperationInOrder) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  std::vector<lanecall_dma_extent> extents;
  for (uint64_t i = 0; i < 2000; ++i) {
    extents.push_back({i, i & 0xff, 1000});
  }
  ASSERT_TRUE(moves({1, kFill, region->key(), extents}));
  Bytes expected(kPage);
  for (const auto& e : extents) {
    std::fill_n(expected.begin() + static_cast<ptrdiff_t>(e.offset), e.bytes,
                static_cast<unsigned char>(e.card));
  }
  EXPECT_EQ(memory.load(0, kPage), expected);
}

TEST_F(Dma, CompletesEveryOperationOfABatchOnce) {
  start();
  ScatteredMemory memory = scattered({1 << 20});
  auto region = lend(memory);
  std::vector<DmaOperation> batch;
  for (uint64_t i = 0; i < kMostOperations; ++i) {
    batch.push_back({1000 + i,
                     kFill,
                     i % 3 ? region->key() : i,
                     {{i * 1024, i & 0xff, 1024}, {i * 1024, i >> 8, 512}}});
    if (batch.size() == 600 || i + 1 == kMostOperations) {
      submit(batch);
      batch.clear();
    }
  }
  const auto done = awaitDone(kMostOperations);
  Bytes expected(1 << 20);
  for (uint64_t i = 0; i < kMostOperations; ++i) {
    const auto& d = done.at(1000 + i);
    EXPECT_EQ(d.error, i % 3 ? 0u : uint32_t{LANECALL_ERR_ACCESS});
    EXPECT_EQ(d.bytes, i % 3 ? 1536u : 0u);
    if (i % 3) {
      const auto at = expected.begin() + static_cast<ptrdiff_t>(i * 1024);
      std::fill_n(at, 1024, static_cast<unsigned char>(i));
      std::fill_n(at, 512, static_cast<unsigned char>(i >> 8));
    }
  }
  EXPECT_EQ(memory.load(0, 1 << 20), expected);
}

TEST_F(Dma, OfALongOperationDoesNotHoldUpShortOnes) {
  start();
  ScatteredMemory memory = scattered({1 << 20}), other = scattered({kPage});
  auto region = lend(memory), another = lend(other, {.slot = 1, .key = 2});
  submit({longFill(1, region->key()),
          {2, kFill, another->key(), {{0, 7, kPage}}},
          {3, kFill, another->key(), {{0, 8, kPage}}}});
  const auto first = takeDone();
  EXPECT_EQ(first[0].id, 2u);
  EXPECT_NE(first.back().id, 1u);
  ASSERT_TRUE(region->takeBack(soon()));
}

// A guest may lend whatever is memory, the card's own too.
TEST_F(Dma, MovesCardMemoryToWhereItOverlaps) {
  start();
  const Bytes bytes = someBytes(3 << 20);
  store(0, bytes);
  UserRegion region(device(), {{dut().function().barAddress(LANECALL_BAR_CARD),
                                uint64_t{16} << 20}});
  ASSERT_TRUE(region.lend(soon()));
  ASSERT_TRUE(moves({1, kWrite, region.key(), {{1000, 0, 50000}}}));
  EXPECT_EQ(cardBytes(1000, 50000),
            Bytes(bytes.begin(), bytes.begin() + 50000));
}

// Whatever is asked for, memory is as a model of it says.
TEST_F(Dma, DoesWhatAModelDoes) {
  start();
  const auto seed = static_cast<unsigned>(announcedSeed());
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return random() % n; };
  constexpr size_t kRegions = 8, kCard = 2 << 20;
  std::vector<ScatteredMemory> memory;
  std::vector<std::unique_ptr<UserRegion>> regions;
  std::vector<Bytes> model;
  for (uint32_t i = 0; i < kRegions; ++i) {
    std::vector<size_t> pieces;
    for (uint64_t n = 1 + below(200); n; --n) {
      pieces.push_back(1 + below(i % 2 ? 200 : 20000));
    }
    memory.push_back(scattered(pieces));
    regions.push_back(lend(memory.back(), {.slot = i, .key = random() | 1}));
    model.push_back(Bytes(memory.back().bytes()));
  }
  Bytes card_model = someBytes(kCard, seed);
  store(0, card_model);

  for (uint64_t id = 0; id < 400; ++id) {
    const size_t r = below(kRegions);
    DmaOperation operation{
        id, static_cast<uint32_t>(1 + below(3)), regions[r]->key(), {}};
    uint64_t bytes = 0;
    for (uint64_t n = 1 + below(100); n; --n) {
      const uint64_t size = model[r].size();
      lanecall_dma_extent e{};
      e.bytes = 1 + below(std::min<uint64_t>(size, id % 4 ? 3000 : 300000));
      e.offset = below(size - e.bytes + 1);
      e.card = operation.type == kFill ? below(256) : below(kCard - e.bytes);
      const auto there = model[r].begin() + static_cast<ptrdiff_t>(e.offset);
      const auto here = card_model.begin() + static_cast<ptrdiff_t>(e.card);
      const auto count = static_cast<ptrdiff_t>(e.bytes);
      if (operation.type == kRead) std::copy_n(there, count, here);
      if (operation.type == kWrite) std::copy_n(here, count, there);
      if (operation.type == kFill) {
        std::fill_n(there, count, static_cast<unsigned char>(e.card));
      }
      operation.extents.push_back(e);
      bytes += e.bytes;
    }
    const lanecall_dma_done done = await(operation);
    ASSERT_EQ(done.error, 0u);
    ASSERT_EQ(done.bytes, bytes);
  }
  for (size_t i = 0; i < kRegions; ++i) {
    EXPECT_EQ(memory[i].load(0, model[i].size()), model[i]) << i;
    EXPECT_TRUE(memory[i].guardsAreWhole()) << i;
  }
  EXPECT_EQ(cardBytes(0, kCard), card_model);
}

// ---- Refused ---------------------------------------------------------------

TEST_F(Dma, NeedsTheKey) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  for (uint64_t key : {uint64_t{0}, region->key() + 1, ~uint64_t{0}}) {
    EXPECT_TRUE(fails({1, kRead, key, {{0, 0, 1}}}, LANECALL_ERR_ACCESS));
  }
  ASSERT_TRUE(region->takeBack(soon()));
  EXPECT_TRUE(
      fails({2, kRead, region->key(), {{0, 0, 1}}}, LANECALL_ERR_ACCESS));
  UserRegion bad(device(), memory.extents(), {.key = 5});
  bad.descriptor().bytes += 1;
  bad.add();
  EXPECT_TRUE(fails({3, kRead, 5, {{0, 0, 1}}}, LANECALL_ERR_ACCESS));
}

TEST_F(Dma, NeedsEveryBitOfTheKey) {
  start();
  ScatteredMemory memory = scattered({kPage});
  constexpr uint64_t kKey = 0x123456789abcdef1;
  auto region = lend(memory, {.key = kKey});
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t forged = kKey ^ uint64_t { 1 } << bit;
    EXPECT_TRUE(
        fails({bit, kFill, forged, {{0, 1, kPage}}}, LANECALL_ERR_ACCESS));
  }
  EXPECT_EQ(memory.load(0, kPage), Bytes(kPage));
  EXPECT_TRUE(moves({64, kFill, kKey, {{0, 1, kPage}}}));
}

// Nor for what is lent in the same slot next.
TEST_F(Dma, AStaleKeyIsWorthNothing) {
  start();
  ScatteredMemory memory = scattered({kPage});
  for (uint64_t key = 1; key <= 10; ++key) {
    auto region = lend(memory, {.slot = 3, .key = key});
    if (key > 1) {
      EXPECT_TRUE(
          fails({key, kFill, key - 1, {{0, 1, kPage}}}, LANECALL_ERR_ACCESS));
    }
    EXPECT_EQ(memory.load(0, kPage), Bytes(kPage));
    ASSERT_TRUE(region->takeBack(soon()));
  }
}

TEST_F(Dma, NeedsTheRight) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto readable =
      lend(memory, {.slot = 0, .key = 1, .access = LANECALL_REGION_MAY_READ});
  auto writable =
      lend(memory, {.slot = 1, .key = 2, .access = LANECALL_REGION_MAY_WRITE});
  const std::vector<lanecall_dma_extent> page{{0, 1, kPage}};
  EXPECT_TRUE(moves({1, kRead, 1, page}));
  EXPECT_TRUE(fails({2, kWrite, 1, page}, LANECALL_ERR_ACCESS));
  EXPECT_TRUE(fails({3, kFill, 1, page}, LANECALL_ERR_ACCESS));
  EXPECT_TRUE(fails({4, kRead, 2, page}, LANECALL_ERR_ACCESS));
  EXPECT_EQ(memory.load(0, kPage), Bytes(kPage));
  EXPECT_TRUE(moves({5, kWrite, 2, page}));
  EXPECT_TRUE(moves({6, kFill, 2, page}));
}

TEST_F(Dma, OutOfRangeMovesNothing) {
  start();
  constexpr uint64_t kCard = uint64_t{64} << 20;
  ScatteredMemory memory = scattered({kPage, kPage});
  auto region = lend(memory);
  const lanecall_dma_extent good{0, 0, 100};
  for (const lanecall_dma_extent& bad :
       std::vector<lanecall_dma_extent>{{8192, 0, 1},
                                        {8191, 0, 2},
                                        {0, 0, 8193},
                                        {0, 0, 0},
                                        {~0ull, 0, 1},
                                        {1, 0, ~0ull},
                                        {~0ull - 4, 0, 100},
                                        {0, kCard, 1},
                                        {0, kCard - 1, 2},
                                        {0, ~0ull, 1},
                                        {0, ~0ull - 10, 100}}) {
    for (uint32_t type : {kRead, kWrite}) {
      EXPECT_TRUE(fails({1, type, region->key(), {good, bad, good}},
                        LANECALL_ERR_RANGE));
    }
  }
  EXPECT_TRUE(
      fails({1, kFill, region->key(), {{0, 256, 1}}}, LANECALL_ERR_RANGE));
  EXPECT_TRUE(memory.guardsAreWhole());
  EXPECT_EQ(guestErrors(), 0u);
  EXPECT_TRUE(moves({2, kRead, region->key(), {{8191, kCard - 1, 1}}}));
}

TEST_F(Dma, WhereARegionIsNotMemoryEndsTheOperation) {
  start();
  ScatteredMemory memory = scattered({kPage, kPage});
  uint64_t id = 0;
  for (uint64_t none : dut().notMemory()) {
    SCOPED_TRACE(none);
    UserRegion region(device(), {memory.extents()[0],
                                 {none & ~uint64_t{0xfff}, kPage},
                                 memory.extents()[1]});
    const uint32_t errors = guestErrors();
    ASSERT_TRUE(region.lend(soon()));
    for (uint32_t type : {kRead, kWrite, kFill}) {
      EXPECT_TRUE(fails({++id, type, region.key(), {{0, 1, 3 * kPage}}},
                        LANECALL_ERR_DMA, kPage));
      EXPECT_TRUE(
          fails({++id, type, region.key(), {{2 * kPage, 1, 1}, {kPage, 1, 1}}},
                LANECALL_ERR_DMA, 1));
    }
    EXPECT_TRUE(moves({++id, kWrite, region.key(), {{2 * kPage, 0, kPage}}}));
    EXPECT_EQ(guestErrors() - errors, 6u);
  }
  EXPECT_TRUE(memory.guardsAreWhole());
}

// The firmware's.
TEST_F(Dma, ReadOnlyMemoryIsNotWritten) {
  start();
  UserRegion region(device(), {{0xffff0000, kPage}});
  ASSERT_TRUE(region.lend(soon()));
  const uint64_t before = qemu().readMemory(0xffff0000, 8);
  EXPECT_TRUE(fails({1, kFill, region.key(), {{0, before & 1 ? 0u : 0xffu, 8}}},
                    LANECALL_ERR_DMA));
  EXPECT_EQ(qemu().readMemory(0xffff0000, 8), before);
}

// ---- Packets that are wrong ------------------------------------------------

struct BadPacket {
  const char* name;
  const char* said;
  std::function<Bytes(uint64_t key)> make;
};

void PrintTo(const BadPacket& bad, std::ostream* out) { *out << bad.name; }

DmaOperation oneByte(uint64_t key, uint32_t type = LANECALL_DMA_FILL) {
  return {1, type, key, {{0, 1, 1}}};
}

lanecall_card_frame& frameOf(Bytes& packet) {
  return *reinterpret_cast<lanecall_card_frame*>(packet.data());
}

Bytes spoiled(uint64_t key, void (*spoil)(Bytes&)) {
  Bytes packet = dmaPacket({oneByte(key), oneByte(key)});
  spoil(packet);
  return packet;
}

class DmaPacket : public DmaGround,
                  public ::testing::WithParamInterface<BadPacket> {};

INSTANTIATE_TEST_SUITE_P(
    With, DmaPacket,
    ::testing::Values(
        BadPacket{"NoOperations", "length", [](auto) { return dmaPacket({}); }},
        BadPacket{"OneByteLess", "length",
                  [](auto key) {
                    return spoiled(key, [](auto& p) { p.pop_back(); });
                  }},
        BadPacket{"OneByteMore", "length",
                  [](auto key) {
                    return spoiled(key, [](auto& p) { p.push_back(0); });
                  }},
        BadPacket{"MoreOperationsThanItHas", "length",
                  [](auto key) {
                    return spoiled(
                        key, [](auto& p) { ++frameOf(p).batch.operations; });
                  }},
        BadPacket{"CountsThatWrap", "length",
                  [](auto key) {
                    return spoiled(key, [](auto& p) {
                      frameOf(p).batch.operations += 0x80000000;
                    });
                  }},
        BadPacket{"MoreExtentsThanItsOperations", "add up",
                  [](auto key) {
                    return spoiled(key, [](auto& p) {
                      ++frameOf(p).batch.extents;
                      p.resize(p.size() + sizeof(lanecall_dma_extent));
                    });
                  }},
        BadPacket{"FewerExtentsThanItsOperations", "add up",
                  [](auto key) {
                    return spoiled(key, [](auto& p) {
                      --frameOf(p).batch.extents;
                      p.resize(p.size() - sizeof(lanecall_dma_extent));
                    });
                  }},
        BadPacket{"AnOperationWithoutExtents", "without extents",
                  [](auto key) {
                    return dmaPacket({oneByte(key), {2, kFill, key, {}}});
                  }},
        BadPacket{"TypeNought", "unknown type",
                  [](auto key) { return dmaPacket({oneByte(key, 0)}); }},
        BadPacket{"AnUnknownType", "unknown type",
                  [](auto key) { return dmaPacket({oneByte(key, 4)}); }},
        BadPacket{"MoreThan64KiB", "64 KiB",
                  [](auto key) {
                    return dmaPacket(
                        {{1, kFill, key,
                          std::vector<lanecall_dma_extent>(2800, {0, 1, 1})}});
                  }}),
    [](const auto& info) { return info.param.name; });

TEST_P(DmaPacket, EndsTheSession) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  ASSERT_TRUE(session().sendPacket(GetParam().make(region->key())));
  EXPECT_TRUE(sessionEnds());
  EXPECT_NE(qemu().said().find(GetParam().said), std::string::npos)
      << qemu().said();
  EXPECT_EQ(memory.load(0, kPage), Bytes(kPage));  // not even in part
  endSession();
  auto channel = openInCard();  // the device connects again
  offered();
  EXPECT_TRUE(moves({1, kFill, region->key(), {{0, 1, kPage}}}));
}

TEST_F(Dma, WithADescriptorEndsTheSession) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  const int fd = session().memoryFd();
  ASSERT_TRUE(
      session().sendPacket(dmaPacket({oneByte(region->key())}), {&fd, 1}));
  EXPECT_TRUE(sessionEnds());
}

TEST_F(Dma, ThatWasNotAskedForInTheGreetingEndsTheSession) {
  features_ = 0;
  start();
  ASSERT_TRUE(session().sendPacket(dmaPacket({oneByte(1)})));
  EXPECT_TRUE(sessionEnds());
}

TEST_F(Dma, OfTheLargestPacketIsTaken) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  constexpr size_t kMost = (LANECALL_CARD_PACKET_MAX - 64 - 32) / 24;
  EXPECT_TRUE(moves({1, kFill, region->key(),
                     std::vector<lanecall_dma_extent>(kMost, {0, 7, 1})}));
}

// ---- Bounds ----------------------------------------------------------------

class DmaBounds : public Dma {
 protected:
  void submitBytes(uint64_t first_id, size_t count, uint64_t key) {
    for (size_t i = 0; i < count; ++i) {
      batch_.push_back({first_id + i, kFill, key, {{0, 1, 1}}});
    }
    submit(batch_);
    batch_.clear();
  }
  std::vector<DmaOperation> batch_;
};

TEST_F(DmaBounds, OneOperationTooManyEndsTheSession) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  whileStopped([&] {
    submitBytes(0, 1000, region->key());
    submitBytes(1000, 24, region->key());
    submitBytes(1024, 1, region->key());
  });
  EXPECT_TRUE(sessionEnds());
  EXPECT_NE(qemu().said().find("more DMA than HELLO allowed"),
            std::string::npos);
}

// DONE waits until there is room for it, and nothing of it is lost.
TEST_F(DmaBounds, AServerThatDoesNotReadLosesNothing) {
  start();
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  for (uint64_t i = 0; i < kMostOperations; ++i) {
    submitBytes(i, 1, region->key());
    qemu().turn();
  }
  const auto done = awaitDone(kMostOperations);
  for (const auto& [id, d] : done) EXPECT_EQ(d.error, 0u) << id;
  EXPECT_TRUE(sessionLives());
}

}  // namespace
}  // namespace lanecall::test
