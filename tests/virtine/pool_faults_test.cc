// SPDX-License-Identifier: Apache-2.0
//
// A pool whose service fails, lies or is gone: no shell that is not clean is
// ever handed out, and every shell is handed out again.
#include <thrift/transport/TTransportException.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <stdexcept>

#include "pool_ground.h"

namespace lanecall::test {
namespace {

using apache::thrift::transport::TTransportException;
using virtine::Completion;
using virtine::Ticket;
using Lease = VirtinePool::Lease;

Completion failed(Ticket ticket, virtine::CleanFault::type fault) {
  virtine::CleanFailed failure;
  failure.fault = fault;
  failure.reason = "as told";
  Completion completion;
  completion.ticket = ticket;
  completion.__set_failure(failure);
  return completion;
}

class PoolFaults : public PoolGround {
 protected:
  // Whatever has happened: all shells there may be are handed out, at once and
  // clean.
  static void expectAllShells(VirtinePool& pool) {
    giveBack(pool, take(pool, 6));
    use(pool, 20);
  }

  // The next calls of that name end the connection.
  void breakAt(const std::string& name) {
    service->before = [name](const std::string& call) {
      if (call == name)
        throw TTransportException(TTransportException::NOT_OPEN, "gone");
    };
  }
};
LANECALL_LENT_AND_SENT(PoolFaults);

TEST_P(PoolFaults, AFailedCleanIsMadeGoodHere) {
  auto pool = makePool();
  int count = 0;
  service->changeCompletions = [&](std::vector<Completion>& completions) {
    for (Completion& completion : completions)
      if (++count % 2)
        completion = failed(completion.ticket, virtine::CleanFault::DMA);
  };
  use(*pool, 100);
  const VirtinePoolCounters counters = pool->counters();
  EXPECT_GE(counters.failed, 40U);
  EXPECT_GE(counters.cleaned, 40U);
  EXPECT_EQ(counters.failed, counters.cleanedHere + counters.quarantine);
  EXPECT_TRUE(counters.connected);
  // Not a line for each.
  EXPECT_LE(said.size(), 8U);
  ASSERT_GE(said.size(), 1U);
  EXPECT_NE(said[0].find("as told"), std::string::npos) << said[0];
  service->changeCompletions = nullptr;
  expectAllShells(*pool);
  const VirtinePoolCounters now = pool->counters();
  EXPECT_EQ(service->attached(), now.made - now.destroyed)
      << "those taken back are attached again";
}

// What a lying service makes of completions.
struct Lie {
  const char* name;
  std::function<void(std::vector<Completion>&)> tell;
  bool isBeyondTrust;
};

std::vector<Lie> lies() {
  return {
      {"more restored", [](auto& all) { ++all.at(0).result.restored; }, false},
      {"fewer zeroed", [](auto& all) { --all.at(0).result.zeroed; }, false},
      {"nothing done",
       [](auto& all) {
         all.at(0).result.restored = 0;
         all.at(0).result.zeroed = 0;
       },
       false},
      {"another shape",
       [](auto& all) {
         auto& result = all.at(0).result;
         if (result.__isset.memory) {
           result.memory.bytes.pop_back();
         } else {
           result.__isset.memory = true;
         }
       },
       false},
      {"neither result nor failure",
       [](auto& all) { all.at(0).__isset.result = false; }, false},
      {"twice", [](auto& all) { all.push_back(all.at(0)); }, true},
      {"a ticket nobody has", [](auto& all) { all.at(0).ticket = -5; }, true}};
}

TEST_P(PoolFaults, ALieIsNeverTakenForAClean) {
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.name);
    said.clear();
    SetUp();
    auto pool = makePool();
    int told = 0;
    service->changeCompletions = [&](std::vector<Completion>& completions) {
      if (completions.empty()) return;
      ++told;
      lie.tell(completions);
    };
    use(*pool, 30);
    EXPECT_GE(told, 1);
    EXPECT_EQ(pool->counters().connected, !lie.isBeyondTrust);
    EXPECT_FALSE(said.empty());
    service->changeCompletions = nullptr;
    expectAllShells(*pool);
  }
}

