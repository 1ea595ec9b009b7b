// SPDX-License-Identifier: Apache-2.0
// An IOMMU tells of a fault by a write, in the middle of the device's work. A
// guest can aim it at what resets or removes this very device.
#include <linux/pci_regs.h>

#include <cstring>

#include "card_ground.h"
#include "qemu_device.h"
#include "virtio_iommu.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kWindow = 0xc8000000;  // behind the root port
constexpr unsigned kBus = 1;
constexpr size_t kPage = 4096;
constexpr unsigned kAddressInReport = 16;
constexpr uint32_t kWindowBytes = 128 << 20;

enum class Work { kAttach, kSend, kReceive };

class FaultDuring : public Contract,
                    public ::testing::WithParamInterface<Work> {
 protected:
  void start() {
    listen();
    qemu_ = std::make_shared<Qemu>(QemuOptions{
        {"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
         "-device", VirtioIommu::argument(), "-device",
         "pcie-root-port,id=rp,chassis=1,slot=1,addr=5.0", "-device",
         QemuDevice::argument({.rpc = server().rpc()}) + ",id=dut,bus=rp"}});
    enableEcam(*qemu_);
    port_ = std::make_unique<PciFunction>(*qemu_, 0, 5);
    setUpRootPort(*port_, kBus, kWindow, kWindowBytes);
    auto device = std::make_unique<QemuDevice>(
        qemu_, PciPlace{.bus = kBus,
                        .slot = 0,
                        .bars = kWindow,
                        .bar2 = kWindow + (64 << 20)});
    dut_ = device.get();
    use(std::move(device));
    enableEngine(this->device());
    iommu_ = std::make_unique<VirtioIommu>(*qemu_, kBus << 8);
    channel_ = std::make_unique<UserChannel>(this->device());
  }

  // Connected; and the page to fault, with these bits in its address.
  void prepare(uint64_t bits) {
    const UserRing& ring =
        GetParam() == Work::kReceive ? channel_->rx() : channel_->tx();
    const auto* table = reinterpret_cast<const uint64_t*>(
        qemu_->memory().at(ring.table(), ring.size() / kPage * 8));
    while (!(table[page_ / kPage] & bits)) page_ += kPage;
    fault_ = table[page_ / kPage];
    channel_->open();
    ASSERT_EQ(channel_->waitWhile(LANECALL_CONNECTING, soon()), LANECALL_READY);
    peer_.emplace(*server().accept(soon()));
  }

  // Does the work on that page, from `offset` in it on.
  void work(size_t offset = 0) {
    if (GetParam() == Work::kAttach) {
      iommu_->addFault(fault_);
      channel_->attach();
      return;
    }
    const Bytes before = someBytes(page_ + offset), bytes = someBytes(100);
    channel_->attach();
    ASSERT_TRUE(channel_->waitFor(LANECALL_RUNNING, soon()));
    if (GetParam() == Work::kReceive) {
      ASSERT_TRUE(peer_->send(before, soon()));
      ASSERT_EQ(channel_->read(before.size(), soon()), before);
      iommu_->addFault(fault_);
      ASSERT_TRUE(peer_->send(bytes, soon()));
    } else {
      ASSERT_TRUE(channel_->write(before, soon()));
      ASSERT_EQ(peer_->receive(before.size(), soon()), before);
      iommu_->addFault(fault_);
      channel_->tryWrite(bytes);
    }
  }

  std::shared_ptr<Qemu> qemu_;
  std::unique_ptr<PciFunction> port_;
  std::unique_ptr<VirtioIommu> iommu_;
  QemuDevice* dut_ = nullptr;
  std::unique_ptr<UserChannel> channel_;
  std::optional<Peer> peer_;
  size_t page_ = 0;     // its place in the ring
  uint64_t fault_ = 0;  // its address
};

std::string nameOf(Work work) {
  switch (work) {
    case Work::kAttach:
      return "Attach";
    case Work::kSend:
      return "Send";
    case Work::kReceive:
      return "Receive";
  }
  return "?";
}

void PrintTo(Work work, std::ostream* out) { *out << nameOf(work); }

INSTANTIATE_TEST_SUITE_P(The, FaultDuring,
                         ::testing::Values(Work::kAttach, Work::kSend,
                                           Work::kReceive),
                         [](const auto& info) { return nameOf(info.param); });

TEST_P(FaultDuring, EndsTheChannel) {
  start();
  ASSERT_NO_FATAL_FAILURE(prepare(kPage));
  ASSERT_NO_FATAL_FAILURE(work());
  EXPECT_TRUE(endsWith(*channel_, LANECALL_ERR_DMA));
  EXPECT_EQ(guestErrors(), 1u);
  iommu_->removeFault(fault_);
  ASSERT_TRUE(channel_->close(soon()));
  EXPECT_TRUE(worksAnew(*channel_));
}

