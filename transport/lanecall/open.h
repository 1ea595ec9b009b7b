// SPDX-License-Identifier: Apache-2.0
//
// The way in for clients: an address and options become an open transport and a
// protocol to give to any generated client.
//
//   auto transport = lanecall::openTransport("pcie:/dev/lanecall0");
//   lanecall::edu::EduClient client(lanecall::protocolOn(transport));
//   client.ping();
#ifndef LANECALL_OPEN_H
#define LANECALL_OPEN_H

#include <lanecall/buffered.h>
#include <lanecall/device_ring_io.h>
#include <lanecall/limits.h>
#include <lanecall/spin.h>

#include <cstdint>
#include <memory>
#include <string>

namespace lanecall {

struct ClientOptions {
  Protocol protocol = Protocol::kBinary;
  Framing framing = Framing::kBuffered;
  Limits limits;
  // Milliseconds, 0 for no limit; see stream_transport.h.
  int connectTimeoutMs = 0;
  int receiveTimeoutMs = 0;
  int sendTimeoutMs = 0;
  // One thread will write while another reads: for a generated ConcurrentClient
  // that threads share. See RingTransport::setShared().
  bool shared = false;
  // pcie: only. Bytes, powers of two, 0 for the driver's default.
  std::uint32_t txRingBytes = 0;
  std::uint32_t rxRingBytes = 0;
  DeviceMode mode = DeviceMode::kAutomatic;
  // How a wait begins, before it sleeps.
  Spin spin = Spin::adaptive();
  // Interrupts that announce bytes wait until so many have come, or that long
  // after the first; 0 us: at once.
  std::uint32_t moderateBytes = 0;
  std::uint32_t moderateUs = 0;
};

using TransportPtr = std::shared_ptr<apache::thrift::transport::TTransport>;
using ProtocolPtr = std::shared_ptr<apache::thrift::protocol::TProtocol>;

// A transport for tcp:, unix: or pcie:, buffered or framed, not open yet; its
// open() connects and may be called again after close(). Throws
// TTransportException BAD_ARGS for an address it does not understand.
TransportPtr makeTransport(const std::string& uri,
                           const ClientOptions& options = {});

// The same, opened: blocks at most the connect timeout.
TransportPtr openTransport(const std::string& uri,
                           const ClientOptions& options = {});

// A protocol with the options' limits (one met closes: closing_protocol.h). For
// one service of several on a connection, wrap it in TMultiplexedProtocol.
ProtocolPtr protocolOn(const TransportPtr& transport,
                       const ClientOptions& options = {});

}  // namespace lanecall

#endif
