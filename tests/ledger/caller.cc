// SPDX-License-Identifier: Apache-2.0
#include "caller.h"

#include <thrift/transport/TTransportException.h>

#include <utility>

#include "answers.h"

namespace lanecall::ledger {

using apache::thrift::transport::TTransportException;

Caller::Caller(const std::string& uri, const ClientOptions& options,
               std::uint64_t channel, const Book& book)
    : channel_(channel),
      book_(book),
      isPatient_(options.receiveTimeoutMs >= kPatienceMs),
      client_(protocolOn(openTransport(uri, options), options)) {}

What Caller::call(std::string data, std::int32_t answerBytes,
                  std::int32_t stallUs) {
  Order order;
  order.channel = static_cast<std::int64_t>(channel_);
  order.number = next_++;
  order.answerBytes = answerBytes;
  order.stallUs = stallUs;
  order.data = std::move(data);
  note(What::kSent, order, digestOf(order.data));
  const What sent = send(order);
  return sent == What::kSent ? receive(order) : sent;
}

What Caller::send(const Order& order) {
  try {
    client_.send_run(order);
    return What::kSent;
  } catch (const TTransportException& error) {
    const bool hung =
        isPatient_ && error.getType() == TTransportException::TIMED_OUT;
    return note(hung ? What::kHung : What::kNotRun, order);
  }
}

What Caller::receive(const Order& order) {
  std::string answer;
  try {
    client_.recv_run(answer);
  } catch (const TTransportException& error) {
    const bool hung =
        isPatient_ && error.getType() == TTransportException::TIMED_OUT;
    return note(hung ? What::kHung : What::kUnknown, order);
  } catch (const std::exception&) {
    // Not the answer's end, but something else than it was.
    return note(What::kWrong, order);
  }
  digest_ = digestOf(answer);
  const bool right =
      answer ==
      answerTo(order.data, static_cast<std::size_t>(order.answerBytes));
  return note(right ? What::kOk : What::kWrong, order, digest_);
}

What Caller::note(What what, const Order& order, std::uint64_t digest) const {
  book_.add(
      {what, 0, channel_, static_cast<std::uint64_t>(order.number), digest});
  return what;
}

}  // namespace lanecall::ledger
