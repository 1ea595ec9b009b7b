// SPDX-License-Identifier: Apache-2.0
//
// VirtineCleanup with memory by reference: over the direct plane, and refused
// elsewhere.
#include <lanecall/deadline.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thrift/transport/TTransportException.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "fixture.h"
#include "random.h"
#include "virtine_shell.h"

namespace lanecall::test {
namespace {

using apache::thrift::transport::TTransportException;
using namespace virtine;

constexpr int kPatienceMs = 60'000;
constexpr std::size_t kPage = 4096;
constexpr std::uint8_t kGuard = 0xa5;

Extent extent(std::size_t offset, std::size_t length) {
  Extent e;
  e.offset = static_cast<std::int64_t>(offset);
  e.length = static_cast<std::int64_t>(length);
  return e;
}

// Memory with a guard page at either end, and guards in its own first and last
// page. Children share it.
class Guarded {
 public:
  explicit Guarded(std::size_t bytes, std::size_t skew = 0)
      : size_((bytes + skew + kPage - 1) / kPage * kPage + 2 * kPage),
        offset_(kPage + skew),
        bytes_(bytes) {
    void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::runtime_error("no memory for the test");
    all_ = {static_cast<std::uint8_t*>(at), size_};
    std::memset(at, kGuard, size_);
  }
  ~Guarded() { ::munmap(all_.data(), size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  std::span<std::uint8_t> span() const { return all_.subspan(offset_, bytes_); }

  bool isIntact() const {
    return is_guard(all_.first(offset_)) &&
           is_guard(all_.subspan(offset_ + bytes_));
  }
  bool isUntouched() const { return is_guard(all_); }

 private:
  static bool is_guard(std::span<const std::uint8_t> bytes) {
    return std::all_of(bytes.begin(), bytes.end(),
                       [](std::uint8_t byte) { return byte == kGuard; });
  }

  const std::size_t size_;
  const std::size_t offset_;
  const std::size_t bytes_;
  std::span<std::uint8_t> all_;
};

class VirtineRegionTest : public ClientTest {
 protected:
  void SetUp() override {
    ClientTest::SetUp();
    client = connect();
    lender = lenderFor(client->virtine, client->transport);
  }
  void TearDown() override {
    client.reset();
    ClientTest::TearDown();
  }

  Snapshot registered(const std::string& image) {
    Memory memory;
    memory.__set_bytes(image);
    Snapshot snapshot;
    client->virtine.registerSnapshot(snapshot, memory, false);
    return snapshot;
  }

  CleanFault::type faultOf(AttachmentId attachment) {
    CleanRequest request;
    request.attachment = attachment;
    CleanResult result;
    try {
      client->virtine.clean(result, request);
    } catch (const CleanFailed& failed) {
      return failed.fault;
    }
    return static_cast<CleanFault::type>(0);
  }

  static Stats statsOf(Client& asking) {
    Stats stats;
    asking.virtine.stats(stats);
    return stats;
  }

  std::unique_ptr<Client> client;
  std::shared_ptr<Lender> lender;
};
LANECALL_ON_EVERY_PATH(VirtineRegionTest);

#define NEEDS_REGIONS() \
  if (!lender) GTEST_SKIP() << "no memory is lent over this path"

TEST_P(VirtineRegionTest, ElsewhereRegionsAreRefused) {
  Info info;
  client->virtine.info(info);
  EXPECT_EQ(info.byReference, lends());
  EXPECT_EQ(lender != nullptr, lends());
  EXPECT_EQ(info.cardBytes > 0, info.byReference);
  if (lender) return;
  Memory region;
  region.__set_region({});
  region.region.key = region.region.length = 1;
  Snapshot snapshot = registered("abc");
  EXPECT_THROW(client->virtine.attach(region, snapshot.id), BadMemory);
  EXPECT_THROW(client->virtine.registerSnapshot(snapshot, region, false),
               BadMemory);
}

TEST_P(VirtineRegionTest, BothWaysGiveTheSameAnswers) {
  NEEDS_REGIONS();
  Random random(settings().seed);
  const std::string image = random.bytes(30'000);
  Guarded lentImage(image.size(), 100);
  std::copy(image.begin(), image.end(), lentImage.span().begin());
  const Region region(lender, lentImage.span().data(), image.size());
  region.syncForDevice(0, image.size());
  Snapshot byReference;
  client->virtine.registerSnapshot(byReference, memoryOf(region), false);
  const Snapshot inMessage = registered(image);
  EXPECT_EQ(byReference.checksum, inMessage.checksum);
  EXPECT_EQ(byReference.bytes, inMessage.bytes);
  EXPECT_EQ(statsOf(*client).snapshotBytes, 30'000);

  Guarded there(50'000, 100);
  std::vector<std::uint8_t> here(50'000, 'X');
  std::fill(there.span().begin(), there.span().end(), 'X');
  VirtineShell lent(client->virtine, byReference.id, there.span(), lender);
  VirtineShell sent(client->virtine, inMessage.id, here);
  ASSERT_TRUE(lent.isByReference());
  const std::vector<Extent> dirty = {extent(29'000, 2'000), extent(7, 9'000)};
  for (bool all : {false, true}) {
    const auto one = all ? lent.clean() : lent.clean(dirty);
    const auto other = all ? sent.clean() : sent.clean(dirty);
    EXPECT_EQ(one.restored, other.restored);
    EXPECT_EQ(one.zeroed, other.zeroed);
    EXPECT_TRUE(std::equal(here.begin(), here.end(), there.span().begin()));
  }
  CleanRequest request;
  request.attachment = lent.attachment();
  request.__set_dirty({extent(0, 30'000)});
  request.__set_verify(true);
  CleanResult result;
  client->virtine.clean(result, request);
  EXPECT_EQ(result.checksum, byReference.checksum);
  EXPECT_TRUE(there.isIntact());
  EXPECT_TRUE(lentImage.isIntact());
}

TEST_P(VirtineRegionTest, ForgedAndStaleKeysReachNothing) {
  NEEDS_REGIONS();
  Guarded memory(10'000);
  Guarded stale(10'000);
  const SnapshotId snapshot = registered("abc").id;
  Region region(lender, memory.span().data(), 10'000, RegionAccess::kReadWrite);
  Memory forged = memoryOf(region);
  forged.region.key ^= 1;
  EXPECT_EQ(faultOf(client->virtine.attach(forged, snapshot)),
            CleanFault::REVOKED);
  EXPECT_TRUE(memory.isUntouched());
  // What is in the region may be written, for its key is right; no more.
  Memory wide = memoryOf(region);
  wide.region.length += 1;
  EXPECT_EQ(faultOf(client->virtine.attach(wide, snapshot)), CleanFault::DMA);
  wide.region.length -= 1;
  wide.region.offset = std::numeric_limits<std::int64_t>::max() - 10'000;
  EXPECT_EQ(faultOf(client->virtine.attach(wide, snapshot)), CleanFault::DMA);
  wide.region.offset += 1;
  EXPECT_THROW(client->virtine.attach(wide, snapshot), BadMemory);

  Region readOnly(lender, stale.span().data(), 10'000);
  EXPECT_EQ(faultOf(client->virtine.attach(memoryOf(readOnly), snapshot)),
            CleanFault::REVOKED);
  const AttachmentId attachment =
      client->virtine.attach(memoryOf(readOnly), snapshot);
  readOnly.takeBack();
  EXPECT_EQ(faultOf(attachment), CleanFault::REVOKED);
  EXPECT_TRUE(memory.isIntact());
  EXPECT_TRUE(stale.isUntouched());
}

// ---- Many

// Virtines of random sizes, snapshots and alignments, cleaned in random batches
// by random requests; every byte is compared with a model.
class Churn {
 public:
  Churn(Client& client, std::shared_ptr<Lender> lender, std::uint64_t seed)
      : client_(client), lender_(std::move(lender)), random_(seed) {
    for (std::size_t bytes : {1u, 5'000u, 60'000u, 200'000u}) {
      images_.push_back(random_.bytes(bytes));
      Memory memory;
      memory.__set_bytes(images_.back());
      Snapshot snapshot;
      client_.virtine.registerSnapshot(snapshot, memory, false);
      snapshots_.push_back(snapshot.id);
    }
    for (int i = 0; i < kVirtines; ++i) virtines_.push_back(make());
  }

  void run(int cleans) {
    while (cleaned_ < cleans && !::testing::Test::HasFatalFailure()) {
      submitBatch();
      // Sometimes several batches are under way.
      if (random_.below(3) > 0 || asked_.size() > 100) reap(random_.below(64));
      if (random_.below(40) == 0) replaceOne();
    }
    while (!asked_.empty() && !::testing::Test::HasFatalFailure())
      reap(asked_.size());
  }

  std::int64_t cleaned() const { return cleaned_; }
  std::int64_t cancelled() const { return cancelled_; }
  std::int64_t submitted() const { return submitted_; }

 private:
  static constexpr int kVirtines = 40;

  struct Virtine {
    explicit Virtine(std::size_t bytes, std::size_t skew)
        : memory(bytes, skew) {}
    Guarded memory;
    std::string clean;
    Region region;
    AttachmentId attachment = 0;
    int requests = 0;     // under way, all for the same extents
    bool isDone = false;  // one of them was carried out
    bool isDirty = true;  // who knows where: to be cleaned whole
  };

  std::unique_ptr<Virtine> make() {
    const std::size_t which = random_.below(images_.size());
    const std::string& image = images_[which];
    const std::size_t bytes =
        image.size() + random_.below(random_.below(2) ? 40'000 : 10);
    auto virtine = std::make_unique<Virtine>(bytes, random_.below(kPage));
    virtine->clean = image;
    virtine->clean.resize(bytes);
    virtine->region = Region(lender_, virtine->memory.span().data(), bytes,
                             RegionAccess::kReadWrite);
    virtine->attachment =
        client_.virtine.attach(memoryOf(virtine->region), snapshots_[which]);
    return virtine;
  }

  void replaceOne() {
    auto& virtine = virtines_[random_.below(virtines_.size())];
    if (virtine->requests > 0) return;
    client_.virtine.detach(virtine->attachment);
    virtine->region.takeBack();
    virtine = make();
  }

  std::vector<Extent> dirtySome(Virtine& virtine) {
    std::vector<Extent> dirty;
    const auto memory = virtine.memory.span();
    const std::size_t stride = 1 + memory.size() / (1 + random_.below(40));
    for (std::size_t at = random_.below(stride); at < memory.size();
         at += random_.below(stride)) {
      const std::size_t length =
          std::min<std::size_t>(1 + random_.below(stride), memory.size() - at);
      std::memset(&memory[at], 1 + int(random_.below(255)), length);
      dirty.push_back(extent(at, length));
      at += length;
    }
    for (std::size_t i = dirty.size(); i > 1; --i)
      std::swap(dirty[i - 1], dirty[random_.below(i)]);
    return dirty;
  }

  CleanRequest requestFor(Virtine& virtine) {
    CleanRequest request;
    request.attachment = virtine.attachment;
    const std::vector<Extent> dirty = dirtySome(virtine);
    if (!virtine.isDirty && random_.below(5) > 0) request.__set_dirty(dirty);
    if (random_.below(10) == 0) request.__set_verify(true);
    virtine.isDone = false;
    return request;
  }

  void submitBatch() {
    std::vector<CleanRequest> requests;
    std::vector<Virtine*> of;
    const std::size_t most = random_.below(kVirtines + 1);
    for (const auto& virtine : virtines_) {
      if (virtine->requests > 0 || requests.size() >= most) continue;
      const CleanRequest request = requestFor(*virtine);
      // The second one waits for the first, and may be cancelled.
      virtine->requests = random_.below(4) == 0 ? 2 : 1;
      requests.insert(requests.end(), virtine->requests, request);
      of.insert(of.end(), virtine->requests, virtine.get());
    }
    std::vector<Ticket> tickets;
    client_.virtine.submit(tickets, requests);
    ASSERT_EQ(tickets.size(), requests.size());
    for (std::size_t i = 0; i < tickets.size(); ++i)
      ASSERT_TRUE(asked_.emplace(tickets[i], of[i]).second);
    submitted_ += static_cast<std::int64_t>(tickets.size());
    if (!tickets.empty() && random_.below(3) == 0)
      client_.virtine.cancel(tickets[random_.below(tickets.size())]);
  }

  void reap(std::size_t atLeast) {
    std::vector<Completion> completions;
    const std::size_t wanted = std::min(atLeast, asked_.size());
    client_.virtine.reap(completions, int(atLeast), int(atLeast) + 10,
                         kPatienceMs);
    ASSERT_GE(completions.size(), wanted) << "a ticket was lost";
    for (const Completion& completion : completions) {
      auto found = asked_.find(completion.ticket);
      ASSERT_NE(found, asked_.end()) << "unknown, or completed twice";
      check(*found->second, completion);
      asked_.erase(found);
    }
  }

  void check(Virtine& virtine, const Completion& completion) {
    ASSERT_NE(completion.__isset.result, completion.__isset.failure);
    count(completion);
    virtine.isDone |= completion.__isset.result;
    if (--virtine.requests > 0) return;
    virtine.isDirty = !virtine.isDone;
    if (virtine.isDone) checkMemory(virtine);
  }

  void count(const Completion& completion) {
    if (completion.__isset.failure) {
      ++cancelled_;
      ASSERT_EQ(completion.failure.fault, CleanFault::CANCELLED)
          << completion.failure.reason;
      return;
    }
    ++cleaned_;
  }

  static void checkMemory(const Virtine& virtine) {
    ASSERT_TRUE(virtine.memory.isIntact()) << "written outside of its memory";
    virtine.region.syncForCpu(0, virtine.region.bytes());
    ASSERT_EQ(std::memcmp(virtine.memory.span().data(), virtine.clean.data(),
                          virtine.clean.size()),
              0);
  }

  Client& client_;
  const std::shared_ptr<Lender> lender_;
  Random random_;
  std::vector<std::string> images_;
  std::vector<SnapshotId> snapshots_;
  std::vector<std::unique_ptr<Virtine>> virtines_;
  std::map<Ticket, Virtine*> asked_;
  std::int64_t cleaned_ = 0;
  std::int64_t cancelled_ = 0;
  std::int64_t submitted_ = 0;
};

TEST_P(VirtineRegionTest, EveryByteOfManyRandomCleans) {
  NEEDS_REGIONS();
  SCOPED_TRACE("seed " + std::to_string(settings().seed));
  const int cleans =
      settings().cleans ? settings().cleans : settings().scaled(20'000, 3'000);
  Churn churn(*client, lender, settings().seed);
  churn.run(cleans);
  const Stats stats = statsOf(*client);
  EXPECT_EQ(stats.cleans, churn.cleaned());
  EXPECT_EQ(stats.cancelled, churn.cancelled());
  EXPECT_EQ(stats.submitted, churn.submitted());
  EXPECT_EQ(stats.failedCleans, 0);
  EXPECT_EQ(stats.tickets, 0);
  std::printf("%lld cleans, %lld cancelled, every byte compared\n",
              static_cast<long long>(churn.cleaned()),
              static_cast<long long>(churn.cancelled()));
}

// ---- Ends in the middle

// Large virtines, so that a batch of them takes the device a while.
struct Batch {
  static constexpr std::size_t kBytes = 1 << 20;

  Batch(Client& client, const std::shared_ptr<Lender>& lender, int count) {
    Memory image;
    image.__set_bytes(std::string(kBytes / 2, 'c'));
    client.virtine.registerSnapshot(snapshot, image, false);
    for (int i = 0; i < count; ++i) {
      memory.push_back(std::make_unique<Guarded>(kBytes));
      regions.emplace_back(lender, memory.back()->span().data(), kBytes,
                           RegionAccess::kReadWrite);
      CleanRequest request;
      request.attachment =
          client.virtine.attach(memoryOf(regions.back()), snapshot.id);
      requests.push_back(request);
    }
  }

  // Nothing is written to memory that was taken back, nor outside of any.
  void expectRestOf(std::size_t which) {
    const auto bytes = memory[which]->span();
    EXPECT_TRUE(memory[which]->isIntact());
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) {
      return b == 'T';
    })) << "written after it was taken back";
  }

  Snapshot snapshot;
  std::vector<std::unique_ptr<Guarded>> memory;
  std::vector<Region> regions;
  std::vector<CleanRequest> requests;
};

TEST_P(VirtineRegionTest, ARegionTakenBackInTheMiddleOfABatchIsRevoked) {
  NEEDS_REGIONS();
  const int rounds = settings().scaled(20, 5);
  for (int round = 0; round < rounds; ++round) {
    Batch batch(*client, lender, 8);
    std::vector<Ticket> tickets;
    client->virtine.submit(tickets, batch.requests);
    // The last ones are still to come, or are under way.
    for (std::size_t i : {7, 4}) {
      batch.regions[i].takeBack();
      auto memory = batch.memory[i]->span();
      std::fill(memory.begin(), memory.end(), 'T');
    }
    std::vector<Completion> completions;
    client->virtine.reap(completions, 8, 8, kPatienceMs);
    ASSERT_EQ(completions.size(), 8u);
    std::set<Ticket> ended;
    for (const Completion& completion : completions) {
      EXPECT_TRUE(ended.insert(completion.ticket).second);
      const auto at = completion.ticket - tickets[0];
      if (completion.__isset.failure) {
        EXPECT_EQ(completion.failure.fault, CleanFault::REVOKED);
        EXPECT_TRUE(at == 7 || at == 4) << at;
      } else if (at != 7 && at != 4) {
        EXPECT_EQ(batch.memory[at]->span()[0], 'c');
        EXPECT_EQ(batch.memory[at]->span()[Batch::kBytes - 1], 0);
        EXPECT_TRUE(batch.memory[at]->isIntact());
      }
    }
    for (std::size_t i : {7, 4}) batch.expectRestOf(i);
    for (const CleanRequest& request : batch.requests)
      client->virtine.detach(request.attachment);
    client->virtine.dropSnapshot(batch.snapshot.id);
  }
}

TEST_P(VirtineRegionTest, AServerKilledInTheMiddleOfABatchTouchesNoMore) {
  NEEDS_REGIONS();
  Batch batch(*client, lender, 16);
  std::vector<Ticket> tickets;
  client->virtine.submit(tickets, batch.requests);
  killServer();
  std::vector<Completion> completions;
  EXPECT_THROW(
      {
        for (;;) client->virtine.reap(completions, 16, 16, kPatienceMs);
      },
      TTransportException);
  for (std::size_t i = 0; i < 16; ++i) {
    batch.regions[i].takeBack();
    auto memory = batch.memory[i]->span();
    std::fill(memory.begin(), memory.end(), 'T');
  }
  batch.regions.clear();
  client.reset();
  startServer();
  client = connect();
  auto again = lenderFor(client->virtine, client->transport);
  ASSERT_TRUE(again);
  VirtineShell shell(client->virtine, registered("new").id,
                     batch.memory[0]->span(), again);
  shell.clean();
  EXPECT_EQ(batch.memory[0]->span()[0], 'n');
  for (std::size_t i = 1; i < 16; ++i) batch.expectRestOf(i);
}

// Never returns: has memory cleaned until it is killed.
[[noreturn]] void cleanUntilKilled(const std::string& uri,
                                   const ClientOptions& options,
                                   std::span<std::uint8_t> memory, int tell) {
  try {
    Client client(uri, options);
    auto lender = lenderFor(client.virtine, client.transport);
    Memory image;
    image.__set_bytes(std::string(memory.size(), 'c'));
    Snapshot snapshot;
    client.virtine.registerSnapshot(snapshot, image, false);
    VirtineShell shell(client.virtine, snapshot.id, memory, lender);
    CleanRequest request;
    request.attachment = shell.attachment();
    const std::vector<CleanRequest> requests(8, request);
    std::vector<Ticket> tickets;
    client.virtine.submit(tickets, requests);
    if (::write(tell, "!", 1) != 1) ::_exit(1);
    std::vector<Completion> completions;
    for (;;) {
      client.virtine.reap(completions, 1, 8, kPatienceMs);
      client.virtine.submit(
          tickets, {requests.begin(), requests.begin() + completions.size()});
    }
  } catch (const std::exception&) {
    ::_exit(1);
  }
}

TEST_P(VirtineRegionTest, AClientKilledInTheMiddleOfDmaEndsAtTheServer) {
  NEEDS_REGIONS();
  const int rounds = settings().scaled(10, 3);
  Guarded memory(4 << 20, 300);
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) cleanUntilKilled(uri(), patience(), memory.span(), ends[1]);
    ::close(ends[1]);
    char said = 0;
    EXPECT_EQ(::read(ends[0], &said, 1), 1) << "the child could not clean";
    ::close(ends[0]);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    // Its memory was taken back before it was gone: it is ours alone again.
    std::fill(memory.span().begin(), memory.span().end(), 'T');
    Stats stats;
    const Deadline deadline = Deadline::in(kPatienceMs);
    do {
      stats = statsOf(*client);
    } while (stats.tickets + stats.snapshots + stats.attachments > 0 &&
             !deadline.passed());
    EXPECT_EQ(stats.tickets, 0);
    EXPECT_EQ(stats.attachments, 0);
    EXPECT_EQ(stats.snapshots, 0);
    EXPECT_TRUE(memory.isIntact());
    EXPECT_TRUE(std::all_of(memory.span().begin(), memory.span().end(),
                            [](std::uint8_t b) { return b == 'T'; }))
        << "written after its client was killed";
  }
}

}  // namespace
}  // namespace lanecall::test
