// SPDX-License-Identifier: Apache-2.0
// Devices that are reset, unplugged and plugged again, and two of them at once.
#include <linux/pci_regs.h>

#include <cstring>

#include "contract.h"
#include "qemu_device.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kWindow = 0xc8000000;  // behind the root port
constexpr uint32_t kWindowBytes = 128 << 20;
constexpr unsigned kPortSlot = 5, kBus = 1;

class Lifecycle : public Contract {
 protected:
  // With an edu behind a root port whose slot can be powered off.
  void startBehindRootPort(bool with_engine = true) {
    listen();
    argument_ = with_engine ? QemuDevice::argument({.rpc = server().rpc()})
                            : std::string("edu");
    qemu_ = std::make_shared<Qemu>(QemuOptions{
        {"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
         "-device", "pcie-root-port,id=rp,chassis=1,slot=1,addr=5.0", "-device",
         argument_ + ",id=dut,bus=rp"}});
    port_ = std::make_unique<PciFunction>(*qemu_, 0, kPortSlot);
    setUpRootPort(*port_, kBus, kWindow, kWindowBytes);
    if (with_engine) useDevice();
  }
  void useDevice() {
    use(std::make_unique<QemuDevice>(qemu_,
                                     PciPlace{.bus = kBus,
                                              .slot = 0,
                                              .bars = kWindow,
                                              .bar2 = kWindow + (64 << 20)}));
    enableEngine(device());
  }

  uint32_t slotControl() {
    return *port_->capability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL;
  }
  // What a guest does with its slot.
  void power(bool on) {
    port_->setConfig(slotControl(), 2,
                     on ? PCI_EXP_SLTCTL_PWR_IND_ON
                        : PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC);
  }
  void expectUnplugged() {
    EXPECT_TRUE(qemu_->waitEvent("DEVICE_DELETED", soon()));
    EXPECT_FALSE(PciFunction(*qemu_, kBus, 0).present());
    EXPECT_TRUE(qemu_->alive()) << qemu_->said();
  }
  void plugAgain() {
    const std::string argument =
        R"({"execute": "device_add", "arguments": {"driver": "edu", )"
        R"("id": "dut", "bus": "rp", "rpc": ")" +
        server().rpc() + "\"}}";
    const std::string answer = qemu_->qmp(argument);
    ASSERT_EQ(answer.find("error"), std::string::npos) << answer;
    power(true);
  }

  std::string argument_;
  std::shared_ptr<Qemu> qemu_;
  std::unique_ptr<PciFunction> port_;
};

TEST_F(Lifecycle, FunctionLevelResetIsAnEngineReset) {
  startBehindRootPort();
  auto& dut = static_cast<QemuDevice&>(device());
  Call c = call();
  ASSERT_TRUE(works(c));
  dut.function().write(0, 0x04, 4, 7);  // the classic edu's liveness word
  const uint32_t generation = device().read32(LANECALL_REG_GENERATION);
  while (device().interrupted(c->vector())) {
  }
  const auto express = *dut.function().capability(PCI_CAP_ID_EXP);
  dut.function().setConfig(express + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
  EXPECT_TRUE(c.peer.waitEnd(soon()));
  dut.configure();
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), generation + 1);
  EXPECT_EQ(device().read32(LANECALL_REG_STATUS), 0u);
  EXPECT_EQ(dut.function().read(0, 0x04, 4), 0u);
  EXPECT_EQ(c->statusRegister(), 0u);
  EXPECT_EQ(c->status(), uint32_t{LANECALL_RUNNING});  // nothing was told
  EXPECT_FALSE(device().interrupted(c->vector()));
  enableEngine(device());
  EXPECT_TRUE(worksAnew(*c));
}

