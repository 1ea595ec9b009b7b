// SPDX-License-Identifier: Apache-2.0
// QEMU's virtio-iommu, driven as a guest would, as far as these tests go: one
// function sees memory at its own addresses, single pages can be made to fault,
// and the report of a fault can be aimed at any address. QEMU writes it while
// the address is being translated.
#ifndef LANECALL_TESTS_VIRTIO_IOMMU_H
#define LANECALL_TESTS_VIRTIO_IOMMU_H

#include <span>

#include "pci.h"

namespace lanecall::test {

class VirtioIommu {
 public:
  // For QEMU with argument() among its devices; `endpoint` is the function's
  // bus, device and function number.
  static const char* argument() { return "virtio-iommu-pci,addr=3.0"; }
  VirtioIommu(Qemu& qemu, uint16_t endpoint);

  // `page` is aligned to 4096; one at a time.
  void addFault(uint64_t page);
  void removeFault(uint64_t page);

  // Where the next report, of 24 bytes, goes; the address that faulted is its
  // last 8. Only the one report: later faults are silent.
  void aimReport(uint64_t address);

 private:
  struct Queue {
    unsigned number;
    GuestBlock memory;  // descriptors, both rings, and a request
    uint16_t index = 0;
  };
  void common(unsigned offset, unsigned width, uint64_t value);
  void enable(Queue& queue);
  void describe(Queue& queue, unsigned n, uint64_t address, uint32_t bytes,
                uint16_t flags, uint16_t next);
  void offer(Queue& queue);
  void request(std::span<const unsigned char> bytes);
  void map(uint64_t first, uint64_t last);

  Qemu& qemu_;
  PciFunction function_;
  Queue requests_, events_;
};

}  // namespace lanecall::test

#endif
