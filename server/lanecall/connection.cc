// SPDX-License-Identifier: Apache-2.0
#include <lanecall/connection.h>
#include <lanecall/handler_errors.h>
#include <lanecall/log_field.h>
#include <thrift/transport/TTransportException.h>

#include <exception>

namespace lanecall {

using apache::thrift::transport::TTransportException;

namespace {

class AcceptedTransport : public StreamTransport {
 public:
  using StreamTransport::StreamTransport;

 protected:
  Peer peer() const override { return Peer::kClient; }
};

// Why a call ended its connection, for the server's log.
std::string describe(const std::exception& error, const Limits& limits) {
  if (std::string limit = explainLimit(error, limits); !limit.empty())
    return "the client sent " + limit;
  auto* e = dynamic_cast<const TTransportException*>(&error);
  if (e && e->getType() == TTransportException::END_OF_FILE)
    return "the client closed the connection in the middle of a message";
  return error.what();
}

}  // namespace

Connection::Connection(std::uint64_t id, std::unique_ptr<ChannelIo> io,
                       const ServerOptions& options,
                       std::shared_ptr<spdlog::logger> log)
    : id_(id),
      options_(options),
      log_(std::move(log)),
      raw_(std::make_shared<AcceptedTransport>(std::move(io),
                                               options.limits.configuration())),
      stack_(stack(raw_, options.framing, options.limits)) {
  raw_->setSendTimeout(options.sendTimeoutMs);
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
  auto processor = maker();
  logHandlerErrors(*processor, log_);
  try {
    while (awaitCall()) {
      raw_->setReceiveDeadline(Deadline::in(options_.messageTimeoutMs));
      if (!processor->process(protocol, protocol, nullptr))
        return "the processor ended it";
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
  const std::string peer = logField(raw_->getOrigin());
  try {
    std::string why = serveCalls(maker);
    log_->info("event=closed connection={} reason=\"{}\"", id_, logField(why));
  } catch (const std::exception& error) {
    log_->warn("event=failed connection={} from={} error=\"{}\"", id_, peer,
               logField(describe(error, options_.limits)));
  } catch (...) {
    log_->error("event=failed connection={} from={} error=unknown", id_, peer);
  }
  stack_->close();
}

}  // namespace lanecall
