// SPDX-License-Identifier: Apache-2.0
//
// Open transports of concrete types, for clients that are compiled for them,
// and protocols on them.
#ifndef LANECALL_BENCH_TRANSPORTS_H
#define LANECALL_BENCH_TRANSPORTS_H

#include <lanecall/limits.h>
#include <lanecall/pcie_transport.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "channel.h"
#include "unbudgeted.h"

namespace lanecall::bench {

// What a user of Thrift stacks on a stream, with buffers of a good size.
using Buffered = Unbudgeted<apache::thrift::transport::TBufferedTransport>;
using Framed = Unbudgeted<apache::thrift::transport::TFramedTransport>;

// Milliseconds for connecting, and for each send and receive; a serial port has
// no such bound.
constexpr int kTimeoutMs = 10'000;

// Each connects; blocks for kTimeoutMs at most; throws what is in the way.

// A channel of kind pcie. ringBytes: of both rings, 0 for the driver's default,
// where the channel does not say.
std::shared_ptr<TPcieTransport> openDevice(const Channel& channel,
                                           std::uint32_t ringBytes);
// One of kind tcp, unix or serial, for client `number`.
std::shared_ptr<Buffered> openBuffered(const Channel& channel, int number);
std::shared_ptr<Framed> openFramed(const Channel& channel, int number);

// Calls use() with the transport of a channel of any kind but memory.
template <typename Use>
auto withTransport(const Channel& channel, int number, std::uint32_t ringBytes,
                   Use use) {
  if (channel.kind == Channel::Kind::kMemory)
    throw std::invalid_argument("a channel of kind memory leads nowhere");
  if (channel.kind == Channel::Kind::kPcie)
    return use(openDevice(channel, ringBytes));
  if (channel.framing == Framing::kBuffered)
    return use(openBuffered(channel, number));
  return use(openFramed(channel, number));
}

// Names the service with each call, for a server that has several.
template <typename Transport>
class NamingProtocol
    : public apache::thrift::protocol::TBinaryProtocolT<Transport> {
 public:
  using Base = apache::thrift::protocol::TBinaryProtocolT<Transport>;

  NamingProtocol(std::shared_ptr<Transport> transport, const Limits& limits,
                 const std::string& service)
      : Base(std::move(transport), limits.stringBytes, limits.containerItems,
             true, true),
        prefix_(service.empty() ? "" : service + ":") {}

  // Hides the base's: generated clients call it by this class.
  std::uint32_t writeMessageBegin(const std::string& name,
                                  apache::thrift::protocol::TMessageType type,
                                  std::int32_t sequence) {
    return Base::writeMessageBegin(prefix_ + name, type, sequence);
  }

 private:
  const std::string prefix_;
};

}  // namespace lanecall::bench

#endif
