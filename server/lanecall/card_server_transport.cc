// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_server_transport.h>
#include <poll.h>
#include <thrift/transport/TTransportException.h>

#include <cerrno>
#include <exception>

namespace lanecall {

using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;

TCardServerTransport::TCardServerTransport(std::string address, Limits limits,
                                           Framing framing,
                                           std::shared_ptr<spdlog::logger> log)
    : address_(std::move(address)),
      limits_(limits),
      framing_(framing),
      log_(std::move(log)) {}

TCardServerTransport::~TCardServerTransport() = default;

bool TCardServerTransport::isOpen() const { return listening_; }

void TCardServerTransport::listen() {
  try {
    port_.reset();
    port_ = std::make_unique<CardPort>(
        address_, log_, CardPortOptions{.buffersPercent = cardBuffers_});
  } catch (const std::exception& error) {
    throw TTransportException(TTransportException::NOT_OPEN, error.what());
  }
  // Of one that stopped: not meant for us.
  interrupt_.clear();
  listening_ = true;
  std::lock_guard<std::mutex> lock(mutex_);
  childrenInterrupted_ = false;
}

void TCardServerTransport::close() {
  if (listening_) port_->stopListening();
  listening_ = false;
}

void TCardServerTransport::interrupt() { interrupt_.raise(); }

void TCardServerTransport::interruptChildren() {
  std::lock_guard<std::mutex> lock(mutex_);
  childrenInterrupted_ = true;
  for (auto& weak : children_)
    if (auto child = weak.lock()) child->interrupt();
}

std::shared_ptr<TTransport> TCardServerTransport::acceptImpl() {
  if (!listening_)
    throw TTransportException(
        TTransportException::NOT_OPEN,
        "card:" + address_ + ": not listening; call listen() first");
  for (;;) {
    // First: clients that come and come must not keep a server from stopping.
    if (interrupt_.clear())
      throw TTransportException(TTransportException::INTERRUPTED,
                                port_->address() + ": accept interrupted");
    if (auto channel = port_->accept()) return adopt(std::move(channel));
    pollfd waits[] = {{interrupt_.fd(), POLLIN, 0}, {port_->fd(), POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0 && errno != EINTR)
      throw TTransportException(TTransportException::UNKNOWN,
                                port_->address() + ": poll", errno);
  }
}

std::shared_ptr<CardTransport> TCardServerTransport::adopt(
    std::unique_ptr<CardChannel> channel) {
  auto child = std::make_shared<CardTransport>(std::move(channel),
                                               limits_.configuration());
  child->setFraming(framing_);
  child->setSendTimeout(sendTimeoutMs_);
  child->setRecvTimeout(recvTimeoutMs_);
  child->setSpin(spin_);
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(children_, [](const auto& weak) { return weak.expired(); });
  children_.push_back(child);
  if (childrenInterrupted_) child->interrupt();
  return child;
}

}  // namespace lanecall
