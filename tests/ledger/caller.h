// SPDX-License-Identifier: Apache-2.0
//
// A client's end of one channel: makes calls and writes down what came of them.
//
// A call whose sending failed did not run: no server has all of it (see
// ring_transport.h, stream_transport.h). One that was sent, and whose answer
// did not come, may have.
#ifndef LANECALL_TESTS_LEDGER_CALLER_H
#define LANECALL_TESTS_LEDGER_CALLER_H

#include <lanecall/open.h>
#include <ledger/Ledger.h>

#include <cstdint>
#include <string>

#include "book.h"
#include "patience.h"

namespace lanecall::ledger {

using test::kPatienceMs;
using test::patient;

class Caller {
 public:
  // Opens a connection, to be called `channel`, which nobody else may be.
  // Throws what openTransport() does.
  Caller(const std::string& uri, const ClientOptions& options,
         std::uint64_t channel, const Book& book);

  // What came of it; after anything but kOk the caller is of no more use.
  What call(std::string data, std::int32_t answerBytes,
            std::int32_t stallUs = 0);

  // Of the last answer.
  std::uint64_t digest() const { return digest_; }

 private:
  What send(const Order& order);
  What receive(const Order& order);
  What note(What what, const Order& order, std::uint64_t digest = 0) const;

  const std::uint64_t channel_;
  const Book& book_;
  const bool isPatient_;
  LedgerClient client_;
  std::int64_t next_ = 0;
  std::uint64_t digest_ = 0;
};

}  // namespace lanecall::ledger

#endif
