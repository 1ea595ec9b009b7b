// SPDX-License-Identifier: Apache-2.0
// A device that writes where it may not (x-rogue-dma): behind an IOMMU each
// attempt is blocked and memory stays as it is, the kernel hears of it, and
// channels go on. Without one the same attempts do harm, so these tests can
// fail.
#include <fcntl.h>
#include <lanecall/rogue.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <thread>

#include "../seed.h"
#include "lending.h"
#include "rogue_device.h"

namespace lanecall::guest_tests {
namespace {

constexpr std::chrono::seconds kSilence{1};

// A page with something in it, whose place in the machine's memory is known.
class Canary {
 public:
  Canary() : memory_(kPage, -1, MAP_LOCKED | MAP_POPULATE) {
    memory_.put(0, pattern(0, kPage));
  }
  bool isWhole() const { return memory_.get(0, kPage) == pattern(0, kPage); }
  std::string bytes(std::size_t offset, std::size_t count) const {
    return memory_.get(offset, count);
  }

  std::uint64_t address() const {
    constexpr std::uint64_t kFrame = (std::uint64_t{1} << 55) - 1;
    const auto page = reinterpret_cast<std::uintptr_t>(memory_.data()) / kPage;
    std::uint64_t entry = 0;
    Fd map(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::pread(map.get(), &entry, sizeof entry,
                      static_cast<off_t>(page * sizeof entry)),
              static_cast<ssize_t>(sizeof entry));
    EXPECT_NE(entry & kFrame, 0U) << "/proc/self/pagemap tells no address";
    return (entry & kFrame) * kPage;
  }

 private:
  Memory memory_;
};

// A client of the device that misbehaves: sends, and checks what comes back.
class Client {
 public:
  Client() : fd_(open_with("echo")), thread_([this] { run(); }) {}
  ~Client() {
    stop_ = true;
    thread_.join();
  }
  // Waits until some calls more have come back.
  bool goesOn() {
    const int before = calls_;
    return eventually([&] { return failed_ || calls_ >= before + 3; }) &&
           !failed_;
  }

 private:
  void run() {
    for (std::uint32_t seed = 0; !stop_ && !failed_; ++seed) {
      const std::string bytes = random_bytes(3000, seed);
      write_all(fd_.get(), bytes);
      failed_ = read_count(fd_.get(), bytes.size()) != bytes;
      ++calls_;
    }
  }

  Fd fd_;
  std::atomic<int> calls_{0};
  std::atomic<bool> stop_{false}, failed_{false};
  std::thread thread_;
};

std::string word_as_bytes() {
  const std::uint64_t word = LANECALL_ROGUE_WORD;
  return {reinterpret_cast<const char*>(&word), sizeof word};
}

// ---- Where the device tries when it is told --------------------------------

class RogueDma : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_booted_with("lanecall_test.rogue"))
      GTEST_SKIP() << "the device is no rogue";
    pci_ = info_of(open_channel().get()).device;
    ASSERT_TRUE(all_channels_free());
    device_ = std::make_unique<RogueDevice>(pci_);
    ASSERT_FALSE(HasFailure());
    device_->command(LANECALL_ROGUE_FORGET);
    ASSERT_EQ(isBehindIommu(), is_booted_with("iommu.strict=1"));
  }

  RogueDevice& device() { return *device_; }
  bool isBehindIommu() { return is_behind_iommu(pci_); }

  // A command that fails as a whole, and that the kernel hears of: at least one
  // report. It prints few in five seconds, so if it is silent the device tries
  // again. (AMD's IOMMU, as QEMU has it, reports nothing.)
  void expectBlocked(std::uint32_t kind, std::uint32_t count) {
    FaultReports reports(pci_);
    const auto end = std::chrono::steady_clock::now() + kSoon;
    ++bursts_;
    do {
      const Attempts now = device().command(kind, count);
      ASSERT_EQ(now, (Attempts{count, count}));
      all_.tried += now.tried;
      all_.blocked += now.blocked;
      if (!isReporting() || reports.next(kSilence)) return;
    } while (std::chrono::steady_clock::now() < end);
    ADD_FAILURE() << "the kernel does not report device " << pci_;
  }
  static bool isReporting() { return is_booted_with("intel_iommu=on"); }

  void say() const {
    std::cout << all_.tried << " tried, " << all_.blocked << " blocked, in "
              << bursts_ << " bursts, "
              << (isReporting() ? "each reported" : "not to be reported")
              << "\n";
  }

  std::string pci_;

 private:
  std::unique_ptr<RogueDevice> device_;
  Attempts all_;
  int bursts_ = 0;
};