TEST_P(PoolFaults, TicketsThatCannotBeEndTheTrust) {
  const std::function<void(std::vector<Ticket>&)> lies[] = {
      [](auto& tickets) { tickets.pop_back(); },
      [](auto& tickets) { tickets.push_back(1); },
      [](auto& tickets) { tickets.clear(); },
      [](auto& tickets) {
        for (Ticket& ticket : tickets) ticket = 5;
      }};
  for (const auto& lie : lies) {
    SetUp();
    auto pool = makePool();
    use(*pool, 2);
    service->changeTickets = lie;
    giveBack(*pool, take(*pool, 6));
    service->changeTickets = nullptr;
    expectAllShells(*pool);
    EXPECT_EQ(pool->counters().losses, 1U);
    EXPECT_FALSE(pool->counters().connected);
  }
}

TEST_P(PoolFaults, ALateShellStaysInQuarantineUntilTheDeviceIsDone) {
  VirtinePoolOptions options = small();
  options.cleanTimeoutMs = 1;
  auto pool = makePool(options);
  service->holds = true;
  auto leases = take(*pool, 6);
  Lease kept = std::move(leases.back());
  leases.pop_back();
  giveBack(*pool, std::move(leases));
  while (pool->counters().late < 5) ASSERT_FALSE(pool->acquire(1));
  EXPECT_EQ(pool->counters().quarantine, 5U);
  EXPECT_EQ(pool->counters().cleaning, 0U);
  EXPECT_FALSE(pool->acquire(0));
  if (lender) {
    EXPECT_EQ(lender->lent(), 5U) << "they stay lent";
  }
  // Done at last: not believed to be clean, but theirs again.
  service->holds = false;
  pool->release(std::move(kept), {});
  giveBack(*pool, take(*pool, 6));
  EXPECT_EQ(pool->counters().failed, 5U);
  EXPECT_TRUE(pool->counters().connected);
}

TEST_P(PoolFaults, AServiceThatNeverCompletesIsGivenUp) {
  VirtinePoolOptions options = small();
  options.cleanTimeoutMs = 1;
  auto pool = makePool(options);
  service->holds = true;
  giveBack(*pool, take(*pool, 6));
  // Nobody else has a shell, so this one waits as long as it takes.
  use(*pool);
  EXPECT_FALSE(pool->counters().connected);
  EXPECT_EQ(pool->counters().quarantine, 5U) << "until somebody wants them";
  expectAllShells(*pool);
}

TEST_P(PoolFaults, AServiceThatIsLateTooOftenIsGivenUp) {
  VirtinePoolOptions options = small();
  options.cleanTimeoutMs = 1;
  options.mostLate = 2;
  auto pool = makePool(options);
  service->holds = true;
  auto kept = take(*pool, 3);
  giveBack(*pool, take(*pool, 3));
  use(*pool);
  EXPECT_FALSE(pool->counters().connected);
  kept.clear();
  expectAllShells(*pool);
}

TEST_P(PoolFaults, CleansHereAfterAnyCallHasLostTheService) {
  for (const char* call : {"submit", "reap", "attach", "detach"}) {
    SCOPED_TRACE(call);
    SetUp();
    said.clear();
    auto pool = makePool();
    use(*pool, 5);
    breakAt(call);
    expectAllShells(*pool);
    if (std::string(call) == "detach") {
      service->changeCompletions = [](std::vector<Completion>& completions) {
        for (Completion& completion : completions)
          completion = failed(completion.ticket, virtine::CleanFault::REVOKED);
      };
      use(*pool, 20);
    }
    VirtinePoolCounters counters = pool->counters();
    EXPECT_EQ(counters.losses, 1U);
    EXPECT_FALSE(counters.connected);
    EXPECT_GE(counters.cleanedHere, 5U);
    EXPECT_EQ(counters.cleaning, 0U);
    ASSERT_FALSE(said.empty());
    EXPECT_NE(said[0].find("gone"), std::string::npos) << said[0];
    EXPECT_NE(said[0].find("memcpy"), std::string::npos) << said[0];
  }
}

// FakeLender writes into memory that is busy just before it gives it back: had
// the pool cleaned it before that, it would not be clean.
TEST_P(PoolFaults, TakesMemoryBackBeforeItCleansIt) {
  auto pool = makePool();
  service->holds = true;
  giveBack(*pool, take(*pool, 6));
  EXPECT_FALSE(pool->acquire(0));
  EXPECT_EQ(service->outstanding(), 6U);
  if (lender) {
    EXPECT_EQ(lender->lent(), 6U);
  }
  breakAt("reap");
  giveBack(*pool, take(*pool, 6));
  if (lender) {
    EXPECT_EQ(lender->lent(), 0U);
  }
}

