// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <edu/Edu.h>
#include <fcntl.h>
#include <lanecall/limits.h>
#include <lanecall/pcie_transport.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TFDTransport.h>
#include <thrift/transport/TSocket.h>

#include <cerrno>
#include <limits>
#include <system_error>

#include "calls.h"
#include "cob_calls.h"
#include "memory_client.h"
#include "unbudgeted.h"

namespace lanecall::bench {
namespace {

using namespace apache::thrift::transport;
using apache::thrift::protocol::TBinaryProtocolT;

// A message of more than a MiB streams; it does that best through rings of this
// size, and better than through any size on the way up to its own.
constexpr std::uint32_t kStreamedBytes = 1 << 20;
constexpr std::uint32_t kStreamRingBytes = 512 << 10;

std::uint32_t ringBytes(const Channel& channel, const Test& test) {
  if (channel.ringBytes > 0) return channel.ringBytes;
  return test.bytes > kStreamedBytes ? kStreamRingBytes : 0;
}

// The same code for all: client and protocol compiled for the transport.
template <typename Transport>
std::unique_ptr<Connection> callOver(std::shared_ptr<Transport> transport,
                                     const Test& test, int number) {
  using Protocol = TBinaryProtocolT<Transport>;
  using Client = AwaitingClient<edu::EduClientT<Protocol>>;
  const Limits limits;
  auto protocol =
      std::make_shared<Protocol>(std::move(transport), limits.stringBytes,
                                 limits.containerItems, true, true);
  return std::make_unique<Calls<Client>>(std::make_unique<Client>(protocol),
                                         test, number);
}

std::unique_ptr<Connection> onDevice(const Channel& channel, const Test& test,
                                     int number) {
  auto transport = std::make_shared<TPcieTransport>(
      channel.address, Limits{}.configuration(), ringBytes(channel, test),
      ringBytes(channel, test));
  transport->setConnTimeout(kTimeoutMs);
  transport->setRecvTimeout(kTimeoutMs);
  transport->setSendTimeout(kTimeoutMs);
  transport->setFraming(channel.framing);
  transport->setMode(channel.mode);
  transport->setSpin(channel.spin);
  transport->open();
  return callOver(std::move(transport), test, number);
}

std::shared_ptr<TTransport> openSocket(const Channel& channel) {
  auto configuration = Limits{}.configuration();
  auto socket = channel.kind == Channel::Kind::kTcp
                    ? std::make_shared<TSocket>(channel.address, channel.port,
                                                configuration)
                    : std::make_shared<TSocket>(channel.address, configuration);
  socket->setConnTimeout(kTimeoutMs);
  socket->setRecvTimeout(kTimeoutMs);
  socket->setSendTimeout(kTimeoutMs);
  socket->setNoDelay(true);
  socket->open();
  return socket;
}

std::shared_ptr<TTransport> openPort(const Channel& channel, int number) {
  if (number >= channel.ports)
    throw std::invalid_argument("it has " + std::to_string(channel.ports) +
                                " ports, one for each client");
  std::string path = channel.address;
  if (const std::size_t at = path.find("%d"); at != std::string::npos)
    path.replace(at, 2, std::to_string(number));
  const int fd = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  return std::make_shared<TFDTransport>(fd, TFDTransport::CLOSE_ON_DESTROY,
                                        Limits{}.configuration());
}

// What a user of Thrift stacks on a stream, with buffers of a good size.
std::unique_ptr<Connection> onStream(std::shared_ptr<TTransport> stream,
                                     const Channel& channel, const Test& test,
                                     int number) {
  auto configuration = Limits{}.configuration();
  auto buffered = std::make_shared<Unbudgeted<TBufferedTransport>>(
      std::move(stream), channel.bufferBytes, configuration);
  if (channel.framing == Framing::kBuffered)
    return callOver(std::move(buffered), test, number);
  auto framed = std::make_shared<Unbudgeted<TFramedTransport>>(
      std::move(buffered), channel.bufferBytes,
      std::numeric_limits<std::uint32_t>::max(), configuration);
  return callOver(std::move(framed), test, number);
}

}  // namespace

std::unique_ptr<Connection> connect(const Channel& channel, const Test& test,
                                    int number) {
  if (test.isAsynchronous) return callAsynchronously(channel);
  switch (channel.kind) {
    case Channel::Kind::kPcie:
      return onDevice(channel, test, number);
    case Channel::Kind::kTcp:
    case Channel::Kind::kUnix:
      return onStream(openSocket(channel), channel, test, number);
    case Channel::Kind::kSerial:
      return onStream(openPort(channel, number), channel, test, number);
    default:
      return std::make_unique<Calls<MemoryClient>>(
          std::make_unique<MemoryClient>(Limits{}), test, number);
  }
}

}  // namespace lanecall::bench
