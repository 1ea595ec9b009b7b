// SPDX-License-Identifier: Apache-2.0
//
// Service Edu: the calls of the pci-edu demonstration (ping, echo and counter
// are the same on the wire), and one call for every kind of value that a
// transport could get wrong: binary, 64-bit, lists, typed exceptions, oneway,
// and memory by reference.

include "region.thrift"

namespace cpp lanecall.edu
namespace py lanecall_edu

// The argument lies outside the range the call is defined for.
exception OutOfRange {
  1: i64 value
  2: i64 lowest
  3: i64 highest
}

// The result does not fit its type.
exception Overflow {
  1: i32 index   // which element
  2: i32 value   // that element
  3: i32 factor
}

// A reference that the call cannot work on.
exception BadRegion {
  1: string reason
}

// The server is not the card of a device that this connection came through:
// memory has to travel in messages, by scale.
exception NoCard {
  1: string reason
}

// The server could not reach the memory, or not all of it.
exception DmaFault {
  1: string reason
}

service Edu {
  void ping()
  string echo(1: string text)

  // 0, 1, 2 ... over the server's life, all clients together.
  i32 counter()

  // Gives the bytes back.
  binary reflect(1: binary bytes)

  // n!, for n of 0 to 20.
  i64 factorial(1: i32 n) throws (1: OutOfRange outOfRange)

  // Every value times factor.
  list<i32> scale(1: list<i32> values, 2: i32 factor)
      throws (1: Overflow overflow)

  // The same for 32-bit numbers, little-endian, in memory that the client has
  // lent: every one in source times factor, 2 to 4, into target, which has the
  // same length and is the source itself or does not overlap it. After an
  // exception some of target may be written.
  void scaleRegion(1: region.RegionReference source,
                   2: region.RegionReference target, 3: i32 factor)
      throws (1: OutOfRange outOfRange, 2: Overflow overflow,
              3: BadRegion badRegion, 4: NoCard noCard, 5: DmaFault dmaFault)

  // A line for the server's log; no answer.
  oneway void note(1: string text)
}