TEST_F(RogueDma, WithoutAnIommuOverwritesMemory) {
  if (isBehindIommu()) GTEST_SKIP() << "there is one";
  Canary canary;
  Client client;
  device().choose(canary.address() + 800);
  EXPECT_EQ(device().command(LANECALL_ROGUE_CHOSEN, 2), (Attempts{2, 0}));
  EXPECT_FALSE(canary.isWhole());
  EXPECT_EQ(canary.bytes(0, 800), pattern(0, 800));
  EXPECT_EQ(canary.bytes(800, 16), word_as_bytes() + word_as_bytes());
  EXPECT_EQ(canary.bytes(816, kPage - 816), pattern(816, kPage - 816));
  EXPECT_TRUE(client.goesOn());
}

TEST_F(RogueDma, BehindAnIommuIsBlockedAndReported) {
  if (!isBehindIommu()) GTEST_SKIP() << "there is none";
  const auto seed = static_cast<std::uint32_t>(test::announcedSeed());
  Canary canary;
  Client client;
  device().seed(seed);
  const std::uint64_t address = canary.address();
  for (int round = 0; round < 2; round++) {
    device().choose(address);
    ASSERT_NO_FATAL_FAILURE(expectBlocked(LANECALL_ROGUE_CHOSEN, 250));
    EXPECT_TRUE(client.goesOn());
    ASSERT_NO_FATAL_FAILURE(expectBlocked(LANECALL_ROGUE_RANDOM, 250));
    EXPECT_TRUE(client.goesOn());
  }
  EXPECT_TRUE(canary.isWhole());
  EXPECT_EQ(canary.address(), address) << "the page moved: nothing was shown";
  say();
}

// Its index page and rings: freed, once the channel is not in use.
TEST_F(RogueDma, ChannelsThatAreClosedAreOutOfReach) {
  if (!isBehindIommu()) GTEST_SKIP() << "there is no IOMMU";
  Client client;
  {
    Fd fd = open_with("echo");
    write_all(fd.get(), "a");
    EXPECT_EQ(read_count(fd.get(), 1), "a");
  }
  ASSERT_TRUE(eventually([] { return sysfs_number("channels_in_use") == 1; }));
  const std::uint32_t pages = device().remembered();
  EXPECT_GT(pages, 2U);
  ASSERT_NO_FATAL_FAILURE(expectBlocked(LANECALL_ROGUE_GIVEN_BACK, pages));
  EXPECT_TRUE(client.goesOn());
  say();
}

// The program has the memory still, so that what is written there does no
// other harm.
TEST_F(RogueDma, RegionsThatAreTakenBackAreOutOfReachBehindAnIommu) {
  if (!device_takes_regions()) GTEST_SKIP() << "the device takes no regions";
  constexpr std::size_t kPages = 100;
  Memory memory(kPages * kPage);
  std::fill_n(memory.data(), memory.bytes(), 'm');
  Fd fd = open_channel();
  const lanecall_region_registration region = lend(fd.get(), memory);
  device().command(LANECALL_ROGUE_FORGET);
  EXPECT_EQ(device().command(LANECALL_ROGUE_GIVEN_BACK), Attempts{});
  ASSERT_EQ(unregister_region(fd.get(), region.region), 0);
  ASSERT_EQ(device().remembered(), kPages);
  if (isBehindIommu()) {
    ASSERT_NO_FATAL_FAILURE(expectBlocked(LANECALL_ROGUE_GIVEN_BACK, kPages));
    EXPECT_EQ(memory.get(0, memory.bytes()), std::string(memory.bytes(), 'm'));
    say();
    return;
  }
  EXPECT_EQ(device().command(LANECALL_ROGUE_GIVEN_BACK), (Attempts{kPages, 0}));
  for (std::size_t page = 0; page < kPages; page++)
    EXPECT_EQ(memory.get(page * kPage, 8), word_as_bytes()) << page;
}

// ---- Where it tries by itself, from power-on
// ---------------------------------

TEST(RogueDmaFromPowerOn, IsBlocked) {
  if (!is_booted_with("lanecall_test.rogue_from_power_on"))
    GTEST_SKIP() << "the device is no rogue by itself";
  const std::string pci = info_of(open_channel().get()).device;
  ASSERT_TRUE(is_behind_iommu(pci));
  RogueDevice device(pci);
  ASSERT_FALSE(HasFailure());
  Client client;
  const std::uint32_t before = device.attempts().tried;
  EXPECT_GT(before, 0U);
  ASSERT_TRUE(
      eventually([&] { return device.attempts().tried >= before + 20; }));
  EXPECT_TRUE(client.goesOn());
  const Attempts all = device.attempts();
  EXPECT_EQ(all.tried, all.blocked);
  std::cout << all.tried << " tried since power-on, " << all.blocked
            << " blocked\n";
}

}  // namespace
}  // namespace lanecall::guest_tests