TEST_P(FaultDuring, WhoseReportResetsTheFunction) {
  start();
  PciFunction& function = dut_->function();
  const unsigned control =
      *function.capability(PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL;
  const uint32_t generation = device().read32(LANECALL_REG_GENERATION);
  ASSERT_NO_FATAL_FAILURE(prepare(PCI_EXP_DEVCTL_BCR_FLR));
  iommu_->aimReport(function.ecam() + control - kAddressInReport);
  ASSERT_NO_FATAL_FAILURE(work());
  EXPECT_TRUE(peer_->waitEnd(soon()));
  ASSERT_TRUE(qemu_->alive()) << qemu_->said();
  dut_->configure();
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), generation + 1);
  EXPECT_EQ(device().read32(LANECALL_REG_STATUS), 0u);
  EXPECT_EQ(channel_->statusRegister(), 0u);
  iommu_->removeFault(fault_);
  enableEngine(device());
  EXPECT_TRUE(worksAnew(*channel_));
}

// ATTACH looks at whole pages, whose addresses do not have these bits.
class FaultDuringMove : public FaultDuring {};

INSTANTIATE_TEST_SUITE_P(The, FaultDuringMove,
                         ::testing::Values(Work::kSend, Work::kReceive),
                         [](const auto& info) { return nameOf(info.param); });

TEST_P(FaultDuringMove, WhoseReportRemovesTheDevice) {
  start();
  const unsigned control = *port_->capability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL;
  ASSERT_NO_FATAL_FAILURE(prepare(kPage));
  iommu_->aimReport(port_->ecam() + control - kAddressInReport);
  ASSERT_NO_FATAL_FAILURE(
      work(PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC));
  EXPECT_TRUE(peer_->waitEnd(soon()));
  EXPECT_TRUE(qemu_->waitEvent("DEVICE_DELETED", soon()));
  EXPECT_FALSE(dut_->function().present());
  EXPECT_TRUE(qemu_->alive()) << qemu_->said();
}

// The index page of a channel on the direct plane, when the server's frame
// makes the device look at it.
class FaultDuringFrame : public CardGround {
 protected:
  void begin() { iommu_ = startBehindIommu(); }

  // Offered, with this bit in the address of its index page.
  void open(uint64_t bit) {
    do {
      if (channel_) others_.push_back(std::move(channel_));
      channel_ = std::make_unique<UserChannel>(device());
    } while (!(channel_->indexAddress() & bit));
    channel_->open();
    offer_ = offered();
  }

  std::unique_ptr<VirtioIommu> iommu_;
  std::vector<std::unique_ptr<UserChannel>> others_;
  std::unique_ptr<UserChannel> channel_;
  CardOffer offer_;
};

TEST_F(FaultDuringFrame, EndsTheChannel) {
  begin();
  open(kPage);
  iommu_->addFault(channel_->indexAddress());
  session().send(cardFrame(LANECALL_CARD_ACCEPT, offer_.id));
  expectFrame(LANECALL_CARD_CLOSE, offer_.id);
  EXPECT_EQ(channel_->statusRegister(),
            LANECALL_STATUS_WORD(LANECALL_ENDED, LANECALL_ERR_DMA) |
                uint32_t{LANECALL_IN_CARD});
  EXPECT_EQ(guestErrors(), 1u);
  iommu_->removeFault(channel_->indexAddress());
  ASSERT_TRUE(channel_->close(soon()));
}

TEST_F(FaultDuringFrame, WhoseReportResetsTheFunction) {
  begin();
  const unsigned control =
      *dut().function().capability(PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL;
  const uint32_t generation = device().read32(LANECALL_REG_GENERATION);
  open(PCI_EXP_DEVCTL_BCR_FLR);
  iommu_->aimReport(dut().function().ecam() + control - kAddressInReport);
  iommu_->addFault(channel_->indexAddress());
  session().send(cardFrame(LANECALL_CARD_ACCEPT, offer_.id));
  expectFrame(LANECALL_CARD_CLOSE, offer_.id);
  ASSERT_TRUE(qemu().alive()) << qemu().said();
  dut().configure();
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), generation + 1);
  EXPECT_EQ(channel_->statusRegister(), 0u);
  iommu_->removeFault(channel_->indexAddress());
  enable();
  DirectCall c = direct({.channel = 1});
  EXPECT_TRUE(moves(c));
}

}  // namespace
}  // namespace lanecall::test
