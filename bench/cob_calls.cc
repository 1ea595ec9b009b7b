// SPDX-License-Identifier: Apache-2.0
#include "cob_calls.h"

#include <edu/Edu.h>
#include <event2/event.h>
#include <lanecall/async_channel.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <vector>

#include "clock.h"
#include "transports.h"

namespace lanecall::bench {
namespace {

using apache::thrift::transport::TMemoryBuffer;

struct FreeLoop {
  void operator()(event_base* loop) const { ::event_base_free(loop); }
};

class CobCalls : public Connection {
 public:
  explicit CobCalls(const Channel& channel)
      : loop_(::event_base_new()),
        channel_(openAsyncChannel(notNull(loop_.get()), uriOf(channel),
                                  clientOptions(channel))),
        client_(channel_, &protocols_) {}

  // Before the client's buffers go.
  ~CobCalls() override { channel_->close(); }

  void warmUp(const Span& span) override { run(span, 1, nullptr); }

  void run(const Span& span, int outstanding, Latencies& latencies) override {
    run(span, outstanding, &latencies);
  }

 private:
  using Protocol = apache::thrift::protocol::TBinaryProtocolT<TMemoryBuffer>;
  using Factory =
      apache::thrift::protocol::TBinaryProtocolFactoryT<TMemoryBuffer>;
  using Client = edu::EduCobClientT<Protocol>;

  static event_base* notNull(event_base* loop) {
    if (!loop) throw std::bad_alloc();
    return loop;
  }

  void run(const Span& span, int outstanding, Latencies* latencies) {
    span_ = span;
    latencies_ = latencies;
    sentAt_.assign(static_cast<std::size_t>(outstanding), 0);
    sent_ = answered_ = 0;
    goesOn_ = true;
    while (sent_ < sentAt_.size()) issue();
    if (::event_base_dispatch(loop_.get()) < 0)
      throw std::runtime_error("libevent's loop failed");
    if (failure_) std::rethrow_exception(failure_);
  }

  void issue() {
    sentAt_[sent_++ % sentAt_.size()] = nowNs();
    client_.Client::ping([this](Client*) { answered(); });
  }

  void answered() try {
    client_.Client::recv_ping();
    const std::int64_t now = nowNs();
    if (latencies_) latencies_->add(now - sentAt_[answered_ % sentAt_.size()]);
    ++answered_;
    const bool isFull = latencies_ && latencies_->room() < 2 * sentAt_.size();
    goesOn_ = goesOn_ && !span_.isOver(now, answered_) && !isFull;
    if (goesOn_)
      issue();
    else if (answered_ == sent_)
      ::event_base_loopbreak(loop_.get());
  } catch (...) {
    // An exception must not leave a callback.
    const AsyncError& error = channel_->lastError();
    failure_ = error.call == 0
                   ? std::current_exception()
                   : std::make_exception_ptr(std::runtime_error(error.text));
    ::event_base_loopbreak(loop_.get());
  }

  static ClientOptions clientOptions(const Channel& channel) {
    ClientOptions options;
    options.framing = channel.framing;
    options.connectTimeoutMs = kTimeoutMs;
    options.receiveTimeoutMs = kTimeoutMs;
    options.txRingBytes = options.rxRingBytes = channel.ringBytes;
    options.mode = channel.mode;
    options.spin = channel.spin;
    return options;
  }

  const std::unique_ptr<event_base, FreeLoop> loop_;
  const std::shared_ptr<AsyncChannel> channel_;
  Factory protocols_;
  Client client_;

  Span span_;
  Latencies* latencies_ = nullptr;
  std::vector<std::int64_t> sentAt_;  // of those on their way, in turn
  std::size_t sent_ = 0;
  std::size_t answered_ = 0;
  bool goesOn_ = false;
  std::exception_ptr failure_;
};

}  // namespace

std::unique_ptr<Connection> callAsynchronously(const Channel& channel) {
  return std::make_unique<CobCalls>(channel);
}

}  // namespace lanecall::bench
