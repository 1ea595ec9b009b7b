// SPDX-License-Identifier: Apache-2.0
#include <lanecall/after_answer.h>
#include <lanecall/connection.h>
#include <lanecall/handler_errors.h>
#include <lanecall/proxy_header.h>
#include <thrift/transport/TTransportException.h>

namespace lanecall {

using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;

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

// Waits for the next byte; false when no more is to be served.
bool Connection::await(TTransport& from, int timeoutMs) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return false;
    idle_ = true;
  }
  raw_->setReceiveDeadline(Deadline::in(timeoutMs));
  bool more = from.peek();
  std::lock_guard<std::mutex> lock(mutex_);
  idle_ = false;
  return more && !stopping_;
}

void Connection::stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  stopping_ = true;
  if (idle_) raw_->interrupt();
}

// Who it is, in the time of a message; false if it left before that.
bool Connection::readCaller() {
  if (!await(*raw_, options_.messageTimeoutMs)) return false;
  raw_->setCaller(
      readProxyHeader([this](std::uint8_t* data, std::uint32_t size) {
        return raw_->read(data, size);
      }));
  log_.told(raw_->caller());
  return true;
}

// Waits for the first byte, as await(). Every protocol would complain in its
// own words of a header that nobody reads.
bool Connection::awaitFirstCall() {
  if (options_.proxy) return true;
  if (!await(*raw_, options_.idleTimeoutMs)) return false;
  if (is_proxy_header(raw_->readAhead()))
    throw NoProxyHeader(
        "it begins with a PROXY header; start this server with --proxy, or the "
        "device without proxy=on");
  return true;
}

// Until no more comes. Returns why it ended, if not for that.
const char* Connection::serveAllowed(const ProcessorMaker& maker) {
  auto protocol =
      protocolFactory(options_.protocol, options_.limits)->getProtocol(stack_);
  auto processor = maker({protocol, protocol, raw_});
  logHandlerErrors(*processor, serverLog_);
  if (!awaitFirstCall()) return nullptr;
  while (await(*stack_, options_.idleTimeoutMs)) {
    raw_->setReceiveDeadline(Deadline::in(options_.messageTimeoutMs));
    AnswerHook answer;
    if (!processor->process(protocol, protocol, nullptr))
      return "the processor ended it";
    answer.run();
  }
  return nullptr;
}

// Returns why it ended; throws when that was not in order.
std::string Connection::serveCalls(const ProcessorMaker& maker) {
  bool isTold = !options_.proxy;
  try {
    const bool isThere = isTold || readCaller();
    isTold = true;
    const std::string rule =
        isThere ? options_.policy.refusal(raw_->caller()) : "";
    if (!rule.empty()) {
      log_.denied(raw_->caller(), rule);
      return "denied by " + rule;
    }
    if (isThere)
      if (const char* why = serveAllowed(maker)) return why;
  } catch (const TTransportException& error) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_) throw;
    if (error.getType() == TTransportException::TIMED_OUT)
      return isTold ? "idle for too long" : "its PROXY header did not come";
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
