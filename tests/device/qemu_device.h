// SPDX-License-Identifier: Apache-2.0
// QEMU's edu with the RPC engine, in a QEMU with no guest, as a device under
// test.
#ifndef LANECALL_TESTS_QEMU_DEVICE_H
#define LANECALL_TESTS_QEMU_DEVICE_H

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "device_under_test.h"
#include "pci.h"
#include "shared_memory.h"

namespace lanecall::test {

// Where a function sits and where its BARs go. BAR 2 lies above 4 GiB, unless
// the function is behind a bridge whose window is not. BAR 4, if it has one,
// lies in a bridge's prefetchable window, which is above 4 GiB.
struct PciPlace {
  unsigned bus = 0;
  unsigned slot = 4;
  uint32_t bars = 0xc0000000;  // 4 MiB of them, for BAR 0 and BAR 1
  uint64_t bar2 = 0x800000000;
  uint64_t bar4 = 0xa00000000;
};

class QemuDevice final : public DeviceUnderTest {
 public:
  enum class Interrupts { kMsix, kMsi, kNone };

  // A device that is there already, in a QEMU that others may use too.
  QemuDevice(std::shared_ptr<Qemu> qemu, PciPlace place = {},
             Interrupts interrupts = Interrupts::kMsix);
  // The one device of a QEMU of its own, on the root complex.
  explicit QemuDevice(const DeviceOptions& options, QemuOptions qemu = {});

  uint64_t read(uint64_t offset, unsigned width) override {
    return function_.read(LANECALL_BAR_REGS, offset, width);
  }
  void write(uint64_t offset, unsigned width, uint64_t value) override {
    function_.write(LANECALL_BAR_REGS, offset, width, value);
  }
  GuestMemory& memory() override { return qemu_->memory(); }
  std::span<unsigned char> cardMemory() override;
  std::vector<uint64_t> notMemory() override;
  bool interrupted(unsigned vector) override;
  bool waitInterrupt(unsigned vector, const Deadline& deadline) override;
  void wake(unsigned vector) override;
  pid_t host() override { return qemu_->pid(); }
  void busReset() override;

  Qemu& qemu() { return *qemu_; }
  PciFunction& function() { return function_; }
  // What firmware and driver do after power-on and after every reset.
  void configure();

  // "edu,..." of these options.
  static std::string argument(const DeviceOptions& options);

 private:
  std::shared_ptr<Qemu> qemu_;
  const PciPlace place_;
  const Interrupts interrupts_;
  PciFunction function_;
  GuestBlock messages_;  // one word for each vector
  std::mutex card_mutex_;  // guards the next: channels of many threads ask
  SharedMemory card_;
};

}  // namespace lanecall::test

#endif