// It may be written to for ever.
TEST_P(PoolFaults, AShellWhoseMemoryDoesNotComeBackIsNotUsedAgain) {
  if (!lender) GTEST_SKIP() << "memory is sent";
  auto pool = makePool();
  service->holds = true;
  auto leases = take(*pool, 6);
  std::vector<int> before;
  for (Lease& lease : leases)
    before.push_back(dynamic_cast<TestShell&>(*lease).number);
  giveBack(*pool, std::move(leases));
  EXPECT_FALSE(pool->acquire(0));
  lender->failToTakeBack(EIO);
  breakAt("reap");
  for (Lease& lease : take(*pool, 6))
    EXPECT_EQ(std::count(before.begin(), before.end(),
                         dynamic_cast<TestShell&>(*lease).number),
              0);
  EXPECT_EQ(pool->counters().destroyed, 6U);
}

TEST_P(PoolFaults, ConnectsAgainOnlyWhenTold) {
  auto pool = makePool();
  pool->reconnect();
  EXPECT_EQ(connections, 1) << "it is connected";
  breakAt("submit");
  expectAllShells(*pool);
  breakAt("info");
  EXPECT_THROW(pool->reconnect(), TTransportException);
  EXPECT_FALSE(pool->counters().connected);
  expectAllShells(*pool);

  auto held = take(*pool, 2);
  service = std::make_shared<FakeCleanup>(lender);
  pool->reconnect();
  EXPECT_EQ(connections, 3);
  EXPECT_TRUE(pool->counters().connected);
  const std::uint64_t before = pool->counters().cleanedHere;
  giveBack(*pool, std::move(held));
  use(*pool, 50);
  EXPECT_EQ(pool->counters().cleanedHere, before);
  EXPECT_GE(pool->counters().cleaned, 40U);
}

TEST_P(PoolFaults, ARefusedShellIsCleanedHere) {
  auto pool = makePool();
  // Those made later are attached when they are first sent.
  auto leases = take(*pool, 6);
  service->before = [](const std::string& call) {
    if (call != "attach") return;
    virtine::QuotaExceeded full;
    full.reason = "attachments";
    full.limit = 4;
    throw full;
  };
  giveBack(*pool, std::move(leases));
  use(*pool, 50);
  EXPECT_TRUE(pool->counters().connected);
  EXPECT_GE(pool->counters().cleanedHere, 2U);
  EXPECT_GE(pool->counters().cleaned, 20U);
  ASSERT_FALSE(said.empty());
  EXPECT_NE(said[0].find("attachments is 4"), std::string::npos) << said[0];
}

TEST_P(PoolFaults, MemoryThatCannotBeLentIsCleanedHere) {
  if (!lender) GTEST_SKIP() << "memory is sent";
  auto pool = makePool();
  auto leases = take(*pool, 6);
  lender->refuseToLend(ENOMEM);
  giveBack(*pool, std::move(leases));
  use(*pool, 50);
  EXPECT_TRUE(pool->counters().connected);
  EXPECT_GE(pool->counters().cleaned, 20U);
  ASSERT_FALSE(said.empty());
  EXPECT_NE(said[0].find("ulimit"), std::string::npos) << said[0];
}

TEST_P(PoolFaults, ARefusedBatchIsCleanedHere) {
  auto pool = makePool();
  service->before = [](const std::string& call) {
    if (call == "submit") throw virtine::BadMemory();
  };
  use(*pool, 20);
  EXPECT_TRUE(pool->counters().connected);
  EXPECT_GE(pool->counters().cleanedHere, 10U);
}

TEST_P(PoolFaults, ThrowsIfItCannotBegin) {
  for (const char* call : {"info", "registerSnapshot", "attach"}) {
    breakAt(call);
    EXPECT_THROW(makePool(), TTransportException) << call;
  }
  if (lender) {
    EXPECT_EQ(lender->lent(), 0U);
  }
}

}  // namespace
}  // namespace lanecall::test
