// SPDX-License-Identifier: Apache-2.0
// Memory of a virtual machine (of this guest's own KVM) that is lent: machine
// and card see what the other has written, and the machine's dirty log has the
// machine's writes only.
#include <lanecall/kvm_shell.h>

#include <cstring>

#include "lending.h"

namespace lanecall::guest_tests {
namespace {

// Returns the 32 bits at the address in eax, and inverts them there.
constexpr std::uint8_t kInvert[] = {
    0x8b, 0x10,  // mov (%eax), %edx
    0xf7, 0x10,  // notl (%eax)
    0x89, 0xd0,  // mov %edx, %eax
    0xf4,        // hlt
};
constexpr std::size_t kBytes = 64 << 10;
constexpr std::size_t kPlace = 8 * kPage;  // which the machine uses

class RegionsOfMachines : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_booted_with("lanecall_test.dma"))
      GTEST_SKIP() << "the card has no firmware that moves bytes";
    if (auto why = whyNoKvm(); !why.empty()) GTEST_SKIP() << why;
    makeShell();
  }

  void makeShell() {
    channel_.reset();  // takes back what was lent
    const VirtineFunction invert{"invert", kInvert, nullptr};
    shell_ =
        std::make_unique<KvmShell>(makeVirtineImage(invert, kBytes), kBytes);
    value_ = valueHere();
  }

  std::uint32_t valueHere() const {
    std::uint32_t value;
    std::memcpy(&value, shell_->memory().data() + kPlace, sizeof value);
    return value;
  }

  std::uint32_t run() { return shell_->run(kPlace); }

  // The only page that is, in bytes from the memory's start; -1: none.
  std::int64_t dirtyPlace() {
    const auto dirty = shell_->dirty();
    if (dirty.empty()) return -1;
    EXPECT_EQ(dirty.size(), 1u);
    EXPECT_EQ(dirty[0].length, static_cast<std::int64_t>(kPage));
    return dirty[0].offset;
  }

  // A first run sees pages for the first time, and takes them as dirty.
  void runFirst() {
    EXPECT_EQ(run(), value_);
    shell_->dirty();
    shell_->reset();
    value_ = ~value_;
  }

  void lendIt() {
    channel_ = open_channel();
    region_ = lend(channel_.get(), shell_->memory().data(), kBytes);
  }

  void cardFillsPlace(int byte) const {
    Fd fd = open_with("dma fill " + std::to_string(region_.key) + " " +
                          std::to_string(kPlace) + " " + std::to_string(kPage) +
                          " " + std::to_string(byte),
                      kTcpPeer);
    EXPECT_EQ(read_to_end(fd.get()), "0 " + std::to_string(kPage) + "\n");
  }

  std::unique_ptr<KvmShell> shell_;
  std::uint32_t value_ = 0;
  Fd channel_;
  lanecall_region_registration region_{};
};

TEST_F(RegionsOfMachines, CardWritesAreSeenAndAreNotInTheDirtyLog) {
  for (bool before : {true, false}) {
    SCOPED_TRACE(before ? "ran before it was lent" : "lent first");
    makeShell();
    if (before) runFirst();
    lendIt();
    if (!before) runFirst();
    EXPECT_EQ(run(), value_);
    EXPECT_EQ(dirtyPlace(), std::int64_t{kPlace});
    EXPECT_EQ(valueHere(), ~value_);
    shell_->reset();

    for (int byte = 1; byte < 20; ++byte) {
      cardFillsPlace(byte);
      EXPECT_EQ(dirtyPlace(), -1) << "the card's write";
      const std::uint32_t written = byte * 0x01010101u;
      ASSERT_EQ(run(), written);
      EXPECT_EQ(valueHere(), ~written);
      // Still logged, though the card has written to the page.
      EXPECT_EQ(dirtyPlace(), std::int64_t{kPlace});
      shell_->reset();
    }
  }
}

// Taken back, it is the machine's as before.
TEST_F(RegionsOfMachines, MachinesRunOnAfterwards) {
  lendIt();
  runFirst();
  cardFillsPlace(7);
  ASSERT_EQ(unregister_region(channel_.get(), region_.region), 0);
  EXPECT_EQ(run(), 0x07070707u);
  EXPECT_EQ(run(), ~0x07070707u);
  EXPECT_EQ(dirtyPlace(), std::int64_t{kPlace});
}

}  // namespace
}  // namespace lanecall::guest_tests
