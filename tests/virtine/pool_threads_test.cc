// SPDX-License-Identifier: Apache-2.0
//
// Threads that share a pool. Run with the thread sanitizer, too: the fake
// service has no locks, and the pool has to see to it that it needs none.
#include <thrift/transport/TTransportException.h>

#include <atomic>
#include <thread>

#include "pool_ground.h"

namespace lanecall::test {
namespace {

using apache::thrift::transport::TTransportException;
using virtine::Completion;

constexpr int kThreads = 4;
constexpr int kRuns = 500;

class PoolThreads : public PoolGround {
 protected:
  // In every thread: all or some of it dirty, or dropped.
  static void useRandomly(VirtinePool& pool, std::uint64_t seed,
                          std::atomic<int>& unclean) {
    Random random(seed);
    for (int i = 0; i < kRuns; ++i) {
      VirtinePool::Lease lease = pool.acquire(kPatienceMs);
      if (!lease || !is_clean(*lease)) {
        ++unclean;
        return;
      }
      switch (random.below(4)) {
        case 0:
          lease->run(i);
          break;  // dropped
        case 1:
          lease->run(i);
          pool.release(std::move(lease));
          break;
        default: {
          auto dirty = dirtySome(lease->memory(), random);
          pool.release(std::move(lease), std::move(dirty));
        }
      }
    }
  }

  void useInThreads(VirtinePool& pool) {
    std::atomic<int> unclean = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back(
          [&, i] { useRandomly(pool, settings().seed + i, unclean); });
    threads.clear();
    EXPECT_EQ(unclean, 0) << "--seed " << settings().seed;
    const VirtinePoolCounters counters = pool.counters();
    EXPECT_EQ(counters.acquired, counters.released);
    EXPECT_EQ(counters.made - counters.destroyed,
              counters.ready + counters.dirty + counters.cleaning +
                  counters.quarantine);
  }
};
LANECALL_LENT_AND_SENT(PoolThreads);

TEST_P(PoolThreads, ShareAPool) {
  auto pool = makePool();
  useInThreads(*pool);
  EXPECT_EQ(pool->counters().cleanedHere, 0U);
}

TEST_P(PoolThreads, ShareFewerShellsThanTheyAre) {
  VirtinePoolOptions options = small();
  options.highWater = options.most = 2;
  auto pool = makePool(options);
  useInThreads(*pool);
  EXPECT_EQ(pool->counters().made, 2U);
}

TEST_P(PoolThreads, ShareAPoolWhoseServiceFailsAndIsLost) {
  auto pool = makePool();
  Random random(settings().seed);
  service->changeCompletions = [&](std::vector<Completion>& completions) {
    for (Completion& completion : completions)
      if (random.below(4) == 0) completion.__isset.result = false;
  };
  int calls = 0;
  service->before = [&](const std::string&) {
    if (++calls > 600) throw TTransportException("gone");
  };
  useInThreads(*pool);
  EXPECT_EQ(pool->counters().losses, 1U);
  EXPECT_GE(pool->counters().cleanedHere, 100U);
}

TEST_P(PoolThreads, ShareAPoolThatIsConnectedAgainAndAgain) {
  auto pool = makePool();
  int calls = 0;
  service->before = [&](const std::string& call) {
    if (call == "info") calls = 0;
    if (++calls > 100) throw TTransportException("gone");
  };
  std::jthread again([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      pool->reconnect();
      std::this_thread::yield();
    }
  });
  useInThreads(*pool);
}

}  // namespace
}  // namespace lanecall::test
