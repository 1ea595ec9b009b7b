// SPDX-License-Identifier: Apache-2.0
#include "hostile_guest.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace lanecall::test {
namespace {

constexpr size_t kBatch = 128;
constexpr uint64_t kPage = 4096;
// Of a channel in the arena: index page, two tables, rings of 64 KiB.
constexpr uint64_t kChannelBytes = 256 << 10;
// A page of the largest size may reach so far beyond where it begins.
constexpr uint64_t kSpill = 1 << LANECALL_PAGE_SHIFT_MAX;
constexpr int kPatienceMs = 60'000;
const char* letterOf(unsigned width) {
  return width == 1 ? "b" : width == 2 ? "w" : width == 4 ? "l" : "q";
}

unsigned char canaryByte(size_t i) {
  return static_cast<unsigned char>(i * 37 + 11);
}

}  // namespace

HostileGuest::HostileGuest(QemuDevice& device, Random& random)
    : device_(device),
      random_(random),
      geometry_(device),
      arena_(device.memory(), kArenaBytes + kSpill, kSpill),
      canary_(device.memory(), kCanaryBytes) {
  for (size_t i = 0; i < kCanaryBytes; ++i) canary_.data()[i] = canaryByte(i);
}

bool HostileGuest::isCanaryWhole() const {
  for (size_t i = 0; i < kCanaryBytes; ++i)
    if (canary_.data()[i] != canaryByte(i)) return false;
  return true;
}

HostileGuest::Layout HostileGuest::layout(unsigned channel) const {
  const uint64_t at = arena_.address() + channel * kChannelBytes;
  return {at, at + kPage, at + 2 * kPage, at + (64 << 10)};
}

uint64_t HostileGuest::descriptor(unsigned region) const {
  return arena_.address() + kChannels * kChannelBytes + region * 4 * kPage;
}

lanecall_index_page& HostileGuest::page(unsigned channel) const {
  const uint64_t at = layout(channel).index - arena_.address();
  return *reinterpret_cast<lanecall_index_page*>(arena_.data() + at);
}

// ---- Reaching the device ---------------------------------------------------

void HostileGuest::flush() {
  device_.qemu().qtestAll(batch_);
  batch_.clear();
}

void HostileGuest::write(uint64_t offset, uint64_t value, unsigned width) {
  const uint64_t at = device_.function().barAddress(LANECALL_BAR_REGS);
  batch_.push_back(std::string("write") + letterOf(width) + " " +
                   std::to_string(at + offset) + " " + std::to_string(value));
  if (batch_.size() >= kBatch) flush();
}

void HostileGuest::writeControl(unsigned channel, uint32_t offset,
                                uint64_t value) {
  write(geometry_.control(channel) + offset, value & 0xffffffff);
}

void HostileGuest::read(uint64_t offset, unsigned width) {
  const uint64_t at = device_.function().barAddress(LANECALL_BAR_REGS);
  batch_.push_back(std::string("read") + letterOf(width) + " " +
                   std::to_string(at + offset));
  if (batch_.size() >= kBatch) flush();
}

void HostileGuest::reset() {
  flush();
  device_.configure();
  device_.write32(LANECALL_REG_CONTROL, 0);
  const Deadline deadline = Deadline::in(kPatienceMs);
  while (device_.read32(LANECALL_REG_STATUS) != 0)
    if (deadline.passed())
      throw std::runtime_error("the device does not come to rest");
}

// ---- Values ----------------------------------------------------------------

// In the arena, mostly where something is; or where no memory is.
uint64_t HostileGuest::address() {
  const std::array<uint64_t, 8> kNone = {
      device_.memory().size(),
      device_.memory().size() - 1,
      device_.function().barAddress(LANECALL_BAR_REGS),
      device_.function().barAddress(LANECALL_BAR_CARD),
      0xfee00000,
      uint64_t{1} << 40,
      ~uint64_t{0} << LANECALL_PAGE_SHIFT_MAX,
      ~uint64_t{0}};
  switch (random_.below(8)) {
    case 0:
      return kNone[random_.below(kNone.size())];
    case 1:
      return arena_.address() + random_.below(kArenaBytes);
    default:
      return arena_.address() + random_.below(kArenaBytes / kPage) * kPage;
  }
}

