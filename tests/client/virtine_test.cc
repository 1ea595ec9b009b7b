// SPDX-License-Identifier: Apache-2.0
//
// VirtineCleanup over every path.
#include <limits>
#include <map>

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
    Snapshot snapshot;
    client.virtine.registerSnapshot(snapshot, memory, false);
    return snapshot.id;
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
  Snapshot none;
  EXPECT_THROW(client->virtine.registerSnapshot(none, Memory(), false),
               BadMemory);
  EXPECT_THROW(client->virtine.cancel(1), UnknownTicket);
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

TEST_P(VirtineTest, AKeptSnapshotServesWhoeverHasItsId) {
  Memory image;
  image.__set_bytes("kept");
  Snapshot kept;
  connect()->virtine.registerSnapshot(kept, image, true);
  auto other = connect();
  std::vector<std::uint8_t> memory(4, 'X');
  VirtineShell shell(other->virtine, kept.id, memory);
  shell.clean();
  EXPECT_EQ(std::string(memory.begin(), memory.end()), "kept");
  shell.detach();
  other->virtine.dropSnapshot(kept.id);
  EXPECT_THROW(other->virtine.dropSnapshot(kept.id), UnknownSnapshot);
}

TEST_P(VirtineTest, EveryTicketOfRandomBatchesCompletesOnce) {
  Random random(settings().seed);
  SCOPED_TRACE("seed " + std::to_string(settings().seed));
  auto client = connect();
  const std::string image = random.bytes(10'000);
  std::string clean = image;
  clean.resize(16'384);
  const SnapshotId snapshot = registered(*client, image);
  std::vector<AttachmentId> attachments;
  Memory size;
  size.__set_inlineSize(16'384);
  for (int i = 0; i < 8; ++i)
    attachments.push_back(client->virtine.attach(size, snapshot));

  std::map<Ticket, std::string> expected;
  std::int64_t completed = 0;
  const int batches = settings().scaled(200, 20);
  for (int batch = 0; batch < batches; ++batch) {
    std::vector<CleanRequest> requests(random.below(20));
    std::vector<std::string> results;
    for (CleanRequest& request : requests) {
      request.attachment = attachments[random.below(attachments.size())];
      const std::int64_t offset = random.below(16'000);
      const std::int64_t length = 1 + random.below(16'384 - offset);
      request.__set_dirty({extent(offset, length)});
      Memory dirty;
      dirty.__set_bytes(random.bytes(length));
      request.__set_memory(dirty);
      results.push_back(clean.substr(offset, length));
    }
    std::vector<Ticket> tickets;
    client->virtine.submit(tickets, requests);
    ASSERT_EQ(tickets.size(), requests.size());
    for (std::size_t i = 0; i < tickets.size(); ++i)
      ASSERT_TRUE(expected.emplace(tickets[i], results[i]).second);
    const bool all = batch + 1 == batches;
    const std::size_t atLeast =
        all ? expected.size() : random.below(expected.size() + 1);
    std::vector<Completion> completions;
    client->virtine.reap(completions, int(atLeast), int(atLeast + 5), 60'000);
    ASSERT_GE(completions.size(), atLeast);
    for (const Completion& completion : completions) {
      auto found = expected.find(completion.ticket);
      ASSERT_NE(found, expected.end()) << "unknown, or completed twice";
      ASSERT_TRUE(completion.__isset.result);
      ASSERT_EQ(completion.result.memory.bytes, found->second);
      expected.erase(found);
      ++completed;
    }
  }
  EXPECT_TRUE(expected.empty());
  Stats stats;
  client->virtine.stats(stats);
  EXPECT_EQ(stats.cleans, completed);
  EXPECT_EQ(stats.submitted, completed);
  EXPECT_EQ(stats.tickets, 0);
}

TEST_P(VirtineTest, VerifyGivesTheSnapshotsChecksum) {
  auto client = connect();
  Memory image;
  image.__set_bytes("abcde");
  Snapshot snapshot;
  client->virtine.registerSnapshot(snapshot, image, false);
  CleanRequest request;
  Memory size;
  size.__set_inlineSize(5);
  request.attachment = client->virtine.attach(size, snapshot.id);
  Memory dirty;
  dirty.__set_bytes("XXXXX");
  request.__set_memory(dirty);
  request.__set_verify(true);
  CleanResult result;
  client->virtine.clean(result, request);
  ASSERT_TRUE(result.__isset.checksum);
  EXPECT_EQ(result.checksum, snapshot.checksum);
}

}  // namespace
}  // namespace lanecall::test
