// SPDX-License-Identifier: Apache-2.0
//
// Compares what clients and servers have written down. The rules, by what the
// client says of a call:
//
//   OK        ran once, to the end, and both sides have the same digests
//   not run   did not begin
//   unknown   began once, or not at all
//   nothing   (it was killed) likewise
//
// And for all: what began is what was sent; nothing began that was not sent;
// the calls of a channel ran one after another, in order.
#ifndef LANECALL_TESTS_LEDGER_CHECKER_H
#define LANECALL_TESTS_LEDGER_CHECKER_H

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "entry.h"

namespace lanecall::ledger {

struct Verdict {
  std::uint64_t ok = 0;
  std::uint64_t notRun = 0;
  std::uint64_t unknown = 0;        // and those of clients that were killed
  std::uint64_t unknownRan = 0;     // of these: began
  std::uint64_t unfinished = 0;     // of all: began, and never ended
  std::vector<std::string> faults;  // a line each; some, if there are many
  std::uint64_t faultCount = 0;

  std::string text() const;  // one line, without the faults
};

Verdict check(std::span<const Entry> client, std::span<const Entry> server);

}  // namespace lanecall::ledger

#endif
