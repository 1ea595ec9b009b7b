// SPDX-License-Identifier: Apache-2.0
#include "qemu_device.h"

#include <utility>

namespace lanecall::test {
namespace {

constexpr unsigned kSlot = 4;
constexpr unsigned kMostVectors = 257;

QemuOptions with(QemuOptions options, const DeviceOptions& device) {
  options.arguments.push_back("-device");
  options.arguments.push_back(QemuDevice::deviceArgument(device) +
                              ",id=dut,addr=" + std::to_string(kSlot) + ".0");
  return options;
}

}  // namespace

void placeBars(PciFunction& function, uint32_t base, uint64_t bar2) {
  function.placeBar(0, base);
  if (function.barSize(LANECALL_BAR_MSIX) != 0) {
    function.placeBar(LANECALL_BAR_MSIX, base + 0x200000);
    function.placeBar(LANECALL_BAR_REGS, bar2);
  }
  function.enable();
}

std::string QemuDevice::deviceArgument(const DeviceOptions& options) {
  std::string argument = "edu,rpc=" + options.rpc +
                         ",channels=" + std::to_string(options.channels);
  if (options.vectors) {
    argument += ",vectors=" + std::to_string(options.vectors);
  }
  return argument;
}

QemuDevice::QemuDevice(const DeviceOptions& options, QemuOptions qemu)
    : qemu_(with(std::move(qemu), options)),
      function_(qemu_, 0, kSlot),
      messages_(qemu_.memory(), kMostVectors * 4) {
  configure();
}

void QemuDevice::configure() {
  placeBars(function_);
  function_.enableMsix(messages_);
}

std::vector<uint64_t> QemuDevice::notMemory() {
  return {function_.barAddress(0), function_.barAddress(LANECALL_BAR_REGS),
          memory().size(),         0xfee00000,  // the local APIC
          uint64_t{1} << 40,       ~uint64_t{0} << LANECALL_PAGE_SHIFT_MAX};
}

bool QemuDevice::interrupted(unsigned vector) {
  return vector < kMostVectors &&
         function_.taken(messages_.address() + 4 * vector);
}

bool QemuDevice::waitInterrupt(unsigned vector, const Deadline& deadline) {
  while (!interrupted(vector)) {
    if (deadline.passed()) return false;
    qemu_.turn();
  }
  return true;
}

void QemuDevice::busReset() {
  qemu_.qmp(R"({"execute": "system_reset"})");
  if (!qemu_.waitEvent("RESET", Deadline::in(60000))) {
    throw std::runtime_error("QEMU does not reset");
  }
  configure();
}

}  // namespace lanecall::test
