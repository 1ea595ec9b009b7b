// SPDX-License-Identifier: Apache-2.0
// The classic edu: as QEMU's docs/specs/edu.txt has it, without its bugs, and
// the same whether the engine is there or not.
#include <gtest/gtest.h>
#include <lanecall/device.h>
#include <linux/pci_regs.h>

#include <cstring>
#include <numeric>

#include "pci.h"

namespace lanecall::test {
namespace {

constexpr unsigned kSlot = 4;
constexpr unsigned kPin = 20;  // q35: INTA of slot 4 at the I/O APIC
constexpr uint64_t kBuffer = 0x40000;
constexpr uint64_t kDmaNs = 100'000'000;  // edu's transfers take that long

enum Register : uint64_t {
  kIdentification = 0x00,
  kLiveness = 0x04,
  kFactorial = 0x08,
  kStatus = 0x20,
  kIrqStatus = 0x24,
  kIrqRaise = 0x60,
  kIrqAck = 0x64,
  kDmaSource = 0x80,
  kDmaDestination = 0x88,
  kDmaCount = 0x90,
  kDmaCommand = 0x98,
};
constexpr uint32_t kComputing = 0x01, kIrqWhenDone = 0x80;
constexpr uint32_t kFactorialIrq = 0x1, kDmaIrq = 0x100;
constexpr uint32_t kRun = 1, kToPci = 2, kRaise = 4;

Deadline soon() { return Deadline::in(20000); }

enum class Irq { kIntx, kMsi, kMsix };
struct Kind {
  const char* name;
  const char* device;
  Irq irq;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class EduBase : public ::testing::Test {
 protected:
  void start(const std::string& device) {
    qemu_ = std::make_unique<Qemu>(QemuOptions{
        {"-device", device + ",id=dut,addr=" + std::to_string(kSlot) + ".0"}});
    edu_ = std::make_unique<PciFunction>(*qemu_, 0, kSlot);
    edu_->placeBar(0, 0xc0000000);
    if (edu_->barSize(LANECALL_BAR_MSIX)) {
      edu_->placeBar(LANECALL_BAR_MSIX, 0xc0200000);
    }
    edu_->enable();
    words_ = std::make_unique<GuestBlock>(qemu_->memory(), 4096);
    ram_ = std::make_unique<GuestBlock>(qemu_->memory(), 16384);
  }

  uint32_t get(uint64_t reg) {
    return static_cast<uint32_t>(edu_->read(0, reg, 4));
  }
  void set(uint64_t reg, uint64_t value) {
    edu_->write(0, reg, reg >= kDmaSource ? 8 : 4, value);
  }
  bool running() { return get(kDmaCommand) & kRun; }
  uint32_t dmaErrors() {
    const std::string answer =
        qemu_->qmp(R"({"execute": "qom-get", "arguments": {"path": "dut", )"
                   R"("property": "dma-errors"}})");
    return static_cast<uint32_t>(
        std::stoul(answer.substr(answer.find(": ") + 2)));
  }

  void dma(uint64_t source, uint64_t destination, uint64_t count,
           uint32_t command) {
    set(kDmaSource, source);
    set(kDmaDestination, destination);
    set(kDmaCount, count);
    set(kDmaCommand, command | kRun);
    EXPECT_TRUE(running());
    qemu_->clockStep(kDmaNs);
    EXPECT_FALSE(running());
  }

  uint32_t factorial(uint32_t n) {
    set(kFactorial, n);
    const Deadline deadline = soon();
    while (get(kStatus) & kComputing) {
      if (deadline.passed()) throw std::runtime_error("computes for ever");
    }
    return get(kFactorial);
  }

  std::unique_ptr<Qemu> qemu_;
  std::unique_ptr<PciFunction> edu_;
  std::unique_ptr<GuestBlock> words_, ram_;
};

// ---- What is there
// -----------------------------------------------------------

TEST_F(EduBase, StockDeviceHasOneBarAndMsiAndNothingElse) {
  start("edu");
  EXPECT_EQ(edu_->config(PCI_VENDOR_ID), 0x11e81234u);
  EXPECT_EQ(edu_->config(PCI_CLASS_REVISION), 0x00ff0010u);
  EXPECT_EQ(edu_->config(PCI_INTERRUPT_PIN, 1), 1u);
  EXPECT_EQ(edu_->barSize(0), 1u << 20);
  for (unsigned bar = 1; bar < 6; ++bar) EXPECT_EQ(edu_->barSize(bar), 0u);
  const auto msi = edu_->capability(PCI_CAP_ID_MSI);
  ASSERT_TRUE(msi);
  EXPECT_EQ(edu_->config(PCI_CAPABILITY_LIST, 1), *msi);
  EXPECT_EQ(edu_->config(*msi + 1, 1), 0u) << "there is another capability";
}

TEST_F(EduBase, EngineAddsMsixItsBarsAndExpress) {
  start("edu,rpc=unix:/nonexistent,channels=3");
  EXPECT_EQ(edu_->config(PCI_VENDOR_ID), 0x11e81234u);
  EXPECT_EQ(edu_->config(PCI_CLASS_REVISION), 0x00ff0010u);
  EXPECT_EQ(edu_->barSize(0), 1u << 20);
  EXPECT_NE(edu_->barSize(LANECALL_BAR_MSIX), 0u);
  const uint32_t bar2 = edu_->config(PCI_BASE_ADDRESS_0 + 4 * 2);
  EXPECT_TRUE(bar2 & PCI_BASE_ADDRESS_MEM_TYPE_64);
  EXPECT_EQ(edu_->msixVectors(), 4u);
  EXPECT_TRUE(edu_->capability(PCI_CAP_ID_MSI));
  const auto express = edu_->capability(PCI_CAP_ID_EXP);
  ASSERT_TRUE(express);
  EXPECT_TRUE(edu_->config(*express + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR);
  enableEcam(*qemu_);
  EXPECT_TRUE(edu_->extendedCapability(PCI_EXT_CAP_ID_ERR));
  EXPECT_TRUE(edu_->extendedCapability(PCI_EXT_CAP_ID_ATS));
}

// ---- What it does, in every make-up
// ------------------------------------------

class Edu : public EduBase, public ::testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    start(GetParam().device);
    switch (GetParam().irq) {
      case Irq::kIntx:
        qemu_->qtest("irq_intercept_in ioapic");
        break;
      case Irq::kMsi:
        edu_->enableMsi(words_->address());
        break;
      case Irq::kMsix:
        edu_->enableMsix(*words_);
        break;
    }
  }

