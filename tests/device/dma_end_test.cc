// SPDX-License-Identifier: Apache-2.0
// Whatever comes in the middle of DMA: regions taken back, resets, removals,
// servers that go, faults of an IOMMU. Memory that the driver has got back
// stays as it is, and every operation ends in one defined way.
#include <fcntl.h>
#include <linux/pci_regs.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <thread>

#include "card_dma.h"
#include "virtio_iommu.h"

namespace lanecall::test {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMiB = 1 << 20;
constexpr uint64_t kOperations = 8;

// Work for the device that is long enough for something to come in the middle
// of it: a test that finds all of it done has been too slow, and tries again.
class DmaEnd : public DmaGround {
 protected:
  void work(uint64_t key, uint64_t first_id = 0) {
    for (uint64_t i = 0; i < kOperations; ++i) {
      submit({longFill(first_id + i, key)});
    }
  }

  // Is it as it was set to be, however long one looks?
  ::testing::AssertionResult staysAs(const ScatteredMemory& memory,
                                     unsigned char byte) {
    for (int i = 0; i < 20; ++i) {
      qemu().turn();
      const Bytes bytes = memory.load(0, memory.bytes());
      if (bytes != Bytes(bytes.size(), byte)) {
        return ::testing::AssertionFailure() << "the device has written to it";
      }
    }
    return ::testing::AssertionSuccess();
  }

  // Every operation is done, or REVOKED; how many are?
  size_t revokedOf(const std::map<uint64_t, lanecall_dma_done>& all) {
    size_t revoked = 0;
    for (const auto& [id, done] : all) {
      if (done.error == 0) {
        EXPECT_EQ(done.bytes, 2000 * kMiB) << id;
      } else {
        EXPECT_EQ(done.error, uint32_t{LANECALL_ERR_REVOKED}) << id;
        ++revoked;
      }
    }
    return revoked;
  }

  static constexpr int kAttempts = 20;
};

TEST_F(DmaEnd, ARegionTakenBackIsNotTouched) {
  start();
  ScatteredMemory memory = scattered({kMiB}), other = scattered({kPage});
  auto another = lend(other, {.slot = 1, .key = 2, .vector = 2});
  size_t revoked = 0;
  for (int i = 0; i < kAttempts && !revoked; ++i) {
    auto region = lend(memory);
    work(region->key());
    submit({{100, LANECALL_DMA_FILL, another->key(), {{0, 1, kPage}}}});
    ASSERT_TRUE(region->takeBack(soon()));
    memory.store(0, Bytes(kMiB, 0x11));
    auto done = awaitDone(kOperations + 1);
    EXPECT_EQ(done.at(100).error, 0u);  // another's go on
    done.erase(100);
    revoked = revokedOf(done);
    EXPECT_TRUE(staysAs(memory, 0x11));
  }
  EXPECT_GT(revoked, 0u);
  EXPECT_TRUE(memory.guardsAreWhole());
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(DmaEnd, ASlotIsNotFreeBeforeItSaysSo) {
  start();
  ScatteredMemory memory = scattered({kMiB});
  UserRegion region(device(), memory.extents());
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(region.lend(soon()));
    work(region.key());
    ASSERT_TRUE(region.takeBack(soon()));
    revokedOf(awaitDone(kOperations));
  }
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(DmaEnd, AResetRevokesAndComesToRest) {
  start();
  ScatteredMemory memory = scattered({kMiB});
  size_t revoked = 0;
  for (int i = 0; i < kAttempts && !revoked; ++i) {
    auto region = lend(memory);
    const uint32_t generation = device().read32(LANECALL_REG_GENERATION);
    work(region->key());
    device().write32(LANECALL_REG_CONTROL, 0);
    EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), generation + 1);
    EXPECT_EQ(device().read32(LANECALL_REG_CONTROL), 0u);
    ASSERT_TRUE(eventually([&] {
      const uint32_t status = device().read32(LANECALL_REG_STATUS);
      EXPECT_EQ(status & ~uint32_t{LANECALL_STATUS_RESETTING}, 0u);
      return status == 0;
    }));
    memory.store(0, Bytes(kMiB, 0x22));
    revoked = revokedOf(awaitDone(kOperations));
    EXPECT_TRUE(staysAs(memory, 0x22));
    // The session goes on; the key is worth nothing any more.
    EXPECT_TRUE(fails({50, LANECALL_DMA_FILL, region->key(), {{0, 1, 1}}},
                      LANECALL_ERR_ACCESS));
    region->forget();
    enable();
  }
  EXPECT_GT(revoked, 0u);
  auto region = lend(memory);
  EXPECT_TRUE(moves({60, LANECALL_DMA_FILL, region->key(), {{0, 1, kMiB}}}));
}

