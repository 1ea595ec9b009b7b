// SPDX-License-Identifier: Apache-2.0
//
// What a test in a guest does to its machine: through the kernel's files, and
// through QEMU's monitor.
#ifndef LANECALL_TESTS_LEDGER_MACHINE_H
#define LANECALL_TESTS_LEDGER_MACHINE_H

#include <cstdint>
#include <filesystem>
#include <string>

namespace lanecall::ledger {

// A command of QEMU's human monitor; what it says. "memory" is one more
// (monitor.py). Throws what openTransport() does.
std::string monitor(const std::string& command);

// The device behind /dev/lanecall0 and the port above it. All of it throw
// std::runtime_error.
class PciDevice {
 public:
  PciDevice();

  void unbind() const;
  void bind() const;
  // By the function's own reset.
  void reset() const;
  // So that QEMU reports its bus errors: 7.2 does of functions only that may
  // report system errors (SERR#), whatever Device Control says. Firmware sees
  // to that at boot, and nobody for a device that is plugged in.
  void reportErrors() const;
  // The slot's power goes, as if somebody had pulled the device out: from then
  // on its configuration reads as all-ones, its memory in QEMU as zeros. The
  // kernel's hotplug takes no notice, because the
  // power is off already: remove() is what it would do.
  void pullOut() const;
  void remove() const;

 private:
  std::filesystem::path device_;
  std::filesystem::path port_;
};

// By device_add. Waits for what is left of the one before to go, and for the
// node to come.
void plugIn();

// Waits until the node is there, or has gone.
void awaitNode(bool there);

}  // namespace lanecall::ledger

#endif
