// SPDX-License-Identifier: Apache-2.0
//
// TPcieTransport: a Thrift transport through a Lanecall device. Each one that
// is open holds one channel, and so one connection to the server behind the
// device. Used wherever a TSocket would be, and with nothing stacked on it: it
// buffers, frames and limits by itself. See ring_transport.h for what that is,
// what blocks, for how long, and which exceptions come.
//
// Fastest is code generated for it, all of which the compiler sees through:
//
//   using Protocol = TBinaryProtocolT<lanecall::TPcieTransport>;
//   auto transport = std::make_shared<lanecall::TPcieTransport>(
//       "/dev/lanecall0", limits.configuration());
//   transport->open();
//   edu::EduClientT<Protocol> client(std::make_shared<Protocol>(transport));
#ifndef LANECALL_PCIE_TRANSPORT_H
#define LANECALL_PCIE_TRANSPORT_H

#include <lanecall/device_ring_io.h>
#include <lanecall/ring_transport.h>

#include <cstdint>
#include <string>

namespace lanecall {

class TPcieTransport : public RingTransport {
 public:
  using Mode = DeviceMode;

  // path: "/dev/lanecall0". Ring sizes in bytes, powers of two, 0 for the
  // driver's default. Opens nothing yet.
  explicit TPcieTransport(const std::string& path,
                          const Configuration& configuration = nullptr,
                          std::uint32_t txRingBytes = 0,
                          std::uint32_t rxRingBytes = 0);

  // On something that behaves like a node, mapped, or read and written: a
  // test's device.
  explicit TPcieTransport(std::unique_ptr<RingIo> io,
                          const Configuration& configuration = nullptr)
      : RingTransport(std::move(io), configuration) {}
  explicit TPcieTransport(std::unique_ptr<ChannelIo> io,
                          const Configuration& configuration = nullptr)
      : TPcieTransport(std::make_unique<StreamRingIo>(std::move(io)),
                       configuration) {}

  // For a node, and from the next open() on.
  void setMode(Mode mode);
  // See DeviceIo::setModeration().
  void setModeration(std::uint32_t bytes, std::uint32_t microseconds);

  // Whether the connection that is open is mapped.
  bool isMapped() const { return rings_ && isOpen() && rings_->isMapped(); }

  // What memory can be lent to until the connection that is open ends; null if
  // none is, and on a test's device. See memory_region.h.
  std::shared_ptr<Lender> lender() const {
    return node_ ? node_->lender() : nullptr;
  }

 private:
  TPcieTransport(std::shared_ptr<DeviceIo> node,
                 const Configuration& configuration);

  const std::shared_ptr<DeviceIo> node_;  // null for a test's device
  DeviceRingIo* const rings_ = nullptr;   // the base's
};

}  // namespace lanecall

#endif
