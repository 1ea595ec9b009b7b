// SPDX-License-Identifier: Apache-2.0
#include <lanecall/async_channel.h>
#include <lanecall/device_io.h>
#include <lanecall/device_ring_io.h>
#include <lanecall/socket_io.h>
#include <lanecall/stream_ring_io.h>
#include <lanecall/uri.h>

#include <stdexcept>
#include <utility>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;

// A socket whose descriptor a loop may watch.
class WatchedSocket : public SocketIo {
 public:
  using SocketIo::SocketIo;
  int descriptor() const { return fd(); }
};

std::shared_ptr<AsyncChannel> onDevice(event_base* loop,
                                       const std::string& path,
                                       const ClientOptions& options) {
  auto node = std::make_shared<DeviceIo>(path);
  node->setRingBytes(options.txRingBytes, options.rxRingBytes);
  node->setModeration(options.moderateBytes, options.moderateUs);
  auto rings = std::make_unique<DeviceRingIo>(node);
  rings->setMode(options.mode);
  return std::make_shared<AsyncChannel>(
      loop, std::move(rings), [node] { return node->descriptor(); }, options,
      Peer::kDevice);
}

std::shared_ptr<AsyncChannel> onSocket(event_base* loop, const Uri& uri,
                                       const ClientOptions& options) {
  auto socket = std::make_shared<WatchedSocket>(uri);
  auto channel = std::make_shared<AsyncChannel>(
      loop, std::make_unique<StreamRingIo>(socket),
      [socket] { return socket->descriptor(); }, options, Peer::kServer);
  channel->setSpin(Spin::never());
  return channel;
}

}  // namespace

std::shared_ptr<AsyncChannel> openAsyncChannel(
    event_base* loop, const std::string& text,
    const ClientOptions& options) try {
  const Uri uri = parseUri(text);
  if (uri.scheme == Uri::Scheme::kTcp && uri.port == 0)
    throw std::invalid_argument("'" + text + "': a client needs the port");
  auto channel = uri.scheme == Uri::Scheme::kPcie
                     ? onDevice(loop, uri.path, options)
                     : onSocket(loop, uri, options);
  channel->open();
  return channel;
} catch (const std::invalid_argument& error) {
  throw TTransportException(TTransportException::BAD_ARGS, error.what());
}

}  // namespace lanecall
