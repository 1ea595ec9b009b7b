// SPDX-License-Identifier: Apache-2.0
#include "transports.h"

#include <fcntl.h>
#include <thrift/transport/TFDTransport.h>
#include <thrift/transport/TSocket.h>

#include <cerrno>
#include <limits>
#include <system_error>

namespace lanecall::bench {
namespace {

using namespace apache::thrift::transport;

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

}  // namespace

std::shared_ptr<TPcieTransport> openDevice(const Channel& channel,
                                           std::uint32_t ringBytes) {
  if (channel.ringBytes > 0) ringBytes = channel.ringBytes;
  auto transport = std::make_shared<TPcieTransport>(
      channel.address, Limits{}.configuration(), ringBytes, ringBytes);
  transport->setConnTimeout(kTimeoutMs);
  transport->setRecvTimeout(kTimeoutMs);
  transport->setSendTimeout(kTimeoutMs);
  transport->setFraming(channel.framing);
  transport->setMode(channel.mode);
  transport->setSpin(channel.spin);
  transport->open();
  return transport;
}

std::shared_ptr<Buffered> openBuffered(const Channel& channel, int number) {
  return std::make_shared<Buffered>(
      channel.kind == Channel::Kind::kSerial ? openPort(channel, number)
                                             : openSocket(channel),
      channel.bufferBytes, Limits{}.configuration());
}

std::shared_ptr<Framed> openFramed(const Channel& channel, int number) {
  return std::make_shared<Framed>(
      openBuffered(channel, number), channel.bufferBytes,
      std::numeric_limits<std::uint32_t>::max(), Limits{}.configuration());
}

}  // namespace lanecall::bench
