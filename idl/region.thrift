// SPDX-License-Identifier: Apache-2.0
//
// Memory by reference: how a call names memory that its client has lent to the
// device (lanecall::Region), for a server at the device's card port to read
// and write by DMA. Include it where a service takes such memory.

namespace cpp lanecall.idl
namespace py lanecall_idl

// Whoever has the key may use the memory: it is for the server that the call
// goes to, and not for logs.
struct RegionReference {
  1: required i32 device   // N of the client's /dev/lanecallN; for messages
  2: required i64 key      // 64 random bits
  3: required i64 offset   // in the region, bytes
  4: required i64 length   // bytes
}
