// SPDX-License-Identifier: Apache-2.0
//
// One client of a polling server, served a turn at a time. Internal to the
// server library.
//
// All that is the service's runs inside turns, since it may take long: making
// the handler is the first, destroying it belongs to the last.
#ifndef LANECALL_CARD_CONNECTION_H
#define LANECALL_CARD_CONNECTION_H

#include <lanecall/card_transport.h>
#include <lanecall/connection_log.h>
#include <lanecall/deadline.h>
#include <lanecall/server.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace lanecall {

class CardConnection {
 public:
  // options and maker outlive it. Both hooks are called by the thread that
  // serves a call: before it sleeps in the middle of a message, and before its
  // handler waits for something else (lanecall/handler_wait.h).
  CardConnection(std::unique_ptr<CardChannel> channel,
                 const ServerOptions& options, const ProcessorMaker& maker,
                 const std::shared_ptr<spdlog::logger>& log,
                 const std::string& at,
                 const std::function<void(CardConnection&)>& beforeSleep,
                 const std::function<void(CardConnection&)>& beforeWait);

  // ---- By whoever holds it

  // Whether a turn would find something to do at once.
  bool isReadable();
  // The same; if not, the client rings its doorbell for the next byte.
  bool armReadable();

  // The beginning, one call, or the end. False when the connection has ended,
  // which is logged; its handler is gone then.
  bool serveTurn();

  // The next turn is the end, in order. The first reason counts.
  void endNext(const std::string& why);

  // Ends it for the exception being handled.
  void fail();

  // Whether it has been idle for too long; calls it served are noticed here.
  bool isIdleTooLong();
  const Deadline& idleUntil() const { return idleUntil_; }

  // ---- By any thread

  // Whatever it waits for fails.
  void cut() { transport_->interrupt(); }

  const CardChannel& channel() const { return transport_->channel(); }

  // ---- The server's notes
  std::atomic<bool> claimed{false};  // a thread other than the leader holds it
  std::atomic<bool> ended{false};
  std::uint64_t call = 0;  // the number of its last call

 private:
  bool begin();
  bool serveCall();
  std::string whyOver();
  void end(const std::string& why);

  const ServerOptions& options_;
  const ProcessorMaker& maker_;
  const std::shared_ptr<spdlog::logger> serverLog_;
  const ConnectionLog log_;
  const std::shared_ptr<CardTransport> transport_;
  std::shared_ptr<apache::thrift::protocol::TProtocol> protocol_;
  std::shared_ptr<apache::thrift::TProcessor> processor_;
  const std::function<void()> beforeWait_;
  bool isDue_ = true;  // for a turn, whatever the client does
  bool failed_ = false;
  std::string over_;    // why, once the next turn is the end
  bool served_ = true;  // since idleUntil_ was set
  Deadline idleUntil_;
};

}  // namespace lanecall

#endif
