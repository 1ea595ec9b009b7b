// SPDX-License-Identifier: Apache-2.0
//
// A line of a ledger. Servers and clients keep one each; checker.h compares the
// two.
#ifndef LANECALL_TESTS_LEDGER_ENTRY_H
#define LANECALL_TESTS_LEDGER_ENTRY_H

#include <cstdint>

namespace lanecall::ledger {

enum class What : std::uint32_t {
  // A client's. Before each call:
  kSent = 1,  // digest: of the data
  // And one of these after it; none, if the client was killed.
  kOk,       // digest: of the answer, which is the right one
  kNotRun,   // the transport says so
  kUnknown,  // it failed, and may have run
  kWrong,    // digest: of an answer that is not the right one
  kHung,     // nothing came for longer than a test waits
  // A server's.
  kBegan = 0x100,  // digest: of the data
  kEnded,          // digest: of the answer
};

// Of a size that a page is a multiple of: an append is then of one page, and
// the kernel does not leave it half done when the process is killed.
struct Entry {
  What what{};
  std::uint32_t reserved = 0;
  std::uint64_t channel = 0;
  std::uint64_t number = 0;
  std::uint64_t digest = 0;
};
static_assert(sizeof(Entry) == 32);

}  // namespace lanecall::ledger

#endif
