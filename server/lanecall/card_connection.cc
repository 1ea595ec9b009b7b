// SPDX-License-Identifier: Apache-2.0
#include <lanecall/after_answer.h>
#include <lanecall/card_connection.h>
#include <lanecall/handler_errors.h>
#include <lanecall/handler_wait.h>
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
    const ProcessorMaker& maker, const std::shared_ptr<spdlog::logger>& log,
    const std::string& at,
    const std::function<void(CardConnection&)>& beforeSleep,
    const std::function<void(CardConnection&)>& beforeWait)
    : options_(options),
      maker_(maker),
      serverLog_(log),
      log_(log, at, channel->name()),
      transport_(std::make_shared<CardTransport>(
          std::move(channel), options.limits.configuration())),
      beforeWait_([this, beforeWait] { beforeWait(*this); }) {
  transport_->channel().setBeforeSleep(
      [this, beforeSleep] { beforeSleep(*this); });
  transport_->setFraming(options.framing);
  transport_->setSendTimeout(options.sendTimeoutMs);
  transport_->setSpin(insideCalls(options.spin));
  log_.connected();
}

bool CardConnection::begin() {
  try {
    protocol_ = protocolFactory(options_.protocol, options_.limits)
                    ->getProtocol(transport_);
    processor_ = maker_({protocol_, protocol_, transport_});
    logHandlerErrors(*processor_, serverLog_);
    return true;
  } catch (...) {
    fail();
    return false;
  }
}

// Why it has ended between calls; empty if it has not.
std::string CardConnection::whyOver() {
  if (!over_.empty()) return over_;
  try {
    return transport_->peek() ? "" : "the client closed it";
  } catch (const TTransportException& error) {
    return error.what();
  }
}

bool CardConnection::isReadable() { return isDue_ || transport_->isReadable(); }

bool CardConnection::armReadable() {
  return isDue_ || transport_->armReadable();
}

bool CardConnection::serveTurn() {
  isDue_ = false;
  const WaitHook hooked(beforeWait_);
  const bool isNew = !processor_ && over_.empty();
  if (!failed_ && (isNew ? begin() : serveCall())) return true;
  processor_.reset();
  protocol_.reset();
  return false;
}

bool CardConnection::serveCall() {
  transport_->setReceiveDeadline(Deadline::in(options_.messageTimeoutMs));
  std::string why = whyOver();
  try {
    if (why.empty()) {
      served_ = true;
      AnswerHook answer;
      if (processor_->process(protocol_, protocol_, nullptr)) {
        // A server that spins without end never waits on this channel, and the
        // client may (fsync) until its bytes were taken.
        transport_->settle();
        answer.run();
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

void CardConnection::endNext(const std::string& why) {
  if (over_.empty()) over_ = why;
  isDue_ = true;
}

void CardConnection::end(const std::string& why) {
  log_.closed(why);
  transport_->close();
}

void CardConnection::fail() {
  log_.failed(options_.limits);
  isDue_ = failed_ = true;
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