TEST_F(Lifecycle, SurpriseRemovalClosesConnections) {
  startBehindRootPort();
  {
    Call busy = call({.channel = 0, .tx_shift = 23});
    busy->tryWrite(someBytes(8 << 20));  // more than the server will take
    Call idle = call({.channel = 1});
    auto connected = ready({.channel = 2});
    power(false);
    expectUnplugged();
    EXPECT_TRUE(busy.peer.waitEnd(soon()));
    EXPECT_TRUE(idle.peer.waitEnd(soon()));
    EXPECT_EQ(idle->status(), uint32_t{LANECALL_RUNNING});
  }
  server().discardPending();
  ASSERT_NO_FATAL_FAILURE(plugAgain());
  useDevice();
  Call c = call();
  EXPECT_TRUE(works(c));
}

TEST_F(Lifecycle, OrderlyRemovalClosesConnections) {
  startBehindRootPort();
  Call c = call();
  ASSERT_TRUE(works(c));
  const std::string answer =
      qemu_->qmp(R"({"execute": "device_del", "arguments": {"id": "dut"}})");
  ASSERT_EQ(answer.find("error"), std::string::npos) << answer;
  EXPECT_TRUE(works(c));  // the guest has not let go of it yet
  power(false);
  expectUnplugged();
  EXPECT_TRUE(c.peer.waitEnd(soon()));
}

class Removal : public Lifecycle, public ::testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(Of, Removal, ::testing::Bool(), [](const auto& info) {
  return info.param ? "Engine" : "Stock";
});

TEST_P(Removal, DoesNotWaitForAFactorialInFlight) {
  startBehindRootPort(GetParam());
  PciFunction edu(*qemu_, kBus, 0);
  edu.placeBar(0, kWindow);
  edu.enable();
  edu.write(0, 0x20, 4, 0x80);        // interrupt when done
  edu.write(0, 0x08, 4, 0xffffffff);  // four thousand million steps
  ASSERT_EQ(edu.read(0, 0x20, 4), 0x81u);
  edu.write(0, 0x90, 8, 16);  // and a transfer that its timer has not started
  edu.write(0, 0x98, 8, 1);
  power(false);
  expectUnplugged();
  qemu_->clockStep(200'000'000);
  EXPECT_TRUE(qemu_->alive());
}

// A vCPU's access finds its way to the device while another vCPU powers the
// slot off, and arrives when the device is gone. Here one write does both: it
// begins at the slot's control register and goes on into the BAR behind it, as
// found when the write began.
struct LateAccess {
  const char* name;
  bool engine;  // in BAR 2; else BAR 0
  uint64_t offset;
  unsigned width;
  uint32_t value;
};

void PrintTo(const LateAccess& access, std::ostream* out) {
  *out << access.name;
}

class RemovalUnder : public Lifecycle,
                     public ::testing::WithParamInterface<LateAccess> {};

INSTANTIATE_TEST_SUITE_P(
    A, RemovalUnder,
    ::testing::Values(LateAccess{"Reset", true, LANECALL_REG_CONTROL, 4, 0},
                      LateAccess{"Enable", true, LANECALL_REG_CONTROL, 4, 1},
                      LateAccess{"Open", true, 0x1080, 4, LANECALL_CMD_OPEN},
                      LateAccess{"Vector", true, 0x1088, 4, 1},
                      LateAccess{"Doorbell", true, 0x20000, 4, 1},
                      LateAccess{"Factorial", false, 0x08, 4, 5},
                      LateAccess{"Transfer", false, 0x98, 8, 1}),
    [](const auto& info) { return info.param.name; });