uint32_t HostileGuest::number() {
  constexpr std::array<uint32_t, 12> kNumbers = {
      0, 1, 2, 3, 11, 12, 16, 23, 256, 0x7fffffff, 0x80000000, 0xffffffff};
  if (random_.below(3) == 0) return static_cast<uint32_t>(random_.below(~0ull));
  return kNumbers[random_.below(kNumbers.size())];
}

// ---- What it does ----------------------------------------------------------

void HostileGuest::act() {
  switch (random_.below(32)) {
    case 0:
    case 1:
    case 2:
      return openChannel();
    case 3:
    case 4:
    case 5:
      return attachChannel();
    case 6:
    case 7:
      return commandChannel();
    case 8:
    case 9:
      return spoilControl();
    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
      return moveIndices();
    case 16:
      return spoilTable();
    case 17:
    case 18:
    case 19:
      return addRegion();
    case 20:
      return spoilRegion();
    case 21:
    case 22:
      return commandRegion();
    case 23:
      return spoilDeviceRegister();
    case 24:
    case 25:
      return readAnything();
    case 26:
      return random_.below(16) ? readAnything() : configureFunction();
    case 27:
      return useClassicEdu();
    case 28:
      return random_.below(64) ? moveIndices() : enable();
    default:
      return write(geometry_.doorbell(static_cast<unsigned>(
                       random_.below(geometry_.channels))) +
                       random_.below(4) * 4,
                   number());
  }
}

// Everything that the device offers, mostly.
void HostileGuest::enable() {
  write(LANECALL_REG_CONTROL, 0);
  write(LANECALL_REG_ACCEPTED_LO, random_.below(8) ? 7 : number());
  write(LANECALL_REG_ACCEPTED_HI, random_.below(8) ? 0 : number());
  write(LANECALL_REG_CONTROL, LANECALL_CONTROL_ENABLE);
}

void HostileGuest::openChannel() {
  const auto n = static_cast<unsigned>(random_.below(kChannels));
  const uint64_t index =
      random_.below(16) ? layout(n).index : address() & ~uint64_t{4095};
  if (random_.below(4)) std::memset(&page(n), 0, sizeof page(n));
  writeControl(n, LANECALL_CH_INDEX_LO, index);
  writeControl(n, LANECALL_CH_INDEX_HI, index >> 32);
  writeControl(n, LANECALL_CH_VECTOR, random_.below(16) ? n : number());
  writeControl(n, LANECALL_CH_FLAGS,
               random_.below(8) ? random_.below(2) * 3 : number());
  writeControl(n, LANECALL_CH_COMMAND, LANECALL_CMD_OPEN);
}

void HostileGuest::attachChannel() {
  const auto n = static_cast<unsigned>(random_.below(kChannels));
  const Layout at = layout(n);
  const auto shift = static_cast<unsigned>(12 + random_.below(5));
  // Tables of pages, each ring's one after the other.
  auto* tables = reinterpret_cast<uint64_t*>(arena_.data() + at.tx_table -
                                             arena_.address());
  for (unsigned i = 0; i < 16; ++i) {
    tables[i] = at.rings + i * kPage;
    tables[512 + i] = at.rings + (64 << 10) + i * kPage;
  }
  if (random_.below(16) == 0) tables[random_.below(16)] = address();
  writeControl(n, LANECALL_CH_TX_TABLE_LO, at.tx_table);
  writeControl(n, LANECALL_CH_TX_TABLE_HI, at.tx_table >> 32);
  writeControl(n, LANECALL_CH_RX_TABLE_LO, at.rx_table);
  writeControl(n, LANECALL_CH_RX_TABLE_HI, at.rx_table >> 32);
  writeControl(n, LANECALL_CH_TX_SHIFT, random_.below(16) ? shift : number());
  writeControl(n, LANECALL_CH_RX_SHIFT, random_.below(16) ? shift : number());
  writeControl(n, LANECALL_CH_PAGE_SHIFT, random_.below(16) ? 12 : number());
  writeControl(n, LANECALL_CH_MODERATE_BYTES, random_.below(8) ? 0 : number());
  writeControl(n, LANECALL_CH_MODERATE_US,
               random_.below(8) ? random_.below(2) * 100 : number());
  writeControl(n, LANECALL_CH_COMMAND, LANECALL_CMD_ATTACH);
}

