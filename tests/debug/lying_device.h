// SPDX-License-Identifier: Apache-2.0
// The device under test as one that lies (x-hostile): its registers for that,
// past the driver, which has no use for them. For root, in a guest booted with
// iomem=relaxed. lanecall/hostile.h has where and what.
#pragma once

#include <lanecall/hostile.h>

#include <cstdint>
#include <string>
#include <vector>

#include "../guest/mapping.h"

namespace lanecall::debug_tests {

constexpr std::uint64_t bit(unsigned place) {
  return std::uint64_t{1} << place;
}

// One thing that it says, wherever it can.
struct Lie {
  unsigned place;
  std::uint32_t kind;

  bool isOfDevice() const { return place < LANECALL_HOSTILE_CH_STATUS; }
  std::string name() const;  // "STATUS: all ones"
};

// All places that a driver reads or is told by, each with all that can be said
// there.
std::vector<Lie> all_lies();

// Of those: registers that matter when the driver is bound or the device reset.
std::uint64_t device_registers();
// All others.
std::uint64_t channels_and_regions();

class LyingDevice {
 public:
  // Fails the test if the registers are out of reach, or it cannot lie.
  explicit LyingDevice(const std::string& pci);
  ~LyingDevice() { stop(); }
  LyingDevice(const LyingDevice&) = delete;
  LyingDevice& operator=(const LyingDevice&) = delete;

  void seed(std::uint32_t value);
  // From now on, at each of these places, at one of so many chances. Kind 0:
  // any.
  void lie(std::uint64_t places, std::uint32_t kind, std::uint32_t one_in);
  void stop();
  std::uint32_t told() const;  // lies since power-on

 private:
  volatile std::uint32_t& reg(std::size_t offset) const {
    return bar_.as<volatile std::uint32_t>()[offset / 4];
  }

  guest_tests::Mapping bar_;
};

}  // namespace lanecall::debug_tests
