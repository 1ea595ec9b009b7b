// SPDX-License-Identifier: Apache-2.0
#include "pci.h"

#include <linux/pci_regs.h>

#include <stdexcept>

namespace lanecall::test {
namespace {

constexpr uint16_t kConfigAddress = 0xcf8, kConfigData = 0xcfc;
constexpr uint64_t kEcam = 0xb0000000;
constexpr unsigned kQ35EcamRegister = 0x60, kEcam64MiB = 2 << 1;

static_assert(kEcam + (uint64_t{kLastEcamBus + 1} << 20) == kEcamEnd);

}  // namespace

uint32_t PciFunction::config(unsigned offset, unsigned width) {
  qemu_.outl(kConfigAddress, selector(offset));
  const uint32_t word = qemu_.inl(kConfigData) >> (offset % 4 * 8);
  return width == 4 ? word : word & ((1u << width * 8) - 1);
}

void PciFunction::setConfig(unsigned offset, unsigned width, uint32_t value) {
  const char* letter = width == 1 ? "outb" : width == 2 ? "outw" : "outl";
  qemu_.outl(kConfigAddress, selector(offset));
  qemu_.qtest(std::string(letter) + " " +
              std::to_string(kConfigData + offset % 4) + " " +
              std::to_string(value));
}

std::optional<unsigned> PciFunction::capability(uint8_t id) {
  if (!(config(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST)) return std::nullopt;
  unsigned at = config(PCI_CAPABILITY_LIST, 1);
  for (int left = 48; at != 0 && left > 0; --left) {
    if (config(at, 1) == id) return at;
    at = config(at + 1, 1);
  }
  return std::nullopt;
}

uint64_t PciFunction::ecam() const {
  return kEcam + (uint64_t{bus_} << 20 | devfn_ << 12);
}

std::optional<unsigned> PciFunction::extendedCapability(uint16_t id) {
  unsigned at = PCI_CFG_SPACE_SIZE;
  for (int left = 480; at != 0 && left > 0; --left) {
    const auto header = static_cast<uint32_t>(qemu_.readMemory(ecam() + at, 4));
    if (PCI_EXT_CAP_ID(header) == id) return at;
    at = PCI_EXT_CAP_NEXT(header);
  }
  return std::nullopt;
}

uint64_t PciFunction::barSize(unsigned bar) {
  const unsigned at = PCI_BASE_ADDRESS_0 + 4 * bar;
  const uint32_t old = config(at);
  setConfig(at, 4, ~0u);
  const uint32_t mask = config(at) & ~0xfu;
  setConfig(at, 4, old);
  return mask == 0 ? 0 : uint64_t{~mask} + 1;
}

void PciFunction::placeBar(unsigned bar, uint64_t address) {
  const unsigned at = PCI_BASE_ADDRESS_0 + 4 * bar;
  const bool wide = config(at) & PCI_BASE_ADDRESS_MEM_TYPE_64;
  setConfig(at, 4, static_cast<uint32_t>(address));
  if (wide) setConfig(at + 4, 4, static_cast<uint32_t>(address >> 32));
  bars_[bar] = address;
}

void PciFunction::enable() {
  setConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

uint64_t PciFunction::read(unsigned bar, uint64_t offset, unsigned width) {
  return qemu_.readMemory(bars_[bar] + offset, width);
}

void PciFunction::write(unsigned bar, uint64_t offset, unsigned width,
                        uint64_t value) {
  qemu_.writeMemory(bars_[bar] + offset, width, value);
}

unsigned PciFunction::msixVectors() {
  const auto cap = capability(PCI_CAP_ID_MSIX);
  if (!cap) return 0;
  return (config(*cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
}

void PciFunction::enableMsix(const GuestBlock& words) {
  const auto cap = capability(PCI_CAP_ID_MSIX);
  if (!cap) throw std::runtime_error("the function has no MSI-X");
  const uint32_t table = config(*cap + PCI_MSIX_TABLE);
  const uint64_t at =
      bars_[table & PCI_MSIX_TABLE_BIR] + (table & PCI_MSIX_TABLE_OFFSET);
  std::vector<std::string> commands;
  for (unsigned n = 0; n < msixVectors(); ++n) {
    const uint64_t word = words.address() + 4 * n;
    const uint64_t entry[] = {word & 0xffffffff, word >> 32, 1, 0};
    for (unsigned i = 0; i < 4; ++i) {
      commands.push_back("writel " +
                         std::to_string(at + n * PCI_MSIX_ENTRY_SIZE + 4 * i) +
                         " " + std::to_string(entry[i]));
    }
  }
  qemu_.qtestAll(commands);
  setConfig(*cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
}

void PciFunction::enableMsi(uint64_t word) {
  const auto cap = capability(PCI_CAP_ID_MSI);
  if (!cap) throw std::runtime_error("the function has no MSI");
  const uint32_t flags = config(*cap + PCI_MSI_FLAGS, 2);
  setConfig(*cap + PCI_MSI_ADDRESS_LO, 4, static_cast<uint32_t>(word));
  if (flags & PCI_MSI_FLAGS_64BIT) {
    setConfig(*cap + PCI_MSI_ADDRESS_HI, 4, static_cast<uint32_t>(word >> 32));
    setConfig(*cap + PCI_MSI_DATA_64, 2, 1);
  } else {
    setConfig(*cap + PCI_MSI_DATA_32, 2, 1);
  }
  setConfig(*cap + PCI_MSI_FLAGS, 2, flags | PCI_MSI_FLAGS_ENABLE);
}

bool PciFunction::taken(uint64_t word) {
  auto* at = reinterpret_cast<uint32_t*>(qemu_.memory().at(word, 4));
  return __atomic_exchange_n(at, 0, __ATOMIC_SEQ_CST) != 0;
}

void enableEcam(Qemu& qemu) {
  PciFunction(qemu, 0, 0)
      .setConfig(kQ35EcamRegister, 4,
                 static_cast<uint32_t>(kEcam) | kEcam64MiB | 1);
}

void setPrefetchableWindow(PciFunction& port, uint64_t base, uint64_t bytes) {
  const uint64_t last = base + bytes - 1;
  port.setConfig(PCI_PREF_MEMORY_BASE, 2, base >> 16 & 0xfff0);
  port.setConfig(PCI_PREF_MEMORY_LIMIT, 2, last >> 16 & 0xfff0);
  port.setConfig(PCI_PREF_BASE_UPPER32, 4, base >> 32);
  port.setConfig(PCI_PREF_LIMIT_UPPER32, 4, last >> 32);
}

void setUpRootPort(PciFunction& port, unsigned bus, uint32_t base,
                   uint32_t bytes) {
  port.setConfig(PCI_PRIMARY_BUS, 1, 0);
  port.setConfig(PCI_SECONDARY_BUS, 1, bus);
  port.setConfig(PCI_SUBORDINATE_BUS, 1, bus);
  port.setConfig(PCI_MEMORY_BASE, 2, base >> 16);
  port.setConfig(PCI_MEMORY_LIMIT, 2, (base + bytes - 1) >> 16);
  port.enable();
}

}  // namespace lanecall::test
