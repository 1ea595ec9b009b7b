// SPDX-License-Identifier: Apache-2.0
// The library's class for lent memory, on the driver.
#include <lanecall/memory_region.h>
#include <lanecall/open.h>
#include <thrift/transport/TTransport.h>

#include <cerrno>
#include <system_error>

#include "lending.h"

namespace lanecall::guest_tests {
namespace {

const std::string kAddress = std::string("pcie:") + kPeer;

int error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

class RegionsOfTheLibrary : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!device_takes_regions()) GTEST_SKIP() << "the device takes no regions";
  }
};

TEST_F(RegionsOfTheLibrary, EndWithTheObject) {
  Memory memory(3 * kPage);
  auto transport = openTransport(kAddress);
  {
    Region region(lenderOf(transport), memory.data() + 7, 2 * kPage,
                  RegionAccess::kReadWrite);
    EXPECT_EQ(regions_in_use(), 1);
    EXPECT_NE(region.key(), 0U);
    EXPECT_EQ(region.reference(1, 2).key, region.key());
    region.syncForDevice(0, region.bytes());
    region.syncForCpu(0, region.bytes());
  }
  EXPECT_EQ(regions_in_use(), 0);
}

TEST_F(RegionsOfTheLibrary, EndWithTheConnection) {
  Memory memory(kPage);
  auto transport = openTransport(kAddress);
  Region region(lenderOf(transport), memory.data(), kPage);
  auto lender = lenderOf(transport);
  transport->close();
  EXPECT_EQ(regions_in_use(), 0);
  EXPECT_EQ(lenderOf(transport), nullptr);
  EXPECT_EQ(error_of([&] { Region(lender, memory.data(), kPage); }), ENOTCONN);
  // Not those of the connection that comes after it.
  transport->open();
  Region next(lenderOf(transport), memory.data(), kPage);
  region.takeBack();
  EXPECT_EQ(regions_in_use(), 1);
}

TEST_F(RegionsOfTheLibrary, FailWithAReason) {
  auto transport = openTransport(kAddress);
  EXPECT_EQ(error_of([&] {
              Region(lenderOf(transport), nullptr, kPage, RegionAccess::kRead);
            }),
            EFAULT);
  EXPECT_EQ(error_of([&] {
              int memory = 0;
              Region(lenderOf(transport), &memory, 0, RegionAccess::kRead);
            }),
            EINVAL);
}

}  // namespace
}  // namespace lanecall::guest_tests
