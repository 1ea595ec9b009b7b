// SPDX-License-Identifier: Apache-2.0
// The device under test as one that misbehaves (x-rogue-dma): its registers for
// that, past the driver, which has no use for them; and the kernel's word about
// what the device does. For root, in a guest booted with iomem=relaxed.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "mapping.h"

namespace lanecall::guest_tests {

// How often it has written where it may not, and how often that was stopped.
struct Attempts {
  std::uint32_t tried = 0;
  std::uint32_t blocked = 0;

  bool operator==(const Attempts&) const = default;
  Attempts operator-(const Attempts& before) const {
    return {tried - before.tried, blocked - before.blocked};
  }
};
inline void PrintTo(const Attempts& all, std::ostream* out) {
  *out << all.tried << " tried, " << all.blocked << " blocked";
}

class RogueDevice {
 public:
  // Fails the test if the registers are out of reach.
  explicit RogueDevice(const std::string& pci);

  void choose(std::uint64_t address);
  void seed(std::uint32_t value);
  // LANECALL_ROGUE_*; over when it returns. What it did:
  Attempts command(std::uint32_t kind, std::uint32_t count = 0);
  Attempts attempts() const;  // since power-on
  std::uint32_t remembered() const;

 private:
  volatile std::uint32_t& reg(std::size_t offset) const {
    return bar_.as<volatile std::uint32_t>()[offset / 4];
  }

  Mapping bar_;
};

// Does an IOMMU translate what this function reads and writes?
bool is_behind_iommu(const std::string& pci);

// What the kernel reports of faults of that function at Intel's IOMMU (DMAR),
// from now on.
class FaultReports {
 public:
  explicit FaultReports(const std::string& pci);

  // Waits for one that was not seen yet.
  bool next(std::chrono::milliseconds timeout);

 private:
  bool isReport(const std::string& record) const;

  Fd log_;
  std::string pci_;
};

}  // namespace lanecall::guest_tests
