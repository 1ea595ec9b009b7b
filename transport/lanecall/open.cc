// SPDX-License-Identifier: Apache-2.0
#include <lanecall/closing_protocol.h>
#include <lanecall/open.h>
#include <lanecall/pcie_transport.h>
#include <lanecall/socket_io.h>
#include <lanecall/stream_transport.h>
#include <lanecall/uri.h>

#include <stdexcept>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;

template <typename Transport>
void setTimeouts(Transport& transport, const ClientOptions& options) {
  transport.setConnTimeout(options.connectTimeoutMs);
  transport.setRecvTimeout(options.receiveTimeoutMs);
  transport.setSendTimeout(options.sendTimeoutMs);
}

TransportPtr onDevice(const std::string& path, const ClientOptions& options) {
  auto transport = std::make_shared<TPcieTransport>(
      path, options.limits.configuration(), options.txRingBytes,
      options.rxRingBytes);
  setTimeouts(*transport, options);
  transport->setShared(options.shared);
  transport->setFraming(options.framing);
  transport->setMode(options.mode);
  transport->setSpin(options.spin);
  transport->setModeration(options.moderateBytes, options.moderateUs);
  return transport;
}

TransportPtr onSocket(const Uri& uri, const ClientOptions& options) {
  auto transport = std::make_shared<StreamTransport>(
      std::make_unique<SocketIo>(uri), options.limits.configuration());
  setTimeouts(*transport, options);
  transport->setShared(options.shared);
  return stack(transport, options.framing, options.limits, options.shared);
}

}  // namespace

TransportPtr makeTransport(const std::string& text,
                           const ClientOptions& options) try {
  const Uri uri = parseUri(text);
  if (uri.scheme == Uri::Scheme::kTcp && uri.port == 0)
    throw std::invalid_argument("'" + text + "': a client needs the port");
  if (uri.scheme == Uri::Scheme::kPcie) return onDevice(uri.path, options);
  return onSocket(uri, options);
} catch (const std::invalid_argument& error) {
  throw TTransportException(TTransportException::BAD_ARGS, error.what());
}

TransportPtr openTransport(const std::string& uri,
                           const ClientOptions& options) {
  TransportPtr transport = makeTransport(uri, options);
  transport->open();
  return transport;
}

ProtocolPtr protocolOn(const TransportPtr& transport,
                       const ClientOptions& options) {
  // Not under other threads: a ConcurrentClient fails all of them by itself.
  if (options.shared)
    return protocolFactory(options.protocol, options.limits)
        ->getProtocol(transport);
  return closingProtocol(transport, options.protocol, options.limits);
}

}  // namespace lanecall
