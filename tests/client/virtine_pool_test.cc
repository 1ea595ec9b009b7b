// SPDX-License-Identifier: Apache-2.0
//
// A pool of shells over every path: memory is lent where that can be, else
// sent.
#include <lanecall/virtine_pool.h>

#include <mutex>
#include <thread>
#include <vector>

#include "fixture.h"
#include "random.h"
#include "test_shell.h"

namespace lanecall::test {
namespace {

using Lease = VirtinePool::Lease;

constexpr int kForeverMs = 120'000;

class VirtinePoolTest : public ClientTest {
 protected:
  std::unique_ptr<VirtinePool> makePool() {
    VirtinePoolOptions options;
    options.batch = 8;
    options.highWater = 16;
    options.most = 24;
    options.cleanTimeoutMs = kForeverMs;
    options.say = [this](const std::string& line) {
      std::lock_guard<std::mutex> lock(mutex_);
      said.push_back(line);
    };
    return std::make_unique<VirtinePool>(
        [] { return std::make_unique<TestShell>(); },
        [this] { return openVirtineService(uri(), patience()); }, options);
  }

  static void use(VirtinePool& pool, Random& random) {
    Lease lease = pool.acquire(kForeverMs);
    ASSERT_TRUE(lease);
    ASSERT_TRUE(is_clean(*lease)) << "seed " << settings().seed;
    if (random.below(4) == 0) {
      lease->run(static_cast<std::uint32_t>(random.below(1000)));
      return;
    }
    auto dirty = dirtySome(lease->memory(), random);
    pool.release(std::move(lease), std::move(dirty));
  }
  static void use(VirtinePool& pool, std::uint64_t seed, int times) {
    Random random(seed);
    for (int i = 0; i < times && !HasFatalFailure(); ++i) use(pool, random);
  }

  std::vector<std::string> said;

 private:
  std::mutex mutex_;
};
LANECALL_ON_EVERY_PATH(VirtinePoolTest);

TEST_P(VirtinePoolTest, HandsOutCleanShellsOnly) {
  auto pool = makePool();
  use(*pool, settings().seed, settings().scaled(5000, 1000));
  const VirtinePoolCounters counters = pool->counters();
  EXPECT_EQ(counters.byReference, lends());
  EXPECT_TRUE(counters.connected);
  EXPECT_EQ(counters.cleanedHere, 0U);
  EXPECT_EQ(counters.failed, 0U);
  EXPECT_TRUE(said.empty()) << said.front();
}

TEST_P(VirtinePoolTest, SharedByThreads) {
  auto pool = makePool();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      use(*pool, settings().seed + i, settings().scaled(1000, 200));
    });
  threads.clear();
  EXPECT_EQ(pool->counters().cleanedHere, 0U);
}

TEST_P(VirtinePoolTest, CleansHereOnceTheServerIsKilled) {
  auto pool = makePool();
  use(*pool, settings().seed, 50);
  // In the middle of a batch, as far as there is one.
  std::vector<Lease> leases;
  for (int i = 0; i < 16; ++i) leases.push_back(pool->acquire(kForeverMs));
  for (Lease& lease : leases) lease->run(1);
  leases.clear();
  killServer();
  use(*pool, settings().seed, 100);
  const VirtinePoolCounters counters = pool->counters();
  EXPECT_FALSE(counters.connected);
  EXPECT_EQ(counters.losses, 1U);
  EXPECT_GE(counters.cleanedHere, 50U);
  EXPECT_EQ(said.size(), 1U);

  startServer();
  pool->reconnect();
  use(*pool, settings().seed, 100);
  EXPECT_TRUE(pool->counters().connected);
  EXPECT_GE(pool->counters().cleaned, counters.cleaned + 40);
}

}  // namespace
}  // namespace lanecall::test