void HostileGuest::commandChannel() {
  const auto n = static_cast<unsigned>(random_.below(kChannels));
  writeControl(n, LANECALL_CH_COMMAND,
               random_.below(8) ? 1 + random_.below(4) : number());
}

void HostileGuest::spoilControl() {
  const auto n = static_cast<unsigned>(random_.below(geometry_.channels));
  const uint64_t value = random_.below(2) ? number() : address();
  write(geometry_.control(n) + random_.below(17) * 4, value & 0xffffffff);
}

// As a producer and a consumer do, or not at all as they do.
void HostileGuest::moveIndices() {
  const auto n = static_cast<unsigned>(random_.below(kChannels));
  lanecall_index_page& words = page(n);
  const auto step = static_cast<uint32_t>(random_.below(5000));
  const bool wild = random_.below(16) == 0;
  if (random_.below(2)) {
    const uint32_t head = lanecall_get32(&words.tx_producer.head);
    lanecall_put32(&words.tx_producer.want_tail, head - number());
    lanecall_put32(&words.tx_producer.head, wild ? number() : head + step);
  } else {
    const uint32_t head = lanecall_get32(&words.rx_producer.head);
    lanecall_put32(&words.rx_consumer.want_head, head);
    lanecall_put32(&words.rx_consumer.tail, wild ? number() : head);
  }
  write(geometry_.doorbell(n), 0);
}

void HostileGuest::spoilTable() {
  const auto n = static_cast<unsigned>(random_.below(kChannels));
  auto* table = reinterpret_cast<uint64_t*>(arena_.data() + layout(n).tx_table -
                                            arena_.address());
  table[random_.below(1024)] = address();
  // What lies in the rings, too.
  arena_.data()[random_.below(kArenaBytes)] =
      static_cast<unsigned char>(random_.below(256));
}

// ---- Regions ---------------------------------------------------------------

void HostileGuest::addRegion() {
  const auto n = static_cast<unsigned>(random_.below(kRegions));
  const uint64_t at = descriptor(n) - arena_.address();
  auto& region = *reinterpret_cast<lanecall_region*>(arena_.data() + at);
  auto* pages =
      reinterpret_cast<lanecall_extent_page*>(arena_.data() + at + kPage);
  const auto extents = static_cast<uint32_t>(
      random_.below(4) ? 1 + random_.below(8) : 1 + random_.below(600));
  // So large, sometimes, that the device copies in another way.
  const uint64_t most = random_.below(8) ? kPage : 128 * kPage;
  region = {};
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < extents; ++i) {
    lanecall_extent& extent = pages[i / LANECALL_EXTENTS_PER_PAGE]
                                  .extent[i % LANECALL_EXTENTS_PER_PAGE];
    const uint64_t from = random_.below(kArenaBytes - most);
    extent.address = arena_.address() + from;
    extent.bytes = 1 + random_.below(most);
    bytes += extent.bytes;
  }
  for (unsigned i = 0; i < 2; ++i)
    pages[i].next = descriptor(n) + (2 + i) * kPage;
  region.key = key(n);
  region.bytes = bytes;
  region.access = static_cast<uint32_t>(1 + random_.below(3));
  region.extents = extents;
  region.first = descriptor(n) + kPage;
  if (random_.below(4) == 0) spoilRegion();
  write(LANECALL_REG_REGION_SLOT, random_.below(16) ? n : number());
  write(LANECALL_REG_REGION_VECTOR, random_.below(16) ? n : number());
  write(LANECALL_REG_REGION_LO, descriptor(n) & 0xffffffff);
  write(LANECALL_REG_REGION_HI, descriptor(n) >> 32);
  write(LANECALL_REG_REGION_COMMAND, LANECALL_REGION_ADD);
}

