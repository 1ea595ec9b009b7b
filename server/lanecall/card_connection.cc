// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_connection.h>
#include <lanecall/handler_errors.h>
#include <thrift/transport/TTransportException.h>

#include <exception>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;

// In the middle of a message a thread spins for a while at most, however much
// the server spins between calls: others wait for it.
Spin insideCalls(const Spin& spin) {
  return spin.kind() == Spin::Kind::kAlways ? Spin::adaptive() : spin;
}

}  // namespace

CardConnection::CardConnection(
    std::unique_ptr<CardChannel> channel, const ServerOptions& options,
    ConnectionLog log, const std::function<void(CardConnection&)>& beforeSleep)
    : options_(options),
      log_(std::move(log)),
      transport_(std::make_shared<CardTransport>(
          std::move(channel), options.limits.configuration())) {
  transport_->channel().setBeforeSleep(
      [this, beforeSleep] { beforeSleep(*this); });
  transport_->setFraming(options.framing);
  transport_->setSendTimeout(options.sendTimeoutMs);
  transport_->setSpin(insideCalls(options.spin));
  log_.connected();
}

void CardConnection::begin(const ProcessorMaker& maker,
                           const std::shared_ptr<spdlog::logger>& log) {
  protocol_ = protocolFactory(options_.protocol, options_.limits)
                  ->getProtocol(transport_);
  processor_ = maker();
  logHandlerErrors(*processor_, log);
}

// Why it has ended between calls; empty if it has not.
std::string CardConnection::whyOver() {
  try {
    return transport_->peek() ? "" : "the client closed it";
  } catch (const TTransportException& error) {
    return error.what();
  }
}

// Looking may find an index that cannot be: then there is the end to be served.
template <typename Look>
bool CardConnection::look(Look look) {
  try {
    return failed_ || look();
  } catch (...) {
    fail();
    return true;
  }
}

bool CardConnection::isReadable() {
  return look([this] { return transport_->isReadable(); });
}

bool CardConnection::armReadable() {
  return look([this] { return transport_->armReadable(); });
}

// A handler may take long to go: it does so here, where the lead can be taken
// from this thread.
bool CardConnection::serveCall() {
  if (!failed_ && serveOne()) return true;
  dropHandler();
  return false;
}

bool CardConnection::serveOne() {
  transport_->setReceiveDeadline(Deadline::in(options_.messageTimeoutMs));
  std::string why = whyOver();
  try {
    if (why.empty()) {
      served_ = true;
      if (processor_->process(protocol_, protocol_, nullptr)) {
        // A server that spins without end never waits on this channel, and the
        // client may (fsync) until its bytes were taken.
        transport_->settle();
        return true;
      }
      why = "the processor ended it";
    }
  } catch (...) {
    fail();
    return false;
  }
  end(why);
  return false;
}

void CardConnection::dropHandler() {
  processor_.reset();
  protocol_.reset();
}

void CardConnection::end(const std::string& why) {
  log_.closed(why);
  transport_->close();
}

void CardConnection::fail() {
  log_.failed(options_.limits);
  failed_ = true;
  transport_->close();
}

bool CardConnection::isIdleTooLong() {
  if (served_) {
    served_ = false;
    idleUntil_ = Deadline::in(options_.idleTimeoutMs);
  }
  return idleUntil_.passed();
}

}  // namespace lanecall
