// SPDX-License-Identifier: Apache-2.0
//
// TPcieTransport: a Thrift transport through a Lanecall device. Each one that
// is open holds one channel, and so one connection to the server that the
// device names. Used wherever a TSocket would be; see stream_transport.h for
// what blocks, for how long, and which exceptions come.
//
// It does not buffer: stack buffered.h's transports on it (openTransport does),
// or Thrift's own.
#ifndef LANECALL_PCIE_TRANSPORT_H
#define LANECALL_PCIE_TRANSPORT_H

#include <lanecall/stream_transport.h>

#include <cstdint>
#include <string>

namespace lanecall {

class TPcieTransport : public StreamTransport {
 public:
  // path: "/dev/lanecall0". Ring sizes in bytes, powers of two, 0 for the
  // driver's default. Opens nothing yet.
  explicit TPcieTransport(const std::string& path,
                          Configuration configuration = nullptr,
                          std::uint32_t txRingBytes = 0,
                          std::uint32_t rxRingBytes = 0);

  // On something that behaves like a node: a test's device.
  explicit TPcieTransport(std::unique_ptr<ChannelIo> io,
                          Configuration configuration = nullptr)
      : StreamTransport(std::move(io), std::move(configuration)) {}

 protected:
  Peer peer() const override { return Peer::kDevice; }
};

}  // namespace lanecall

#endif