  bool raised() {
    return GetParam().irq == Irq::kIntx ? qemu_->irqLevel(kPin)
                                        : edu_->taken(words_->address());
  }
  bool waitRaised() {
    const Deadline deadline = soon();
    while (!raised()) {
      if (deadline.passed()) return false;
      qemu_->turn();
    }
    return true;
  }
  void acknowledge(uint32_t bits) {
    set(kIrqAck, bits);
    EXPECT_EQ(get(kIrqStatus) & bits, 0u);
    EXPECT_FALSE(raised());
  }
};

constexpr char kEngine[] = "edu,rpc=unix:/nonexistent,channels=2";
INSTANTIATE_TEST_SUITE_P(
    As, Edu,
    ::testing::Values(Kind{"StockIntx", "edu", Irq::kIntx},
                      Kind{"StockMsi", "edu", Irq::kMsi},
                      Kind{"EngineIntx", kEngine, Irq::kIntx},
                      Kind{"EngineMsi", kEngine, Irq::kMsi},
                      Kind{"EngineMsix", kEngine, Irq::kMsix}),
    [](const auto& info) { return info.param.name; });

TEST_P(Edu, IdentifiesItself) { EXPECT_EQ(get(kIdentification), 0x010000edu); }

TEST_P(Edu, InvertsTheLivenessWord) {
  for (uint32_t v : {0u, 0x12345678u, 0xffffffffu}) {
    set(kLiveness, v);
    EXPECT_EQ(get(kLiveness), ~v);
  }
}

TEST_P(Edu, ComputesFactorials) {
  EXPECT_EQ(factorial(0), 1u);
  EXPECT_EQ(factorial(1), 1u);
  EXPECT_EQ(factorial(5), 120u);
  EXPECT_EQ(factorial(12), 479001600u);
  EXPECT_FALSE(raised());
}

TEST_P(Edu, RaisesAnInterruptAfterAFactorialIfAsked) {
  set(kStatus, kIrqWhenDone);
  EXPECT_EQ(factorial(6), 720u);
  EXPECT_TRUE(waitRaised());
  EXPECT_EQ(get(kIrqStatus), kFactorialIrq);
  acknowledge(kFactorialIrq);
}

TEST_P(Edu, RaisesAndAcknowledgesInterruptsOnRequest) {
  set(kIrqRaise, 0x42);
  EXPECT_TRUE(waitRaised());
  EXPECT_EQ(get(kIrqStatus), 0x42u);
  acknowledge(0x42);
}

TEST_P(Edu, MovesEverySizeThatFitsBothWays) {
  for (uint64_t size : {0, 1, 2, 4095, 4096}) {
    SCOPED_TRACE(size);
    unsigned char* from = ram_->data();
    unsigned char* to = ram_->data() + 8192;
    std::iota(from, from + 8192, static_cast<unsigned char>(size));
    std::memset(to, 0, 8192);
    dma(ram_->address(), kBuffer, size, 0);
    dma(kBuffer, ram_->address() + 8192, size, kToPci);
    EXPECT_EQ(std::memcmp(from, to, size), 0);
    for (uint64_t i = size; i < 8192; ++i) ASSERT_EQ(to[i], 0) << i;
  }
  EXPECT_EQ(dmaErrors(), 0u);
}

TEST_P(Edu, MovesTheLastByteOfItsBuffer) {
  ram_->data()[0] = 0x5a;
  dma(ram_->address(), kBuffer + 4095, 1, 0);
  dma(kBuffer + 4095, ram_->address() + 100, 1, kToPci);
  EXPECT_EQ(ram_->data()[100], 0x5a);
  EXPECT_EQ(dmaErrors(), 0u);
}

TEST_P(Edu, RaisesAnInterruptAfterATransferIfAsked) {
  dma(ram_->address(), kBuffer, 16, kRaise);
  EXPECT_TRUE(waitRaised());
  EXPECT_EQ(get(kIrqStatus), kDmaIrq);
  acknowledge(kDmaIrq);
}

TEST_P(Edu, FailsTransfersOutsideItsBufferAndGoesOn) {
  const struct {
    uint64_t local, count;
  } cases[] = {
      {kBuffer, 4097},
      {kBuffer + 1, 4096},
      {kBuffer + 4095, 2},
      {kBuffer + 4096, 1},
      {kBuffer - 1, 1},
      {kBuffer - 1, 4096},
      {0, 1},
      {kBuffer, ~uint64_t{0}},
      {~uint64_t{0}, 1},
      {~uint64_t{0}, ~uint64_t{0}},
      {kBuffer + 8, ~uint64_t{0} - kBuffer},
      {kBuffer, uint64_t{1} << 32},
      {uint64_t{1} << 32 | kBuffer, 4},
  };
  std::memset(ram_->data(), 0x11, 16384);
  dma(ram_->address(), kBuffer, 4096, 0);
  uint32_t errors = 0;
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::Message() << std::hex << c.local << ", " << c.count);
    std::memset(ram_->data(), 0xee, 16384);
    dma(c.local, ram_->address(), c.count, kToPci);
    for (int i = 0; i < 16384; ++i) ASSERT_EQ(ram_->data()[i], 0xee) << i;
    dma(ram_->address(), c.local, c.count, 0);
    errors += 2;
    EXPECT_EQ(dmaErrors(), errors);
  }
  // Nothing of it got into the buffer, and the device still works.
  dma(kBuffer, ram_->address(), 4096, kToPci);
  for (int i = 0; i < 4096; ++i) ASSERT_EQ(ram_->data()[i], 0x11) << i;
  EXPECT_TRUE(qemu_->alive());
}

