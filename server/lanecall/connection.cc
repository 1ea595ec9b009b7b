// SPDX-License-Identifier: Apache-2.0
#include <lanecall/after_answer.h>
#include <lanecall/connection.h>
#include <lanecall/handler_errors.h>
#include <thrift/transport/TTransportException.h>

namespace lanecall {

using apache::thrift::transport::TTransportException;

namespace {

class AcceptedTransport : public StreamTransport {
 public:
  using StreamTransport::StreamTransport;

 protected:
  Peer peer() const override { return Peer::kClient; }
};

}  // namespace

Connection::Connection(std::unique_ptr<ChannelIo> io,
                       const ServerOptions& options,
                       std::shared_ptr<spdlog::logger> log,
                       const std::string& at)
    : options_(options),
      serverLog_(log),
      log_(std::move(log), at, io->name()),
      raw_(std::make_shared<AcceptedTransport>(std::move(io),
                                               options.limits.configuration())),
      stack_(stack(raw_, options.framing, options.limits)) {
  raw_->setSendTimeout(options.sendTimeoutMs);
  log_.connected();
}

// Waits for the first byte of a call; false when no more are to be served.
bool Connection::awaitCall() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return false;
    idle_ = true;
  }
  raw_->setReceiveDeadline(Deadline::in(options_.idleTimeoutMs));
  bool more = stack_->peek();
  std::lock_guard<std::mutex> lock(mutex_);
  idle_ = false;
  return more && !stopping_;
}

void Connection::stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  stopping_ = true;
  if (idle_) raw_->interrupt();
}

// Returns why it ended; throws when that was not in order.
std::string Connection::serveCalls(const ProcessorMaker& maker) {
  auto protocol =
      protocolFactory(options_.protocol, options_.limits)->getProtocol(stack_);
  auto processor = maker({protocol, protocol, raw_});
  logHandlerErrors(*processor, serverLog_);
  try {
    while (awaitCall()) {
      raw_->setReceiveDeadline(Deadline::in(options_.messageTimeoutMs));
      AnswerHook answer;
      if (!processor->process(protocol, protocol, nullptr))
        return "the processor ended it";
      answer.run();
    }
  } catch (const TTransportException& error) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_) throw;
    if (error.getType() == TTransportException::TIMED_OUT)
      return "idle for too long";
    if (error.getType() != TTransportException::INTERRUPTED)
      return error.what();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  return stopping_ ? "the server stops" : "the client closed it";
}

void Connection::run(const ProcessorMaker& maker) {
  try {
    log_.closed(serveCalls(maker));
  } catch (...) {
    log_.failed(options_.limits);
  }
  stack_->close();
}

}  // namespace lanecall
