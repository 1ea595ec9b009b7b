// SPDX-License-Identifier: Apache-2.0
//
// Region, on a lender that only keeps account; guest tests have the driver's.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <lanecall/descriptor.h>
#include <lanecall/memory_region.h>
#include <lanecall/open.h>

#include <cerrno>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace lanecall {
namespace {

class FakeLender : public Lender {
 public:
  int lend(lanecall_region_registration* region) override {
    if (error) return -error;
    region->device = 3;
    region->key = 1000 + next;
    region->region = next++;
    region->flags = needsSync ? LANECALL_REGION_NEEDS_SYNC : 0;
    lent[region->region] = *region;
    return 0;
  }
  int takeBack(std::uint32_t region) override {
    if (error) return -error;
    return lent.erase(region) ? 0 : -ENOENT;
  }
  int sync(const lanecall_region_sync& wanted) override {
    syncs.push_back(wanted);
    return -error;
  }
  std::string name() const override { return "/dev/fake"; }

  int error = 0;  // of the calls from now on
  bool needsSync = true;
  std::uint32_t next = 1;
  std::map<std::uint32_t, lanecall_region_registration> lent;
  std::vector<lanecall_region_sync> syncs;
};

class RegionTest : public ::testing::Test {
 protected:
  Region lend(RegionAccess access = RegionAccess::kReadWrite) {
    return Region(lender, memory, sizeof memory, access);
  }

  std::shared_ptr<FakeLender> lender = std::make_shared<FakeLender>();
  char memory[100];
};

// What a call throws, as errno's value and the text.
template <typename Call>
std::pair<int, std::string> failureOf(const Call& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return {error.code().value(), error.what()};
  }
  return {};
}

TEST_F(RegionTest, LendsWhatItIsGiven) {
  Region region = lend();
  ASSERT_EQ(lender->lent.size(), 1U);
  const lanecall_region_registration& lent = lender->lent.begin()->second;
  EXPECT_EQ(lent.address, reinterpret_cast<std::uintptr_t>(memory));
  EXPECT_EQ(lent.bytes, sizeof memory);
  EXPECT_EQ(lent.access, 3U);
  EXPECT_TRUE(region.isLent());
  EXPECT_EQ(static_cast<void*>(region.data()), memory);
  EXPECT_EQ(region.bytes(), sizeof memory);
  EXPECT_EQ(region.key(), 1001U);
}

TEST_F(RegionTest, ConstantMemoryIsOnlyRead) {
  const char text[] = "snapshot";
  Region region(lender, text, sizeof text);
  EXPECT_EQ(lender->lent.begin()->second.access, 1U);
}

TEST_F(RegionTest, RefersToAllOfItOrAPart) {
  Region region = lend();
  RegionReference all = region.reference();
  EXPECT_EQ(all.device, 3U);
  EXPECT_EQ(all.key, 1001U);
  EXPECT_EQ(all.offset, 0U);
  EXPECT_EQ(all.bytes, 100U);
  RegionReference part = region.reference(60, 40);
  EXPECT_EQ(part.key, 1001U);
  EXPECT_EQ(part.offset, 60U);
  EXPECT_EQ(part.bytes, 40U);
  EXPECT_THROW(region.reference(60, 41), std::out_of_range);
  EXPECT_THROW(region.reference(101, 0), std::out_of_range);
  EXPECT_THROW(region.reference(1, ~std::size_t{0}), std::out_of_range);
}

TEST_F(RegionTest, EndsOnceHoweverItIsMoved) {
  {
    Region first = lend();
    Region second = std::move(first);
    EXPECT_FALSE(first.isLent());
    EXPECT_EQ(lender->lent.size(), 1U);
    Region third = lend();
    second = std::move(third);  // the first's memory comes back
    EXPECT_EQ(lender->lent.size(), 1U);
    EXPECT_EQ(second.key(), 1002U);
    second = std::move(*&second);
    EXPECT_TRUE(second.isLent());
  }
  EXPECT_TRUE(lender->lent.empty());
}