// Whether it is still resetting or not, the device takes the next life well.
TEST_F(DmaEnd, EnablingIsIgnoredUntilTheDeviceIsAtRest) {
  start();
  ScatteredMemory memory = scattered({kMiB});
  for (int i = 0; i < 10; ++i) {
    auto region = lend(memory);
    work(region->key());
    device().write32(LANECALL_REG_CONTROL, 0);
    device().write32(LANECALL_REG_CONTROL, LANECALL_CONTROL_ENABLE);
    const uint32_t status = device().read32(LANECALL_REG_STATUS);
    const uint32_t control = device().read32(LANECALL_REG_CONTROL);
    EXPECT_TRUE((status == LANECALL_STATUS_ENABLED && control == 1) ||
                (status == LANECALL_STATUS_RESETTING && control == 0) ||
                (status == 0 && control == 0))
        << status << ", " << control;
    device().write32(LANECALL_REG_CONTROL, 0);
    ASSERT_TRUE(
        eventually([&] { return device().read32(LANECALL_REG_STATUS) == 0; }));
    revokedOf(awaitDone(kOperations));
    region->forget();
    enable();
  }
}

TEST_F(DmaEnd, OfTheSessionDropsItsOperations) {
  start();
  ScatteredMemory memory = scattered({kMiB});
  auto region = lend(memory);
  for (uint64_t i = 0; i < 5; ++i) {
    work(region->key(), 100 * i);
    endSession();
    auto channel = openInCard();  // the device connects again
    offered();
    EXPECT_TRUE(moves({7, LANECALL_DMA_FILL, region->key(), {{0, 1, kPage}}}));
  }
  ASSERT_TRUE(region->takeBack(soon()));
  memory.store(0, Bytes(kMiB, 0x33));
  EXPECT_TRUE(staysAs(memory, 0x33));
  EXPECT_TRUE(memory.guardsAreWhole());
}

TEST_F(DmaEnd, QuitInTheMiddleOfItIsClean) {
  start();
  ScatteredMemory memory = scattered({kMiB});
  UserRegion region(device(), memory.extents());
  ASSERT_TRUE(region.lend(soon()));
  work(region.key());
  qemu().qmp(R"({"execute": "quit"})");
  EXPECT_TRUE(session().waitEnd(soon()));
  region.forget();
}

// ---- A server that holds up page faults in card memory ----------------------

// Punches holes into card memory, again and again: whoever touches a page there
// meanwhile waits until the hole is made.
class HolePuncher {
 public:
  explicit HolePuncher(CardSession& session)
      : fd_(session.memoryFd()),
        memory_(session.memory()),
        thread_([this] { run(); }) {}
  ~HolePuncher() {
    done_ = true;
    thread_.join();
  }

 private:
  void run() {
    while (!done_) {
      for (size_t at = 0; at < memory_.size(); at += kPage) memory_[at] = 1;
      fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                static_cast<off_t>(memory_.size()));
    }
  }

  const int fd_;
  const std::span<unsigned char> memory_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class DmaHeldUp : public DmaEnd {
 protected:
  DmaHeldUp() {
    start();
    qemu().qmp(
        R"({"execute": "trace-event-set-state",
            "arguments": {"name": "lanecall_slice", "enable": true}})");
  }

  // What is copied by the worker although it is small, and comes alone.
  bool isLeftToTheWorker(const UserRegion& region, uint64_t id) {
    EXPECT_TRUE(moves({id, LANECALL_DMA_WRITE, region.key(), {{0, 0, kPage}}}));
    return qemu().said().find("4096 bytes, by the worker: 1") !=
           std::string::npos;
  }
};

