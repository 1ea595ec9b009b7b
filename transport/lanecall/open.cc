// SPDX-License-Identifier: Apache-2.0
#include <lanecall/open.h>
#include <lanecall/pcie_transport.h>
#include <lanecall/socket_io.h>
#include <lanecall/stream_transport.h>
#include <lanecall/uri.h>

#include <stdexcept>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;

std::shared_ptr<StreamTransport> rawTransport(const Uri& uri,
                                              const ClientOptions& options) {
  auto configuration = options.limits.configuration();
  if (uri.scheme == Uri::Scheme::kPcie)
    return std::make_shared<TPcieTransport>(
        uri.path, configuration, options.txRingBytes, options.rxRingBytes);
  return std::make_shared<StreamTransport>(std::make_unique<SocketIo>(uri),
                                           configuration);
}

}  // namespace

TransportPtr makeTransport(const std::string& text,
                           const ClientOptions& options) try {
  const Uri uri = parseUri(text);
  if (uri.scheme == Uri::Scheme::kTcp && uri.port == 0)
    throw std::invalid_argument("'" + text + "': a client needs the port");
  auto raw = rawTransport(uri, options);
  raw->setConnTimeout(options.connectTimeoutMs);
  raw->setRecvTimeout(options.receiveTimeoutMs);
  raw->setSendTimeout(options.sendTimeoutMs);
  return stack(raw, options.framing, options.limits);
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
  return protocolFactory(options.protocol, options.limits)
      ->getProtocol(transport);
}

}  // namespace lanecall