TEST_F(RegionTest, CanBeTakenBackEarly) {
  Region region = lend();
  region.takeBack();
  EXPECT_TRUE(lender->lent.empty());
  EXPECT_FALSE(region.isLent());
  region.takeBack();
  Region().takeBack();
}

TEST_F(RegionTest, HasEndedWithItsConnection) {
  Region region = lend();
  lender->error = ENOTCONN;
  EXPECT_NO_THROW(region.takeBack());
  EXPECT_FALSE(region.isLent());
}

TEST_F(RegionTest, EveryFailureSaysWhatToDo) {
  for (auto [error, remedy] : {std::pair{EOPNOTSUPP, "card="},
                               {ENOMEM, "ulimit -l"},
                               {EFAULT, "not all of it is there"},
                               {EPERM, "lend a copy"},
                               {ENOSPC, "regions="},
                               {EDQUOT, "regions_share"},
                               {EIO, "open it again"},
                               {ENOTCONN, "open it again"}}) {
    lender->error = error;
    auto [code, text] = failureOf([&] { lend(); });
    EXPECT_EQ(code, error);
    EXPECT_NE(text.find("/dev/fake: lending memory: "), std::string::npos);
    EXPECT_NE(text.find(remedy), std::string::npos) << text;
  }
  EXPECT_TRUE(lender->lent.empty());
}

TEST_F(RegionTest, ADeviceThatWasResetIsToldOfOnce) {
  Region region = lend();
  lender->error = EIO;
  EXPECT_EQ(failureOf([&] { region.takeBack(); }).first, EIO);
  EXPECT_NO_THROW(region.takeBack());
}

TEST_F(RegionTest, SyncsWhatLiesInside) {
  Region region = lend();
  region.syncForDevice(10, 20);
  region.syncForCpu(99, 1);
  ASSERT_EQ(lender->syncs.size(), 2U);
  EXPECT_EQ(lender->syncs[0].direction, unsigned{LANECALL_SYNC_FOR_DEVICE});
  EXPECT_EQ(lender->syncs[0].offset, 10U);
  EXPECT_EQ(lender->syncs[0].bytes, 20U);
  EXPECT_EQ(lender->syncs[1].direction, unsigned{LANECALL_SYNC_FOR_CPU});
  EXPECT_THROW(region.syncForCpu(100, 1), std::out_of_range);
  EXPECT_EQ(failureOf([] { Region().syncForCpu(0, 0); }).first, ENOTCONN);
}

TEST_F(RegionTest, AsksForNoSyncThatDoesNothing) {
  lender->needsSync = false;
  Region region = lend();
  region.syncForDevice(0, 100);
  region.syncForCpu(0, 100);
  EXPECT_TRUE(lender->syncs.empty());
  EXPECT_THROW(region.syncForCpu(100, 1), std::out_of_range);
}

TEST_F(RegionTest, WithoutADeviceThereIsNoLender) {
  EXPECT_EQ(lenderOf(nullptr), nullptr);
  EXPECT_EQ(lenderOf(makeTransport("tcp:localhost:1")), nullptr);
  EXPECT_EQ(lenderOf(makeTransport("pcie:/dev/lanecall0")), nullptr)
      << "it is not open";
  EXPECT_EQ(
      failureOf([&] { Region(nullptr, memory, 1, RegionAccess::kRead); }).first,
      EOPNOTSUPP);
}

TEST(NodeLender, SaysWhenItsNodeIsClosedOrKnowsNoRegions) {
  Descriptor node(::open("/dev/null", O_RDWR | O_CLOEXEC));
  NodeLender lender(node.get(), "/dev/null");
  lanecall_region_registration region{};
  EXPECT_EQ(lender.lend(&region), -EOPNOTSUPP);
  lender.end();
  EXPECT_EQ(lender.lend(&region), -ENOTCONN);
  EXPECT_EQ(lender.takeBack(0), -ENOTCONN);
  EXPECT_EQ(lender.sync({}), -ENOTCONN);
}

}  // namespace
}  // namespace lanecall
