// SPDX-License-Identifier: Apache-2.0
// The one interface that the contract tests see of a Lanecall device: the fake
// one in this folder, or QEMU's driven over qtest (tests/device/). It is what a
// driver has of a PCI device: BAR 2, card memory, memory that both reach, and
// interrupts.
#ifndef LANECALL_TESTS_DEVICE_UNDER_TEST_H
#define LANECALL_TESTS_DEVICE_UNDER_TEST_H

#include <lanecall/deadline.h>
#include <lanecall/device.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "guest_memory.h"

namespace lanecall::test {

// The properties of docs/device.md that the tests set.
struct DeviceOptions {
  std::string rpc{};  // "unix:/path" or "tcp:host:port"
  unsigned channels = 64;
  unsigned vectors = 0;                       // 0: the default
  std::string card{};                         // "unix:/path"
  uint64_t card_memory = uint64_t{64} << 20;  // bytes, with card=
};

// Safe for several threads. What fails in the harness itself (QEMU died) is
// thrown as std::runtime_error.
class DeviceUnderTest {
 public:
  virtual ~DeviceUnderTest() = default;

  // Accesses of 1, 2, 4 or 8 bytes to BAR 2.
  virtual uint64_t read(uint64_t offset, unsigned width) = 0;
  virtual void write(uint64_t offset, unsigned width, uint64_t value) = 0;
  uint32_t read32(uint64_t offset) {
    return static_cast<uint32_t>(read(offset, 4));
  }
  void write32(uint64_t offset, uint32_t value) { write(offset, 4, value); }

  virtual GuestMemory& memory() = 0;

  // BAR 4 as a driver has it mapped; empty if there is none.
  virtual std::span<unsigned char> cardMemory() { return {}; }

  // Bus addresses that are not memory: beyond it, the device's own BAR, ...
  virtual std::vector<uint64_t> notMemory() = 0;

  // Was the vector raised since this was last asked? It starts as no.
  virtual bool interrupted(unsigned vector) = 0;
  // The same, but waits for it; false when the deadline has passed.
  virtual bool waitInterrupt(unsigned vector, const Deadline& deadline) = 0;

  // As if the vector had been raised without need, which a device may do.
  virtual void wake(unsigned vector) = 0;

  // The process that connects to the server, for limits set on it.
  virtual pid_t host() = 0;

  // What a bus reset does to this device.
  virtual void busReset() = 0;
};

// Defined by whoever links the contract tests: a device fresh from power-on.
std::unique_ptr<DeviceUnderTest> makeDevice(const DeviceOptions& options);

}  // namespace lanecall::test

#endif
