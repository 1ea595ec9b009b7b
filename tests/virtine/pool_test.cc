// SPDX-License-Identifier: Apache-2.0
//
// A pool whose service does what it should.
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "pool_ground.h"

namespace lanecall::test {
namespace {

using Lease = VirtinePool::Lease;

class Pool : public PoolGround {};
LANECALL_LENT_AND_SENT(Pool);

TEST_P(Pool, HandsOutCleanShellsAgainAndAgain) {
  auto pool = makePool();
  use(*pool, 100);
  const VirtinePoolCounters counters = pool->counters();
  EXPECT_EQ(counters.acquired, 100U);
  EXPECT_EQ(counters.released, 100U);
  EXPECT_EQ(counters.made, 4U);
  EXPECT_EQ(counters.cleaned + counters.dirty + counters.cleaning, 100U);
  EXPECT_EQ(counters.cleanedHere, 0U);
  EXPECT_EQ(counters.failed, 0U);
  EXPECT_EQ(counters.restoredBytes, counters.cleaned * TestShell::kImageBytes);
  EXPECT_EQ(counters.zeroedBytes,
            counters.cleaned * (TestShell::kBytes - TestShell::kImageBytes));
  EXPECT_TRUE(counters.connected);
  EXPECT_EQ(counters.byReference, GetParam());
  EXPECT_TRUE(said.empty()) << said.front();
}

TEST_P(Pool, CleansWhatIsDirty) {
  Random random(settings().seed);
  auto pool = makePool();
  std::uint64_t bytes = 0;
  for (int i = 0; i < 300; ++i) {
    Lease lease = pool->acquire(kPatienceMs);
    ASSERT_TRUE(lease);
    ASSERT_TRUE(is_clean(*lease)) << i << ", --seed " << settings().seed;
    auto dirty = dirtySome(lease->memory(), random);
    for (const auto& extent : dirty) bytes += extent.length;
    pool->release(std::move(lease), std::move(dirty));
  }
  const VirtinePoolCounters counters = pool->counters();
  EXPECT_LE(counters.restoredBytes + counters.zeroedBytes, bytes);
  EXPECT_EQ(counters.cleanedHere, 0U);
}

TEST_P(Pool, SendsWholeBatchesWhileThereAreCleanShells) {
  auto pool = makePool();
  service->holds = true;
  auto leases = take(*pool, 4);
  Lease spare = pool->acquire(0);  // above the high mark
  auto left = std::move(leases.back());
  leases.pop_back();
  // Three clean shells would be needed to be above the low mark.
  pool->release(std::move(left), {});
  pool->release(std::move(spare), {});
  EXPECT_EQ(pool->counters().ready, 2U);
  pool->release(std::move(leases[0]));
  pool->release(std::move(leases[1]));
  EXPECT_EQ(service->batches, std::vector<std::size_t>{});
  EXPECT_EQ(pool->counters().dirty, 2U);
  pool->release(std::move(leases[2]));
  EXPECT_EQ(service->batches, std::vector<std::size_t>{3});
  EXPECT_EQ(pool->counters().cleaning, 3U);
}

TEST_P(Pool, SendsFewerAtTheLowMarkIfTheServiceIsIdle) {
  auto pool = makePool();
  service->holds = true;
  auto leases = take(*pool, 3);
  pool->release(std::move(leases[0]));
  EXPECT_EQ(service->batches, std::vector<std::size_t>{1});
  // Not now that it has something to do.
  pool->release(std::move(leases[1]));
  EXPECT_EQ(service->batches, std::vector<std::size_t>{1});
}

TEST_P(Pool, NeverHandsOutAShellThatIsBeingCleaned) {
  auto pool = makePool();
  service->holds = true;
  giveBack(*pool, take(*pool, 6));  // as many as there may be
  EXPECT_FALSE(pool->acquire(0));
  EXPECT_FALSE(pool->acquire(5));
  VirtinePoolCounters counters = pool->counters();
  EXPECT_EQ(counters.exhausted, 2U);
  EXPECT_EQ(counters.cleaning, 6U);
  service->holds = false;
  EXPECT_TRUE(pool->acquire(0)) << "though they have completed";
}

TEST_P(Pool, MakesAShellRatherThanWaitForOneThatIsOut) {
  auto pool = makePool();
  auto leases = take(*pool, 6);
  EXPECT_EQ(pool->counters().made, 6U);
  EXPECT_FALSE(pool->acquire(0));
  pool->release(std::move(leases[0]));
  EXPECT_TRUE(pool->acquire(kPatienceMs));
  EXPECT_EQ(pool->counters().made, 6U);
}

TEST_P(Pool, DestroysWhatIsAboveTheHighMark) {
  auto pool = makePool();
  giveBack(*pool, take(*pool, 6));
  use(*pool, 20);
  const VirtinePoolCounters counters = pool->counters();
  EXPECT_EQ(counters.made - counters.destroyed,
            counters.ready + counters.dirty + counters.cleaning);
  EXPECT_GE(counters.destroyed, 1U);
  EXPECT_LE(counters.ready, 4U);
  EXPECT_EQ(service->attached(), counters.made - counters.destroyed);
}

TEST_P(Pool, TakesAShellThatIsNotDirtyAsClean) {
  auto pool = makePool();
  pool->release(pool->acquire(0), {});
  EXPECT_EQ(pool->counters().ready, 4U);
  EXPECT_TRUE(service->batches.empty());
}

TEST_P(Pool, KeepsTheLeaseIfExtentsAreWrong) {
  auto pool = makePool();
  Lease lease = pool->acquire(0);
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::pair<std::int64_t, std::int64_t> wrong[] = {
      {0, 0},
      {0, -1},
      {-1, 2},
      {TestShell::kBytes, 1},
      {0, TestShell::kBytes + 1},
      {1, kMax},
      {kMax, 1}};
  virtine::Extent extent;
  for (auto [offset, length] : wrong) {
    extent.offset = offset;
    extent.length = length;
    EXPECT_THROW(pool->release(std::move(lease), {extent}),
                 std::invalid_argument)
        << offset << " " << length;
    ASSERT_TRUE(lease);
  }
  extent.offset = 0;
  extent.length = 10;
  virtine::Extent next = extent;
  next.offset = 9;
  EXPECT_THROW(pool->release(std::move(lease), {extent, next}),
               std::invalid_argument);
  EXPECT_THROW(pool->release(std::move(lease), {next, extent}),
               std::invalid_argument);
  next.offset = 10;
  pool->release(std::move(lease), {next, extent});
  EXPECT_FALSE(lease);
}

TEST_P(Pool, TakesALeaseThatEndsAsAllDirty) {
  auto pool = makePool();
  { pool->acquire(0)->run(1); }
  EXPECT_EQ(pool->counters().released, 1U);
  use(*pool, 10);
}

TEST_P(Pool, MayEndBeforeItsLeases) {
  auto pool = makePool();
  auto leases = take(*pool, 2);
  service->holds = true;
  giveBack(*pool, take(*pool, 3));
  pool.reset();
  if (lender) {
    EXPECT_EQ(lender->lent(), 2U) << "only those";
  }
  leases[0]->run(1);
  leases.clear();
  if (lender) {
    EXPECT_EQ(lender->lent(), 0U);
  }
}

TEST_P(Pool, ResetsAShellEachTime) {
  auto pool = makePool();
  Lease lease = pool->acquire(0);
  const int before = dynamic_cast<TestShell&>(*lease).resets;
  Shell* first = &*lease;
  pool->release(std::move(lease), {});
  lease = pool->acquire(0);
  ASSERT_EQ(&*lease, first);
  EXPECT_EQ(dynamic_cast<TestShell&>(*lease).resets, before + 1);
}

TEST_P(Pool, SyncsLentMemoryBothWays) {
  if (!lender) GTEST_SKIP() << "memory is sent";
  auto pool = makePool();
  use(*pool, 30);
  const int cleaned = static_cast<int>(pool->counters().cleaned);
  EXPECT_GE(cleaned, 1);
  EXPECT_EQ(lender->synced(LANECALL_SYNC_FOR_CPU), cleaned);
  EXPECT_GE(lender->synced(LANECALL_SYNC_FOR_DEVICE), cleaned);
}

TEST_P(Pool, AsksForNoMoreThanTheServiceKeeps) {
  service->maxTickets = 2;
  auto pool = makePool();
  service->holds = true;
  giveBack(*pool, take(*pool, 6));
  EXPECT_EQ(service->outstanding(), 2U);
  service->holds = false;
  use(*pool, 20);
  EXPECT_EQ(pool->counters().failed, 0U);
}

TEST_P(Pool, CleansHereWithoutAService) {
  VirtinePool pool([] { return std::make_unique<TestShell>(); }, nullptr,
                   small());
  use(pool, 50);
  EXPECT_FALSE(pool.counters().connected);
  EXPECT_GE(pool.counters().cleanedHere, 40U);
}

TEST_P(Pool, RefusesOptionsThatCannotBe) {
  auto refuses = [&](auto change) {
    VirtinePoolOptions options = small();
    change(options);
    EXPECT_THROW(makePool(options), std::invalid_argument);
  };
  refuses([](auto& options) { options.batch = 0; });
  refuses([](auto& options) { options.reapAtLeast = 0; });
  refuses([](auto& options) { options.lowWater = 5; });
  refuses([](auto& options) { options.most = 3; });
  refuses([](auto& options) { options.cleanTimeoutMs = 0; });
  refuses([](auto& options) { options.mostLate = 0; });
}

// Of every second image.
class OtherShell : public TestShell {
 public:
  std::span<const std::uint8_t> image() const override {
    return TestShell::image().first(100);
  }
};

TEST_P(Pool, RefusesShellsThatDiffer) {
  int made = 0;
  auto maker = [&]() -> std::unique_ptr<Shell> {
    if (++made == 2) return std::make_unique<OtherShell>();
    return std::make_unique<TestShell>();
  };
  EXPECT_THROW(VirtinePool(maker, nullptr, small()), std::invalid_argument);
}

TEST_P(Pool, ThrowsWhatTheMakerThrows) {
  bool fails = false;
  VirtinePool pool(
      [&] {
        if (fails) throw std::runtime_error("no more");
        return std::make_unique<TestShell>();
      },
      nullptr, small());
  auto leases = take(pool, 4);
  fails = true;
  EXPECT_THROW(pool.acquire(0), std::runtime_error);
  fails = false;
  EXPECT_TRUE(pool.acquire(0));
}

}  // namespace
}  // namespace lanecall::test
