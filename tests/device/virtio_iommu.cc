// SPDX-License-Identifier: Apache-2.0
// Offsets in BAR 4 are where QEMU has had them ever since virtio 1.0.
#include "virtio_iommu.h"

#define VIRTIO_RING_NO_LEGACY  // it is not C++

#include <linux/virtio_config.h>
#include <linux/virtio_iommu.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include <cstring>
#include <stdexcept>

namespace lanecall::test {
namespace {

constexpr uint64_t kBar = 0xc0800000;
constexpr unsigned kCommonBar = 4, kNotify = 0x3000, kNotifyBytes = 4;
constexpr unsigned kQueueSize = 8;
constexpr size_t kAvail = 0x100, kUsed = 0x200, kRequest = 0x300;
constexpr size_t kTail = 0x3c0, kQueueBytes = 0x400;
constexpr uint32_t kDomain = 1;
constexpr uint64_t kPage = 4096;
constexpr uint32_t kFeatures =
    1u << VIRTIO_IOMMU_F_MAP_UNMAP | 1u << VIRTIO_IOMMU_F_BYPASS_CONFIG;

template <typename Request>
std::span<const unsigned char> withoutTail(const Request& request) {
  return {reinterpret_cast<const unsigned char*>(&request),
          offsetof(Request, tail)};
}

}  // namespace

VirtioIommu::VirtioIommu(Qemu& qemu, uint16_t endpoint)
    : qemu_(qemu),
      function_(qemu, 0, 3),
      requests_{0, GuestBlock(qemu.memory(), kQueueBytes)},
      events_{1, GuestBlock(qemu.memory(), kQueueBytes)} {
  function_.placeBar(kCommonBar, kBar);
  function_.enable();
  const unsigned started = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
  common(VIRTIO_PCI_COMMON_STATUS, 1, started);
  common(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
  common(VIRTIO_PCI_COMMON_GF, 4, kFeatures);
  common(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
  common(VIRTIO_PCI_COMMON_GF, 4, 1u << (VIRTIO_F_VERSION_1 - 32));
  common(VIRTIO_PCI_COMMON_STATUS, 1, started | VIRTIO_CONFIG_S_FEATURES_OK);
  enable(requests_);
  enable(events_);
  common(VIRTIO_PCI_COMMON_STATUS, 1,
         started | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);

  virtio_iommu_req_attach attach{};
  attach.head.type = VIRTIO_IOMMU_T_ATTACH;
  attach.domain = kDomain;
  attach.endpoint = endpoint;
  request(withoutTail(attach));
  map(0, qemu.memory().size() - 1);
}

void VirtioIommu::common(unsigned offset, unsigned width, uint64_t value) {
  function_.write(kCommonBar, offset, width, value);
}

void VirtioIommu::enable(Queue& queue) {
  const uint64_t at = queue.memory.address();
  common(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue.number);
  common(VIRTIO_PCI_COMMON_Q_SIZE, 2, kQueueSize);
  common(VIRTIO_PCI_COMMON_Q_DESCLO, 4, at);
  common(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, at + kAvail);
  common(VIRTIO_PCI_COMMON_Q_USEDLO, 4, at + kUsed);
  common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void VirtioIommu::describe(Queue& queue, unsigned n, uint64_t address,
                           uint32_t bytes, uint16_t flags, uint16_t next) {
  const vring_desc descriptor{address, bytes, flags, next};
  std::memcpy(queue.memory.data() + n * sizeof descriptor, &descriptor,
              sizeof descriptor);
}

// The chain that begins at descriptor 0.
void VirtioIommu::offer(Queue& queue) {
  ++queue.index;  // the ring's entries are all 0
  __atomic_store_n(
      reinterpret_cast<uint16_t*>(queue.memory.data() + kAvail + 2),
      queue.index, __ATOMIC_SEQ_CST);
}

void VirtioIommu::request(std::span<const unsigned char> bytes) {
  const uint64_t at = requests_.memory.address();
  std::memcpy(requests_.memory.data() + kRequest, bytes.data(), bytes.size());
  describe(requests_, 0, at + kRequest, static_cast<uint32_t>(bytes.size()),
           VRING_DESC_F_NEXT, 1);
  describe(requests_, 1, at + kTail, sizeof(virtio_iommu_req_tail),
           VRING_DESC_F_WRITE, 0);
  unsigned char& status = requests_.memory.data()[kTail];
  status = 0xff;
  offer(requests_);
  function_.write(kCommonBar, kNotify + kNotifyBytes * requests_.number, 2,
                  requests_.number);
  const auto* used =
      reinterpret_cast<uint16_t*>(requests_.memory.data() + kUsed + 2);
  const Deadline deadline = Deadline::in(20000);
  while (__atomic_load_n(used, __ATOMIC_SEQ_CST) != requests_.index) {
    if (deadline.passed()) throw std::runtime_error("virtio-iommu is silent");
    qemu_.turn();
  }
  if (status != VIRTIO_IOMMU_S_OK) {
    throw std::runtime_error("virtio-iommu refuses a request");
  }
}

void VirtioIommu::map(uint64_t first, uint64_t last) {
  virtio_iommu_req_map map{};
  map.head.type = VIRTIO_IOMMU_T_MAP;
  map.domain = kDomain;
  map.virt_start = map.phys_start = first;
  map.virt_end = last;
  map.flags = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE;
  request(withoutTail(map));
}

// A mapping cannot be split, so it is made anew around the page.
void VirtioIommu::addFault(uint64_t page) {
  virtio_iommu_req_unmap unmap{};
  unmap.head.type = VIRTIO_IOMMU_T_UNMAP;
  unmap.domain = kDomain;
  unmap.virt_end = qemu_.memory().size() - 1;
  request(withoutTail(unmap));
  map(0, page - 1);
  map(page + kPage, qemu_.memory().size() - 1);
}

void VirtioIommu::removeFault(uint64_t page) { map(page, page + kPage - 1); }

void VirtioIommu::aimReport(uint64_t address) {
  describe(events_, 0, address, sizeof(virtio_iommu_fault), VRING_DESC_F_WRITE,
           0);
  offer(events_);
}

}  // namespace lanecall::test
