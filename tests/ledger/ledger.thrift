// SPDX-License-Identifier: Apache-2.0
//
// A service whose calls can be counted afterwards, one by one: its server writes
// down each call that it begins and ends, its clients what they sent and heard.

namespace cpp lanecall.ledger

struct Order {
  1: required i64 channel      // unique to a connection
  2: required i64 number       // of the call on it, from 0
  3: required i32 answerBytes
  4: required i32 stallUs      // how long the handler is to wait
  5: required binary data
}

exception Refused {
  1: string reason
}

service Ledger {
  // answerTo() of the data (answers.h).
  binary run(1: Order order) throws (1: Refused refused)

  // Entries as they are in the server's ledger (entry.h), from the given one
  // on; some of them, none when there are no more.
  binary entries(1: i64 first) throws (1: Refused refused)

  // How often this was asked, before.
  i64 turn()

  // Of the server's process, resident, in bytes.
  i64 memory()
}
