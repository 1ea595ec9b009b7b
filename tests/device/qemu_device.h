// SPDX-License-Identifier: Apache-2.0
// QEMU's edu with the RPC engine, as a device under test: a QEMU of its own
// with no guest, the device on its root complex.
#ifndef LANECALL_TESTS_QEMU_DEVICE_H
#define LANECALL_TESTS_QEMU_DEVICE_H

#include <mutex>

#include "device_under_test.h"
#include "pci.h"

namespace lanecall::test {

class QemuDevice final : public DeviceUnderTest {
 public:
  explicit QemuDevice(const DeviceOptions& options, QemuOptions qemu = {});

  uint64_t read(uint64_t offset, unsigned width) override {
    return function_.read(LANECALL_BAR_REGS, offset, width);
  }
  void write(uint64_t offset, unsigned width, uint64_t value) override {
    function_.write(LANECALL_BAR_REGS, offset, width, value);
  }
  GuestMemory& memory() override { return qemu_.memory(); }
  std::vector<uint64_t> notMemory() override;
  bool interrupted(unsigned vector) override;
  bool waitInterrupt(unsigned vector, const Deadline& deadline) override;
  void busReset() override;

  Qemu& qemu() { return qemu_; }
  PciFunction& function() { return function_; }
  static std::string deviceArgument(const DeviceOptions& options);

 private:
  void configure();

  Qemu qemu_;
  PciFunction function_;
  GuestBlock messages_;  // one word for each vector
};

// Where tests place the BARs of a function, 256 MiB apart at most. BAR 2 is
// above 4 GiB unless it is told otherwise.
void placeBars(PciFunction& function, uint32_t base = 0xc0000000,
               uint64_t bar2 = 0x800000000);

}  // namespace lanecall::test

#endif