TEST_P(RemovalUnder, IsSurvived) {
  constexpr uint32_t kBehind = static_cast<uint32_t>(kEcamEnd);
  const LateAccess access = GetParam();
  listen();
  qemu_ = std::make_shared<Qemu>(QemuOptions{
      {"-device",
       "pxb-pcie,id=pxb,bus=pcie.0,bus_nr=" + std::to_string(kLastEcamBus),
       "-device", "pcie-root-port,id=rp,bus=pxb,chassis=1,slot=1,addr=1f.7",
       "-device",
       QemuDevice::argument({.rpc = server().rpc()}) + ",id=dut,bus=rp"}});
  enableEcam(*qemu_);
  port_ = std::make_unique<PciFunction>(*qemu_, kLastEcamBus, 31, 7);
  setUpRootPort(*port_, kLastEcamBus + 1, kBehind, kWindowBytes);
  const uint32_t other = kBehind + (64 << 20);
  use(std::make_unique<QemuDevice>(
      qemu_, PciPlace{.bus = kLastEcamBus + 1,
                      .slot = 0,
                      .bars = access.engine ? other : kBehind,
                      .bar2 = access.engine ? kBehind : other}));
  enableEngine(device());
  Call c = call();
  ASSERT_TRUE(works(c));

  // What lies between is written as it is; a BAR's words before the last one
  // come as pairs, which no register but the DMA engine's takes.
  const uint64_t from = port_->ecam() + slotControl();
  Bytes bytes(kEcamEnd + access.offset + access.width - from);
  for (uint64_t at = from; at < kEcamEnd; at += 4) {
    const uint64_t word = qemu_->readMemory(at, 4);
    std::memcpy(&bytes[at - from], &word, 4);
  }
  const uint32_t off = PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC;
  std::memcpy(bytes.data(), &off, 4);
  std::memcpy(&bytes[bytes.size() - access.width], &access.value, 4);
  std::string command = "write " + std::to_string(from) + " " +
                        std::to_string(bytes.size()) + " 0x";
  for (unsigned char byte : bytes) {
    command += "0123456789abcdef"[byte >> 4];
    command += "0123456789abcdef"[byte & 15];
  }
  qemu_->qtest(command);

  expectUnplugged();
  EXPECT_TRUE(c.peer.waitEnd(soon()));
  qemu_->clockStep(200'000'000);  // a transfer's timer would be over
  EXPECT_TRUE(qemu_->alive()) << qemu_->said();
}

TEST_F(Lifecycle, ManyRemovalsLeakNoConnection) {
  startBehindRootPort();
  for (int i = 0; i < 10; ++i) {
    {
      Call c = call({.channel = static_cast<unsigned>(i)});
      ASSERT_TRUE(works(c));
      power(false);
      expectUnplugged();
      ASSERT_TRUE(c.peer.waitEnd(soon()));
    }
    ASSERT_NO_FATAL_FAILURE(plugAgain());
    useDevice();
  }
}

TEST_F(Lifecycle, TwoDevicesAreStrangers) {
  listen();
  TestServer other_server(Family::kTcp, dir_);
  auto qemu = std::make_shared<Qemu>(QemuOptions{
      {"-device", QemuDevice::argument({.rpc = server().rpc()}) + ",addr=4.0",
       "-device",
       QemuDevice::argument({.rpc = other_server.rpc(), .channels = 3}) +
           ",addr=6.0"}});
  use(std::make_unique<QemuDevice>(qemu));
  QemuDevice other(qemu, {.slot = 6, .bars = 0xc1000000, .bar2 = 0x900000000});
  enableEngine(device());
  enableEngine(other);
  EXPECT_EQ(device().read32(LANECALL_REG_CHANNELS), 64u);
  EXPECT_EQ(other.read32(LANECALL_REG_CHANNELS), 3u);

  Call mine = call();
  auto theirs_channel = std::make_unique<UserChannel>(other);
  ASSERT_TRUE(theirs_channel->start(soon()));
  Call theirs{std::move(theirs_channel), *other_server.accept(soon())};
  EXPECT_TRUE(works(mine));
  EXPECT_TRUE(works(theirs));

  device().write32(LANECALL_REG_CONTROL, 0);
  EXPECT_TRUE(mine.peer.waitEnd(soon()));
  EXPECT_TRUE(works(theirs));
  EXPECT_EQ(other.read32(LANECALL_REG_GENERATION), 1u);
}

// A guest that shuts its machine down in the middle of it all.
TEST_F(Lifecycle, QuitWithOpenChannelsEndsTheConnections) {
  startBehindRootPort();
  Call c = call();
  ASSERT_TRUE(works(c));
  qemu_->qmp(R"({"execute": "quit"})");
  EXPECT_TRUE(c.peer.waitEnd(soon()));
}

}  // namespace
}  // namespace lanecall::test
