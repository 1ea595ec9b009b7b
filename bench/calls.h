// SPDX-License-Identifier: Apache-2.0
//
// The loops that are timed, as templates over the client: what is measured is
// code that the compiler saw through, for every kind of channel.
//
// A Client is AwaitingClient below or something like it: it has what Thrift
// generates for service Edu: ping(), send_ping(), recv_ping(), reflect(); and
// awaitAnswer(), which returns when an answer has begun to come.
#ifndef LANECALL_BENCH_CALLS_H
#define LANECALL_BENCH_CALLS_H

#include <memory>
#include <utility>
#include <vector>

#include "clock.h"
#include "connection.h"
#include "payload.h"

namespace lanecall::bench {

// A generated client that can wait for an answer without reading it.
template <typename Client>
class AwaitingClient : public Client {
 public:
  using Client::Client;

  void awaitAnswer() { this->getInputProtocol()->getTransport()->peek(); }
};

// The functions of a Client are called as they are, not as virtual ones.
template <typename Client>
class Calls : public Connection {
 public:
  Calls(std::unique_ptr<Client> client, const Test& test, int number)
      : client_(std::move(client)),
        stage_(test.stage),
        payload_(test.bytes, static_cast<std::uint64_t>(number)),
        reflects_(test.bytes > 0) {}

  void warmUp(const Span& span) override {
    for (std::size_t made = 0; !span.isOver(nowNs(), made); ++made) {
      if (!reflects_) {
        client_->Client::ping();
        continue;
      }
      client_->Client::reflect(payload_.answer(), payload_.next());
      payload_.checkAll();
    }
  }

  void run(const Span& span, int outstanding, Latencies& latencies) override {
    if (outstanding > 1)
      return pipeline(span, static_cast<std::size_t>(outstanding), latencies);
    if (stage_ != Stage::kWhole) return repeatStage(span, latencies);
    if (!reflects_)
      return repeat(span, latencies, [this] { client_->Client::ping(); });
    repeat(span, latencies, [this] {
      client_->Client::reflect(payload_.answer(), payload_.next());
      payload_.checkEnds();
    });
  }

 private:
  template <typename Call>
  static void repeat(const Span& span, Latencies& latencies, Call call) {
    std::int64_t before = nowNs();
    while (latencies.room() > 0) {
      call();
      const std::int64_t now = nowNs();
      latencies.add(now - before);
      before = now;
      if (span.isOver(now, latencies.count())) break;
    }
  }

  // Whole pings, timed in part; each looks at the clock four times.
  void repeatStage(const Span& span, Latencies& latencies) {
    while (latencies.room() > 0) {
      const std::int64_t start = nowNs();
      client_->Client::send_ping();
      const std::int64_t sent = nowNs();
      client_->Client::awaitAnswer();
      const std::int64_t begun = nowNs();
      client_->Client::recv_ping();
      const std::int64_t now = nowNs();
      latencies.add(stage_ == Stage::kSend   ? sent - start
                    : stage_ == Stage::kWait ? begun - sent
                                             : now - begun);
      if (span.isOver(now, latencies.count())) break;
    }
  }

  // Sends until so many calls are on their way, then reads answers until it is
  // half as many: requests go out in batches, and the server never runs dry.
  void pipeline(const Span& span, std::size_t outstanding,
                Latencies& latencies) {
    std::vector<std::int64_t> sentAt(outstanding);
    std::size_t sent = 0;
    std::size_t answered = 0;
    bool goesOn = true;
    while (goesOn || answered < sent) {
      for (; goesOn && sent - answered < outstanding; ++sent) {
        sentAt[sent % outstanding] = nowNs();
        client_->Client::send_ping();
      }
      const std::size_t left = goesOn ? outstanding / 2 : 0;
      std::int64_t now = 0;
      for (; sent - answered > left; ++answered) {
        client_->Client::recv_ping();
        now = nowNs();
        latencies.add(now - sentAt[answered % outstanding]);
      }
      goesOn = goesOn && !span.isOver(now, answered) &&
               latencies.room() >= 2 * outstanding;
    }
  }

  const std::unique_ptr<Client> client_;
  const Stage stage_;
  Payload payload_;
  const bool reflects_;
};

}  // namespace lanecall::bench

#endif