// No extent may reach from the arena into what is not the device's.
void HostileGuest::spoilRegion() {
  const auto n = static_cast<unsigned>(random_.below(kRegions));
  const uint64_t at = descriptor(n) - arena_.address();
  auto& region = *reinterpret_cast<lanecall_region*>(arena_.data() + at);
  auto* page =
      reinterpret_cast<lanecall_extent_page*>(arena_.data() + at + kPage);
  constexpr std::array<uint64_t, 5> kBytes = {
      0, uint64_t{1} << 40, uint64_t{1} << 63, ~uint64_t{0}, 1};
  lanecall_extent& extent = page->extent[random_.below(8)];
  switch (random_.below(8)) {
    case 0:
      extent.bytes = kBytes[random_.below(kBytes.size())];
      break;
    case 1:
      extent.address = address();
      extent.bytes = 1;
      break;
    case 2:
      page->next = address();
      break;
    case 3:
      region.extents = number();
      break;
    case 4:
      region.bytes = random_.below(2) ? number() : ~uint64_t{0};
      break;
    case 5:
      region.key = random_.below(2) ? 0 : key(0);
      break;
    case 6:
      region.first = address();
      break;
    case 7:
      region.access = number();
      break;
  }
}

void HostileGuest::commandRegion() {
  write(LANECALL_REG_REGION_SLOT, random_.below(kRegions));
  if (random_.below(8) == 0) {
    const uint64_t at = address();
    write(LANECALL_REG_REGION_LO, at & 0xffffffff);
    write(LANECALL_REG_REGION_HI, at >> 32);
  }
  write(LANECALL_REG_REGION_COMMAND,
        random_.below(8) ? 1 + random_.below(2) : number());
}

// ---- The rest of the device ------------------------------------------------

void HostileGuest::spoilDeviceRegister() {
  uint64_t offset = random_.below(0x80);
  // A reset each time would leave little to be found.
  if (offset / 4 == LANECALL_REG_CONTROL / 4 && random_.below(16)) return;
  constexpr std::array<unsigned, 4> kWidths = {1, 2, 4, 8};
  if (random_.below(4)) offset &= ~uint64_t{3};
  write(offset, number(), kWidths[random_.below(kWidths.size())]);
}

void HostileGuest::readAnything() {
  constexpr std::array<unsigned, 4> kWidths = {1, 2, 4, 8};
  const auto n = static_cast<unsigned>(random_.below(geometry_.channels));
  const uint64_t at = random_.below(3) == 0 ? random_.below(0x100)
                      : random_.below(2) == 0
                          ? geometry_.doorbell(n)
                          : geometry_.control(n) + random_.below(0x44);
  read(at, kWidths[random_.below(kWidths.size())]);
}

// Mastering and memory off and on again, interrupts, and a reset of the
// function; reset() puts all right.
void HostileGuest::configureFunction() {
  flush();
  PciFunction& function = device_.function();
  function.setConfig(PCI_COMMAND, 2, static_cast<uint32_t>(random_.below(8)));
  if (random_.below(4) == 0)
    if (const auto cap = function.capability(PCI_CAP_ID_MSIX))
      function.setConfig(
          *cap + PCI_MSIX_FLAGS, 2,
          random_.below(2) ? PCI_MSIX_FLAGS_ENABLE : PCI_MSIX_FLAGS_MASKALL);
  if (random_.below(8) == 0)
    if (const auto cap = function.capability(PCI_CAP_ID_EXP))
      function.setConfig(*cap + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
  if (random_.below(4)) device_.configure();
}

// Registers of docs/specs/edu.txt: liveness, factorial, interrupts, DMA.
void HostileGuest::useClassicEdu() {
  constexpr std::array<uint64_t, 10> kRegisters = {
      0x04, 0x08, 0x20, 0x24, 0x60, 0x64, 0x80, 0x88, 0x90, 0x98};
  const uint64_t offset = kRegisters[random_.below(kRegisters.size())];
  const uint64_t at = device_.function().barAddress(0) + offset;
  // A large factorial takes long, and is no more than a small one.
  const uint64_t value = offset == 0x90 || offset == 0x08 ? random_.below(4097)
                         : random_.below(2) || offset > 0x80 ? address()
                                                             : number();
  const bool isWide = offset >= 0x80;
  batch_.push_back(
      random_.below(4) == 0
          ? std::string(isWide ? "readq " : "readl ") + std::to_string(at)
          : std::string(isWide ? "writeq " : "writel ") + std::to_string(at) +
                " " + std::to_string(isWide ? value : value & 0xffffffff));
  if (batch_.size() >= kBatch) flush();
}

}  // namespace lanecall::test