// Copies under the big lock stop when one of them has taken long.
TEST_F(DmaHeldUp, IsCopiedOutsideTheBigLock) {
  ScatteredMemory memory = scattered({kPage});
  auto region = lend(memory);
  HolePuncher puncher(session());
  uint64_t id = 0;
  EXPECT_TRUE(eventually([&] { return isLeftToTheWorker(*region, ++id); }));
}

// Places are cleared all the same, with pauses, and nobody else waits for it.
TEST_F(DmaHeldUp, ChannelsStillGetTheirRings) {
  HolePuncher puncher(session());
  Accepted made = accepted();
  made.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  session().send(cardPlaced(made.offer.id, placesOf(0)));
  expectFrame(LANECALL_CARD_START, made.offer.id);
}

// ---- Removal ---------------------------------------------------------------

TEST_F(DmaEnd, RemovalInTheMiddleOfItIsSurvived) {
  PciFunction port = startBelowRootPort(
      {"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"});
  ScatteredMemory memory = scattered({kMiB});
  UserRegion region(device(), memory.extents());
  ASSERT_TRUE(region.lend(soon()));
  work(region.key());
  port.setConfig(*port.capability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL, 2,
                 PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC);
  EXPECT_TRUE(qemu().waitEvent("DEVICE_DELETED", soon()));
  EXPECT_TRUE(session().waitEnd(soon()));
  memory.store(0, Bytes(kMiB, 0x44));
  EXPECT_TRUE(staysAs(memory, 0x44));
  EXPECT_TRUE(qemu().alive()) << qemu().said();
  region.forget();
}

// ---- An IOMMU --------------------------------------------------------------

class DmaFault : public DmaEnd {
 protected:
  void begin() { iommu_ = startBehindIommu(); }
  std::unique_ptr<VirtioIommu> iommu_;
};

TEST_F(DmaFault, EndsTheOperation) {
  begin();
  ScatteredMemory memory = scattered(std::vector<size_t>(300, kPage));
  auto region = lend(memory);
  const uint64_t fault = memory.extents()[200].address;
  const DmaOperation fill{
      1, LANECALL_DMA_FILL, region->key(), {{0, 9, memory.bytes()}}};
  iommu_->addFault(fault);
  EXPECT_TRUE(fails(fill, LANECALL_ERR_DMA, 200 * kPage));
  EXPECT_EQ(guestErrors(), 1u);
  EXPECT_EQ(memory.load(200 * kPage, 100 * kPage), Bytes(100 * kPage));
  iommu_->removeFault(fault);
  EXPECT_TRUE(moves(fill));
  EXPECT_TRUE(memory.guardsAreWhole());
}

TEST_F(DmaFault, WhoseReportResetsTheFunction) {
  begin();
  const unsigned control =
      *dut().function().capability(PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL;
  const uint32_t generation = device().read32(LANECALL_REG_GENERATION);
  ScatteredMemory memory = scattered(std::vector<size_t>(300, kPage));
  auto region = lend(memory);
  size_t n = 100;  // the fault's address has the reset's bit
  while (!(memory.extents()[n].address & PCI_EXP_DEVCTL_BCR_FLR)) ++n;
  const uint64_t fault = memory.extents()[n].address;
  iommu_->aimReport(dut().function().ecam() + control - 16);
  iommu_->addFault(fault);
  submit({{1, LANECALL_DMA_FILL, region->key(), {{0, 9, memory.bytes()}}},
          {2, LANECALL_DMA_FILL, region->key(), {{0, 9, memory.bytes()}}}});
  const auto done = awaitDone(2);
  EXPECT_NE(done.at(1).error, 0u);
  EXPECT_EQ(done.at(2).error, uint32_t{LANECALL_ERR_REVOKED});
  ASSERT_TRUE(qemu().alive()) << qemu().said();
  dut().configure();
  ASSERT_TRUE(
      eventually([&] { return device().read32(LANECALL_REG_STATUS) == 0; }));
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), generation + 1);
  iommu_->removeFault(fault);
  region->forget();
  enable();
  auto anew = lend(memory);
  EXPECT_TRUE(
      moves({3, LANECALL_DMA_FILL, anew->key(), {{0, 9, memory.bytes()}}}));
}

}  // namespace
}  // namespace lanecall::test
