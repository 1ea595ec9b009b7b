// SPDX-License-Identifier: Apache-2.0
// A PCI function on a Qemu, configured as firmware and a driver would: found at
// its address, BARs placed, interrupts set up.
#ifndef LANECALL_TESTS_PCI_H
#define LANECALL_TESTS_PCI_H

#include <cstdint>
#include <optional>
#include <vector>

#include "qemu.h"

namespace lanecall::test {

// Safe for several threads, except that configuration space is one register
// pair for the whole machine: its accesses are serialised by the caller.
class PciFunction {
 public:
  PciFunction(Qemu& qemu, unsigned bus, unsigned slot, unsigned function = 0)
      : qemu_(qemu), bus_(bus), devfn_(slot << 3 | function) {}

  uint32_t config(unsigned offset, unsigned width = 4);
  void setConfig(unsigned offset, unsigned width, uint32_t value);
  bool present() { return config(0) != 0xffffffff; }

  // Its address in memory, after enableEcam().
  uint64_t ecam() const;

  // Offset of a capability in configuration space.
  std::optional<unsigned> capability(uint8_t id);

  // The same in extended configuration space, after enableEcam().
  std::optional<unsigned> extendedCapability(uint16_t id);

  // The BAR's size, 0 if it is not there; leaves the BAR as it was.
  uint64_t barSize(unsigned bar);
  void placeBar(unsigned bar, uint64_t address);
  uint64_t barAddress(unsigned bar) const { return bars_[bar]; }
  void enable();  // memory accesses and bus mastering

  uint64_t read(unsigned bar, uint64_t offset, unsigned width);
  void write(unsigned bar, uint64_t offset, unsigned width, uint64_t value);

  // Interrupts become writes of 1 to a word of guest memory each.
  unsigned msixVectors();
  void enableMsix(const GuestBlock& words);
  void enableMsi(uint64_t word);
  // Was the word written since this was last asked?
  bool taken(uint64_t word);

 private:
  uint32_t selector(unsigned offset) const {
    return 0x80000000u | bus_ << 16 | devfn_ << 8 | (offset & 0xfc);
  }

  Qemu& qemu_;
  const unsigned bus_, devfn_;
  uint64_t bars_[6] = {};
};

// Bridges `bus` behind a root port on bus 0, with windows for 32-bit BARs.
void setUpRootPort(PciFunction& port, unsigned bus, uint32_t base,
                   uint32_t bytes);

// The port's other window, above 4 GiB, for prefetchable 64-bit BARs.
void setPrefetchableWindow(PciFunction& port, uint64_t base, uint64_t bytes);

// Makes q35's extended configuration space reachable, of buses 0 to 63.
void enableEcam(Qemu& qemu);

// Where that space ends: here it can be followed by something else.
constexpr uint64_t kEcamEnd = 0xb4000000;
constexpr unsigned kLastEcamBus = 63;

}  // namespace lanecall::test

#endif
