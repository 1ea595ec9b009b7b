// SPDX-License-Identifier: Apache-2.0
//
// The ground of the pool's tests: pools over a fake service, with memory lent
// to it or sent.
#ifndef LANECALL_TESTS_POOL_GROUND_H
#define LANECALL_TESTS_POOL_GROUND_H

#include <gtest/gtest.h>
#include <lanecall/virtine_pool.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fake_cleanup.h"
#include "fake_lender.h"
#include "settings.h"
#include "test_shell.h"

namespace lanecall::test {

// The parameter: whether memory is lent.
class PoolGround : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) lender = std::make_shared<FakeLender>();
    service = std::make_shared<FakeCleanup>(lender);
  }

  // Small, so that a few shells reach every mark.
  static VirtinePoolOptions small() {
    VirtinePoolOptions options;
    options.batch = 3;
    options.lowWater = 1;
    options.highWater = 4;
    options.most = 6;
    return options;
  }

  std::unique_ptr<VirtinePool> makePool(VirtinePoolOptions options = small()) {
    options.say = [this](const std::string& line) {
      std::lock_guard<std::mutex> lock(mutex_);
      said.push_back(line);
    };
    return std::make_unique<VirtinePool>(
        [] { return std::make_unique<TestShell>(); },
        [this] {
          ++connections;
          return VirtineService{service, lender};
        },
        options);
  }

  // Runs a shell, after looking that it is clean.
  static void use(VirtinePool& pool) {
    VirtinePool::Lease lease = pool.acquire(kPatienceMs);
    ASSERT_TRUE(lease);
    ASSERT_TRUE(is_clean(*lease)) << "--seed " << settings().seed;
    lease->run(7);
    pool.release(std::move(lease));
  }
  static void use(VirtinePool& pool, int times) {
    for (int i = 0; i < times && !HasFatalFailure(); ++i) use(pool);
  }

  // So many, all clean, at the same time.
  static std::vector<VirtinePool::Lease> take(VirtinePool& pool, int count) {
    std::vector<VirtinePool::Lease> leases;
    for (int i = 0; i < count; ++i) {
      leases.push_back(pool.acquire(kPatienceMs));
      EXPECT_TRUE(leases.back());
      if (leases.back()) {
        EXPECT_TRUE(is_clean(*leases.back()));
      }
    }
    return leases;
  }
  static void giveBack(VirtinePool& pool,
                       std::vector<VirtinePool::Lease> leases) {
    for (VirtinePool::Lease& lease : leases) {
      if (lease) lease->run(3);
      pool.release(std::move(lease));
    }
  }

  // Who meets it has hung.
  static constexpr int kPatienceMs = 60'000;

  std::shared_ptr<FakeLender> lender;  // null: memory is sent
  std::shared_ptr<FakeCleanup> service;
  std::vector<std::string> said;
  int connections = 0;

 private:
  std::mutex mutex_;
};

inline std::string memoryName(const ::testing::TestParamInfo<bool>& info) {
  return info.param ? "lent" : "sent";
}

}  // namespace lanecall::test

#define LANECALL_LENT_AND_SENT(ground)                        \
  INSTANTIATE_TEST_SUITE_P(Memory, ground, ::testing::Bool(), \
                           ::lanecall::test::memoryName)

#endif
