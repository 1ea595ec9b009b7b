// SPDX-License-Identifier: Apache-2.0
// A driver that keeps to no rule: it programs the device's registers, rings,
// page tables and regions with what is valid, what is nearly so, and what is
// not. What it gives the device is always its own arena or no memory at all, so
// that whatever else changes in guest memory was the device's fault.
#ifndef LANECALL_TESTS_HOSTILE_GUEST_H
#define LANECALL_TESTS_HOSTILE_GUEST_H

#include <lanecall/region.h>
#include <random.h>

#include <cstdint>
#include <string>
#include <vector>

#include "qemu_device.h"
#include "user_driver.h"

namespace lanecall::test {

class HostileGuest {
 public:
  static constexpr unsigned kChannels = 8;
  static constexpr unsigned kRegions = 8;

  HostileGuest(QemuDevice& device, Random& random);

  // One thing more; it reaches the device with flush() at the latest.
  void act();
  void flush();

  // As a driver does that starts: the function's configuration, then a reset
  // that it waits for. Throws if the device does not come to rest.
  void reset();

  // Whether memory that the device was never given is as it was.
  bool isCanaryWhole() const;

  // What regions are known by.
  static uint64_t key(unsigned region) { return 0x1000 + region; }

 private:
  static constexpr size_t kArenaBytes = size_t{8} << 20;
  static constexpr size_t kCanaryBytes = size_t{1} << 20;

  // Where a channel has its things in the arena.
  struct Layout {
    uint64_t index, tx_table, rx_table, rings;
  };
  Layout layout(unsigned channel) const;
  uint64_t descriptor(unsigned region) const;

  void write(uint64_t offset, uint64_t value, unsigned width = 4);
  void writeControl(unsigned channel, uint32_t offset, uint64_t value);
  void read(uint64_t offset, unsigned width);

  uint64_t address();
  uint32_t number();
  lanecall_index_page& page(unsigned channel) const;

  void enable();
  void openChannel();
  void attachChannel();
  void commandChannel();
  void spoilControl();
  void moveIndices();
  void spoilTable();
  void addRegion();
  void spoilRegion();
  void commandRegion();
  void spoilDeviceRegister();
  void readAnything();
  void configureFunction();
  void useClassicEdu();

  QemuDevice& device_;
  Random& random_;
  const Geometry geometry_;
  const GuestBlock arena_;
  const GuestBlock canary_;
  std::vector<std::string> batch_;
};

}  // namespace lanecall::test

#endif
