// SPDX-License-Identifier: Apache-2.0
// x-rogue-dma: a device that writes where it may not does so, if nothing stops
// it, and counts what an IOMMU stops. rogue_test.cc of tests/guest has a real
// driver's memory behind a real one's tables.
#include <lanecall/rogue.h>
#include <linux/pci_regs.h>

#include <cstring>

#include "../seed.h"
#include "card_ground.h"
#include "user_region.h"

namespace lanecall::test {
namespace {

constexpr size_t kPage = 4096;
constexpr uint64_t kWord = LANECALL_ROGUE_WORD;

class Rogue : public CardGround {
 protected:
  // Misbehaves at intervals of so many ms; 0: only when it is told.
  void begin(int interval = 0, size_t memory = size_t{256} << 20) {
    make({"-device", deviceWord(interval)}, memory);
    enable();
  }

  std::unique_ptr<VirtioIommu> beginBehindIommu() {
    make({"-device", VirtioIommu::argument(), "-device", deviceWord(0)},
         size_t{256} << 20);
    enableEcam(qemu());
    enable();
    return std::make_unique<VirtioIommu>(qemu(), 4 << 3);
  }

  void choose(uint64_t address) {
    device().write32(LANECALL_REG_ROGUE_LO, static_cast<uint32_t>(address));
    device().write32(LANECALL_REG_ROGUE_HI,
                     static_cast<uint32_t>(address >> 32));
  }
  void command(uint32_t kind, uint32_t count = 0) {
    device().write32(LANECALL_REG_ROGUE_COMMAND, LANECALL_ROGUE(kind, count));
  }
  uint32_t tried() { return device().read32(LANECALL_REG_ROGUE_TRIED); }
  uint32_t blocked() { return device().read32(LANECALL_REG_ROGUE_BLOCKED); }
  uint32_t remembered() {
    return device().read32(LANECALL_REG_ROGUE_REMEMBERED);
  }

  // How many aligned words there are of those that it writes.
  static size_t wordsIn(const unsigned char* memory, size_t bytes) {
    size_t count = 0;
    for (size_t at = 0; at < bytes; at += sizeof kWord) {
      count += std::memcmp(memory + at, &kWord, sizeof kWord) == 0;
    }
    return count;
  }
  static size_t wordsIn(const GuestBlock& block) {
    return wordsIn(block.data(), block.bytes());
  }
  static size_t wordsIn(const UserRing& ring) {
    size_t count = 0;
    for (uint32_t at = 0; at < ring.size(); at += ring.pageBytes()) {
      count += wordsIn(ring.at(at), ring.pageBytes());
    }
    return count;
  }

