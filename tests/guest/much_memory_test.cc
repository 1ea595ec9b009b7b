// SPDX-License-Identifier: Apache-2.0
// As many regions as the device has slots, a gigabyte in all: of pages of the
// program's own, of a memfd, of huge pages. In a guest that has so much.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "card_orders.h"

namespace lanecall::guest_tests {
namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kRegion = 256 << 10;
constexpr std::size_t kAll = 1024 * kMiB;

class MuchMemory : public WithFirmware {
 protected:
  void SetUp() override {
    WithFirmware::SetUp();
    if (IsSkipped()) return;
    if (!is_booted_with("lanecall_test.much"))
      GTEST_SKIP() << "this guest is small";
    ASSERT_EQ(pinned_pages(), 0U);
    ASSERT_TRUE(write_file("/proc/sys/vm/nr_hugepages", "128"));
  }
  void TearDown() override {
    memory_.clear();
    EXPECT_TRUE(write_file("/proc/sys/vm/nr_hugepages", "0"));
    WithFirmware::TearDown();
  }

  void addFile(std::size_t bytes, unsigned flags) {
    Fd file(::memfd_create("much", MFD_CLOEXEC | flags));
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(bytes)), 0);
    memory_.emplace_back(bytes, file.get(), MAP_SHARED);
  }

  // Where each region is.
  std::vector<std::uint8_t*> places() const {
    std::vector<std::uint8_t*> all;
    for (const Memory& each : memory_)
      for (std::size_t at = 0; at < each.bytes(); at += kRegion)
        all.push_back(each.data() + at);
    return all;
  }

  std::vector<Memory> memory_;
};

bool is_all(const std::uint8_t* data, std::uint8_t byte) {
  return data[0] == byte && std::memcmp(data, data + 1, kRegion - 1) == 0;
}

// What the card is to put into a region: nothing into most.
std::uint8_t filling(std::size_t number) {
  return number % 97 == 0 ? static_cast<std::uint8_t>(1 + number % 255) : 0;
}

TEST_F(MuchMemory, OfEveryKindInThousandsOfRegions) {
  memory_.emplace_back(512 * kMiB);
  addFile(256 * kMiB, 0);
  addFile(256 * kMiB, MFD_HUGETLB);
  const std::vector<std::uint8_t*> place = places();
  ASSERT_EQ(static_cast<std::size_t>(sysfs_number("regions")), place.size());

  Fd fd[4] = {open_channel(), open_channel(), open_channel(), open_channel()};
  std::vector<lanecall_region_registration> region;
  for (std::size_t i = 0; i < place.size(); i++)
    region.push_back(lend(fd[i % 4].get(), place[i], kRegion));
  EXPECT_EQ(pinned_pages(), kAll / kPage);
  EXPECT_EQ(regions_in_use(), static_cast<long>(place.size()));

  for (std::size_t i = 0; i < place.size(); i++) {
    if (filling(i)) {
      Moved moved = card_fills(region[i].key, 0, kRegion, filling(i));
      EXPECT_EQ(moved.error, 0) << i;
      EXPECT_EQ(moved.count, kRegion) << i;
    }
  }
  for (std::size_t i = 0; i < place.size(); i++)
    EXPECT_TRUE(is_all(place[i], filling(i))) << i;

  for (std::size_t i = 0; i < place.size(); i += 2)  // of two of the channels
    EXPECT_EQ(unregister_region(fd[i % 4].get(), region[i].region), 0);
  for (Fd& each : fd) each.reset();
  EXPECT_EQ(pinned_pages(), 0U);
}

}  // namespace
}  // namespace lanecall::guest_tests
