// SPDX-License-Identifier: Apache-2.0
//
// VirtineCleanup over every path.
#include <limits>

#include "fixture.h"
#include "random.h"
#include "virtine_shell.h"

namespace lanecall::test {
namespace {

using namespace virtine;

Extent extent(std::int64_t offset, std::int64_t length) {
  Extent e;
  e.offset = offset;
  e.length = length;
  return e;
}

class VirtineTest : public ClientTest {
 protected:
  static SnapshotId registered(Client& client, const std::string& image) {
    Memory memory;
    memory.__set_bytes(image);
    return client.virtine.registerSnapshot(memory);
  }
};
LANECALL_ON_EVERY_PATH(VirtineTest);

TEST_P(VirtineTest, RandomCleansRestoreEveryByte) {
  auto client = connect();
  const int rounds = settings().scaled(200, 40);
  for (int round = 0; round < rounds; ++round) {
    Random random(settings().seed + round);
    const std::string image = random.bytes(1 + random.below(100'000));
    std::string expected = image;
    expected.resize(image.size() + random.below(50'000));
    const SnapshotId snapshot = registered(*client, image);
    std::vector<std::uint8_t> memory(expected.begin(), expected.end());
    VirtineShell shell(client->virtine, snapshot, memory);

    std::vector<Extent> dirty;
    for (std::size_t at = random.below(5000); at < memory.size();
         at += random.below(5000)) {
      std::size_t length =
          std::min<std::size_t>(1 + random.below(9000), memory.size() - at);
      random.fill(std::span(memory).subspan(at, length));
      dirty.push_back(extent(at, length));
      at += length;
    }
    std::vector<std::uint8_t> copy = memory;
    shell.clean(dirty);
    ASSERT_TRUE(std::equal(memory.begin(), memory.end(), expected.begin(),
                           [](std::uint8_t a, char b) {
                             return a == static_cast<std::uint8_t>(b);
                           }))
        << "round " << round << ", seed " << settings().seed;
    // And whole.
    memory = copy;
    shell.clean();
    ASSERT_TRUE(std::equal(memory.begin(), memory.end(), expected.begin(),
                           [](std::uint8_t a, char b) {
                             return a == static_cast<std::uint8_t>(b);
                           }))
        << "round " << round << ", seed " << settings().seed;
    shell.detach();
    client->virtine.dropSnapshot(snapshot);
  }
  Stats stats;
  client->virtine.stats(stats);
  EXPECT_EQ(stats.cleans, 2 * rounds);
  EXPECT_EQ(stats.failedCleans, 0);
  EXPECT_EQ(stats.snapshotBytes, 0);
}

TEST_P(VirtineTest, EveryExceptionArrivesTyped) {
  auto client = connect();
  EXPECT_THROW(client->virtine.dropSnapshot(1), UnknownSnapshot);
  EXPECT_THROW(client->virtine.detach(1), UnknownAttachment);
  const SnapshotId snapshot = registered(*client, "abcde");
  std::vector<std::uint8_t> memory(10, 'X');
  VirtineShell shell(client->virtine, snapshot, memory);
  EXPECT_THROW(client->virtine.dropSnapshot(snapshot), SnapshotInUse);

  CleanRequest request;
  Memory size;
  size.__set_inlineSize(10);
  request.attachment = client->virtine.attach(size, snapshot);
  Memory bytes;
  bytes.__set_bytes("xx");
  request.__set_memory(bytes);
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::pair<std::vector<Extent>, ExtentFault::type> cases[] = {
      {{extent(0, 2), extent(1, 2)}, ExtentFault::OVERLAP},
      {{extent(kMax, 2)}, ExtentFault::OVERFLOW},
      {{extent(9, 2)}, ExtentFault::OUTSIDE},
      {{extent(0, 0)}, ExtentFault::EMPTY}};
  for (const auto& [extents, fault] : cases) {
    request.__set_dirty(extents);
    CleanResult result;
    try {
      client->virtine.clean(result, request);
      ADD_FAILURE() << "accepted, fault " << fault;
    } catch (const BadExtent& error) {
      EXPECT_EQ(error.fault, fault);
    }
  }
  Memory large;
  large.__set_inlineSize(kMax);
  EXPECT_THROW(client->virtine.attach(large, snapshot), QuotaExceeded);
  EXPECT_THROW(client->virtine.registerSnapshot(Memory()), BadMemory);
}

TEST_P(VirtineTest, ASnapshotServesAttachmentsOfOtherConnections) {
  auto owner = connect();
  auto other = connect();
  const SnapshotId snapshot = registered(*owner, "shared");
  std::vector<std::uint8_t> memory(8, 'X');
  VirtineShell shell(other->virtine, snapshot, memory);
  owner.reset();
  shell.clean();
  EXPECT_EQ(std::string(memory.begin(), memory.end()),
            std::string("shared\0\0", 8));
}

}  // namespace
}  // namespace lanecall::test