 private:
  std::string deviceWord(int interval) {
    return argument({.rpc = true}) +
           ",x-rogue-dma=" + std::to_string(interval) + ",id=dut,addr=4.0";
  }
  void make(std::vector<std::string> arguments, size_t memory) {
    useQemuDevice(
        std::make_unique<QemuDevice>(std::make_shared<Qemu>(QemuOptions{
            .arguments = std::move(arguments), .memory_bytes = memory})));
  }
};

TEST_F(Rogue, IsNoDeviceThatWasNotAskedToBe) {
  start();
  GuestBlock block(device().memory(), kPage);
  choose(block.address());
  command(LANECALL_ROGUE_CHOSEN, 10);
  EXPECT_EQ(wordsIn(block), 0u);
  for (uint64_t at = LANECALL_REG_ROGUE_LO; at < 0x1000; at += 4) {
    EXPECT_EQ(device().read32(at), 0u);
  }
}

TEST_F(Rogue, WritesToAnAddressThatTheTestChooses) {
  begin();
  GuestBlock block(device().memory(), 2 * kPage);
  choose(block.address() + 8);
  command(LANECALL_ROGUE_CHOSEN, 10);
  EXPECT_EQ(tried(), 10u);
  EXPECT_EQ(blocked(), 0u);
  EXPECT_EQ(wordsIn(block.data() + 8, 80), 10u);
  EXPECT_EQ(wordsIn(block), 10u);
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Rogue, RegistersOutliveAReset) {
  begin();
  choose(0x123456789abcdef0);
  device().write32(LANECALL_REG_ROGUE_SEED, 7);
  command(LANECALL_ROGUE_CHOSEN, 3);
  device().write32(LANECALL_REG_CONTROL, 0);
  device().busReset();
  EXPECT_EQ(device().read32(LANECALL_REG_ROGUE_LO), 0x9abcdef0u);
  EXPECT_EQ(device().read32(LANECALL_REG_ROGUE_HI), 0x12345678u);
  EXPECT_EQ(device().read32(LANECALL_REG_ROGUE_SEED), 7u);
  EXPECT_EQ(tried(), 3u);
  EXPECT_EQ(blocked(), 3u);
}

TEST_F(Rogue, IsBlockedWhereThereIsNoMemory) {
  begin();
  uint32_t count = 0;
  for (uint64_t address : device().notMemory()) {
    choose(address);
    command(LANECALL_ROGUE_CHOSEN, 1);
    ++count;
  }
  EXPECT_EQ(tried(), count);
  EXPECT_EQ(blocked(), count);
  EXPECT_TRUE(qemu().alive());
}

TEST_F(Rogue, IsBlockedWithoutBusMastering) {
  begin();
  GuestBlock block(device().memory(), kPage);
  choose(block.address());
  dut().function().setConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
  command(LANECALL_ROGUE_CHOSEN, 2);
  EXPECT_EQ(blocked(), 2u);
  EXPECT_EQ(wordsIn(block), 0u);
  dut().function().enable();
  command(LANECALL_ROGUE_CHOSEN, 2);
  EXPECT_EQ(blocked(), 2u);
  EXPECT_EQ(wordsIn(block), 2u);
}

TEST_F(Rogue, IsBlockedByAnIommu) {
  auto iommu = beginBehindIommu();
  GuestBlock block(device().memory(), 2 * kPage);
  iommu->addFault(block.address());
  choose(block.address() + kPage - 3 * sizeof kWord);
  command(LANECALL_ROGUE_CHOSEN, 5);  // two of them in the page behind
  EXPECT_EQ(tried(), 5u);
  EXPECT_EQ(blocked(), 3u);
  EXPECT_EQ(wordsIn(block), 2u);
  EXPECT_EQ(wordsIn(block.data() + kPage, 2 * sizeof kWord), 2u);
}

TEST_F(Rogue, ChannelsPagesAreRememberedWhenTheyAreGivenBack) {
  begin();
  UserChannel channel(device(), {.tx_shift = 14, .rx_shift = 13, .flags = 0});
  const uint32_t pages = 4 + 2 + 1;
  ASSERT_TRUE(channel.start(soon()));
  EXPECT_EQ(remembered(), 0u);
  ASSERT_TRUE(channel.close(soon()));
  EXPECT_EQ(remembered(), pages);
  command(LANECALL_ROGUE_GIVEN_BACK);
  EXPECT_EQ(tried(), pages);
  EXPECT_EQ(blocked(), 0u);
  EXPECT_EQ(wordsIn(channel.tx()), 4u);
  EXPECT_EQ(wordsIn(channel.rx()), 2u);
  command(LANECALL_ROGUE_FORGET);
  EXPECT_EQ(remembered(), 0u);
}

TEST_F(Rogue, WhatIsGivenAgainIsLeftAlone) {
  begin();
  UserChannel channel(device(), {.tx_shift = 12, .rx_shift = 12, .flags = 0});
  ASSERT_TRUE(channel.start(soon()));
  ASSERT_TRUE(channel.close(soon()));
  channel.clear();
  ASSERT_TRUE(channel.start(soon()));
  EXPECT_EQ(remembered(), 3u);
  command(LANECALL_ROGUE_GIVEN_BACK);
  EXPECT_EQ(tried(), 0u);
}

TEST_F(Rogue, RegionsAreRememberedWhenTheyAreGivenBack) {
  begin();
  ScatteredMemory memory(device().memory(), {100, 3 * kPage});
  UserRegion region(device(), memory.extents());
  ASSERT_TRUE(region.lend(soon()));
  EXPECT_EQ(remembered(), 0u);
  ASSERT_TRUE(region.takeBack(soon()));
  EXPECT_EQ(remembered(), 4u);
  command(LANECALL_ROGUE_GIVEN_BACK);
  EXPECT_EQ(tried(), 4u);
  for (size_t at : {size_t{0}, size_t{100}, 100 + kPage, 100 + 2 * kPage}) {
    EXPECT_EQ(wordsIn(memory.load(at, sizeof kWord).data(), sizeof kWord), 1u);
  }
}

TEST_F(Rogue, ARegionAsLargeAsCanBeIsRememberedInPart) {
  begin();
  UserRegion region(device(), {{0, ~uint64_t{0}}});
  ASSERT_TRUE(region.lend(soon()));
  command(LANECALL_ROGUE_RANDOM, 3);  // all memory is given
  EXPECT_EQ(tried(), 0u);
  ASSERT_TRUE(region.takeBack(soon()));
  EXPECT_EQ(remembered(), uint32_t{LANECALL_ROGUE_REMEMBERED_MAX});
}

TEST_F(Rogue, RandomAddressesLieInMemoryAndFollowFromTheSeed) {
  const auto seed = static_cast<uint32_t>(announcedSeed());
  begin(0, size_t{16} << 20);
  const GuestMemory& memory = device().memory();
  device().write32(LANECALL_REG_ROGUE_SEED, seed);
  command(LANECALL_ROGUE_RANDOM, 50);
  EXPECT_EQ(tried(), 50u);
  const size_t written = wordsIn(memory.at(0, memory.size()), memory.size());
  EXPECT_GT(written + blocked(), 40u);  // some lie in ROMs, or met each other
  device().write32(LANECALL_REG_ROGUE_SEED, seed);
  command(LANECALL_ROGUE_RANDOM, 50);
  EXPECT_EQ(wordsIn(memory.at(0, memory.size()), memory.size()), written);
  command(LANECALL_ROGUE_RANDOM, 50);
  EXPECT_GT(wordsIn(memory.at(0, memory.size()), memory.size()), written);
}

TEST_F(Rogue, CountsThatAreTooLargeAreBounded) {
  begin();
  command(LANECALL_ROGUE_CHOSEN, 0xffffff);
  EXPECT_EQ(tried(), uint32_t{LANECALL_ROGUE_COUNT_MAX});
}

TEST_F(Rogue, TriesAtIntervalsFromPowerOn) {
  constexpr uint64_t kMs = 1000000;
  begin(20, size_t{16} << 20);
  EXPECT_EQ(tried(), 0u);
  qemu().clockStep(19 * kMs);
  EXPECT_EQ(tried(), 0u);
  for (uint32_t times = 1; times <= 5; ++times) {
    qemu().clockStep(20 * kMs);
    EXPECT_EQ(tried(), times);
  }
  GuestBlock block(device().memory(), kPage);
  choose(block.address());
  qemu().clockStep(20 * kMs);
  EXPECT_EQ(tried(), 7u);
  EXPECT_EQ(wordsIn(block.data(), sizeof kWord), 1u);
}

TEST_F(Rogue, CanBeRemovedBetweenTwoTries) {
  PciFunction port =
      startBelowRootPort({"-global", "edu.x-rogue-dma=1", "-global",
                          "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"});
  qemu().clockStep(10000000);
  EXPECT_GT(tried(), 0u);
  port.setConfig(*port.capability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL, 2,
                 PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC);
  ASSERT_TRUE(qemu().waitEvent("DEVICE_DELETED", soon()));
  qemu().clockStep(10000000);
  EXPECT_TRUE(qemu().alive()) << qemu().said();
}

}  // namespace
}  // namespace lanecall::test
