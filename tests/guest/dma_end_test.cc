// SPDX-License-Identifier: Apache-2.0
// What comes in the middle of DMA: memory taken back, programs killed, resets,
// a server that ends. Nothing is written once the memory is the program's
// again, and never next to it.
#include <lanecall/region.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "card_orders.h"

namespace lanecall::guest_tests {
namespace {

class DmaEnd : public WithFirmware {};

// A card that fills a region without pause.
class Storm {
 public:
  Storm(std::uint64_t key, std::size_t count)
      : fd_(open_with("storm " + std::to_string(key) + " " +
                          std::to_string(count) + " 170",
                      kTcpPeer)) {
    EXPECT_EQ(read_count(fd_.get(), 8), "started\n");
  }

  // The first error.
  int wait() const { return parse(read_to_end(fd_.get())).error; }

 private:
  Fd fd_;
};

bool is_all(const std::uint8_t* data, std::size_t bytes, std::uint8_t byte) {
  return std::all_of(data, data + bytes,
                     [byte](std::uint8_t each) { return each == byte; });
}

// Memory to be lent, but for its first page and its last.
class Target {
 public:
  static constexpr std::size_t kBytes = 8 << 20;
  static constexpr std::size_t kWhole = kBytes + 2 * kPage;

  // Of scattered pages.
  Target() : Target(std::move(interleaved(kWhole)[0])) {}
  explicit Target(Memory memory) : memory_(std::move(memory)) {
    std::fill_n(memory_.data(), kPage, kGuard);
    std::fill_n(data() + kBytes, kPage, kGuard);
  }
  ~Target() {
    EXPECT_TRUE(is_all(memory_.data(), kPage, kGuard));
    EXPECT_TRUE(is_all(data() + kBytes, kPage, kGuard));
  }

  std::uint8_t* data() const { return memory_.data() + kPage; }

  // It is the program's: cleared now, it stays so until the card has heard of
  // its end.
  void expect_not_touched_until(const Storm& storm) const {
    std::fill_n(data(), kBytes, 0);
    EXPECT_NE(storm.wait(), 0);
    EXPECT_TRUE(is_all(data(), kBytes, 0));
  }

 private:
  static constexpr std::uint8_t kGuard = 0x5a;

  Memory memory_;
};

constexpr std::size_t kBytes = Target::kBytes;

TEST_F(DmaEnd, ByUnregistering) {
  Target target;
  for (int round = 0; round < 10; round++) {
    Lent lent(target.data(), kBytes);
    Storm storm(lent.region.key, kBytes);
    EXPECT_EQ(unregister_region(lent.fd.get(), lent.region.region), 0);
    target.expect_not_touched_until(storm);
  }
}

TEST_F(DmaEnd, ByClosing) {
  Target target;
  Lent lent(target.data(), kBytes);
  Storm storm(lent.region.key, kBytes);
  lent.fd.reset();
  target.expect_not_touched_until(storm);
}

TEST_F(DmaEnd, ByTheProgramsDeath) {
  Fd file(::memfd_create("region", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), Target::kWhole), 0);
  Target target(Memory(Target::kWhole, file.get(), MAP_SHARED));
  int keys[2];
  ASSERT_EQ(::pipe(keys), 0);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Lent lent(target.data(), kBytes);
    [[maybe_unused]] ssize_t n =
        ::write(keys[1], &lent.region.key, sizeof lent.region.key);
    ::pause();
  }
  std::uint64_t key = 0;
  ASSERT_EQ(::read(keys[0], &key, sizeof key),
            static_cast<ssize_t>(sizeof key));
  Storm storm(key, kBytes);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(eventually([] { return regions_in_use() == 0; }));
  target.expect_not_touched_until(storm);
  ::close(keys[0]);
  ::close(keys[1]);
}

std::string pci_folder_of(const Fd& fd) {
  return std::string("/sys/bus/pci/devices/") + info_of(fd.get()).device;
}

TEST_F(DmaEnd, ByAReset) {
  Target target;
  Lent lent(target.data(), kBytes);
  Storm storm(lent.region.key, kBytes);
  ASSERT_TRUE(write_file(pci_folder_of(lent.fd) + "/reset", "1"));
  target.expect_not_touched_until(storm);
  Lent again(target.data(), kBytes);
  EXPECT_EQ(card_writes(again.region.key, 0, kBytes).error, 0);
}

// What the server had asked for is lost, and what was lent to the device stays
// so, for the next server too.
TEST_F(DmaEnd, ByTheServersDeath) {
  Target target;
  Lent lent(target.data(), kBytes);
  Storm storm(lent.region.key, kBytes);
  Fd killer = open_with("drop", kTcpPeer);
  EXPECT_EQ(read_to_end(killer.get()), "dropped\n");
  Fd other = open_channel();  // the device looks for a server
  EXPECT_EQ(storm.wait(), kLost);
  EXPECT_EQ(card_fills(lent.region.key, 0, kBytes, 7).error, 0);
  lent.readHere();
  EXPECT_TRUE(is_all(target.data(), kBytes, 7));
  EXPECT_EQ(unregister_region(lent.fd.get(), lent.region.region), 0);
  std::fill_n(target.data(), kBytes, 0);
  EXPECT_EQ(card_fills(lent.region.key, 0, kBytes, 8).error,
            LANECALL_ERR_ACCESS);
  EXPECT_TRUE(is_all(target.data(), kBytes, 0));
}

// A device that does not let go in time is reset rather than memory given back
// under it. With no time at all, one that is at work does not.
TEST_F(DmaEnd, OfADeviceThatDoesNotLetGo) {
  const long generation = sysfs_number("generation");
  Target target;
  int result = 0;
  {
    Parameter patience("revoke_ms", "0");
    for (int round = 0; round < 100 && result == 0; round++) {
      Lent lent(target.data(), kBytes);
      Storm storm(lent.region.key, kBytes);
      result = unregister_region(lent.fd.get(), lent.region.region);
      target.expect_not_touched_until(storm);
    }
  }
  EXPECT_EQ(result, EIO) << "it let go a hundred times in no time";
  EXPECT_GT(sysfs_number("generation"), generation);
  Lent again(target.data(), kBytes);
  EXPECT_EQ(card_writes(again.region.key, 0, kBytes).error, 0);
}

}  // namespace
}  // namespace lanecall::guest_tests