TEST_P(Edu, IgnoresWritesWhileATransferRuns) {
  set(kDmaSource, ram_->address());
  set(kDmaDestination, kBuffer);
  set(kDmaCount, 4);
  set(kDmaCommand, kRun);
  set(kDmaCount, 9999);
  EXPECT_EQ(get(kDmaCount), 4u);
  qemu_->clockStep(kDmaNs);
  EXPECT_FALSE(running());
  EXPECT_EQ(dmaErrors(), 0u);
}

TEST_P(Edu, ResetForgetsWorkInFlight) {
  set(kLiveness, 1);
  set(kStatus, kIrqWhenDone);
  set(kFactorial, 0xffffffff);  // takes seconds
  set(kDmaSource, ram_->address());
  set(kDmaDestination, kBuffer);
  set(kDmaCount, 4);
  set(kDmaCommand, kRun | kRaise);
  set(kIrqRaise, 0x40);
  qemu_->qmp(R"({"execute": "system_reset"})");
  ASSERT_TRUE(qemu_->waitEvent("RESET", soon()));
  edu_->placeBar(0, 0xc0000000);
  edu_->enable();
  EXPECT_EQ(get(kLiveness), 0u);
  EXPECT_EQ(get(kStatus), 0u);
  EXPECT_EQ(get(kFactorial), 0u);
  EXPECT_EQ(get(kIrqStatus), 0u);
  EXPECT_EQ(get(kDmaCommand), 0u);
  if (GetParam().irq == Irq::kIntx) {
    EXPECT_FALSE(raised());
  }
  qemu_->clockStep(kDmaNs);
  EXPECT_EQ(get(kIrqStatus), 0u);
  EXPECT_EQ(factorial(5), 120u);
}

}  // namespace
}  // namespace lanecall::test
