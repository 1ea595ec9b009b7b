// SPDX-License-Identifier: Apache-2.0
//
// Service VirtineCleanup: puts the memory of a virtine (a virtual machine that
// runs one function) back to a snapshot, so that the next function finds
// nothing of the last one.
//
// - A snapshot is registered once, never changes, and serves any number of
//   virtines. A virtine's memory is attached to one snapshot, then cleaned
//   after every run: whole, or only where it is dirty. Memory above the
//   snapshot comes back zero.
// - Ids are unguessable; whoever has one may use it. Snapshots and attachments
//   end with the connection that made them, but a snapshot stays as long as
//   another connection's virtine is attached to it, or for good if it was
//   registered to be kept.
// - Memory is a union: inside the message, or lent to the device and named by
//   reference; then no byte of it travels in a call. By reference only over a
//   device's card port; else BadMemory.
// - clean() is one call for one virtine. submit() and reap() take many and do
//   not wait: each request ends in exactly one completion.

include "region.thrift"

namespace cpp lanecall.virtine
namespace py lanecall_virtine

typedef i64 SnapshotId
typedef i64 AttachmentId
typedef i64 Ticket

union Memory {
  // The bytes themselves, in this message.
  1: binary bytes
  // attach only: so many bytes, which will travel in every clean and back.
  2: i64 inlineSize
  // Lent to the device: a snapshot's to read, a virtine's to write; verify
  // also reads it.
  3: region.RegionReference region
}

// What the server can do, and its limits. 0 where there is none.
struct Info {
  1: required bool byReference      // this connection may name regions
  2: required i64 cardBytes         // card memory for snapshots, in all
  3: required i64 cardBytesFree
  4: required i64 maxMemoryBytes    // of one virtine
  5: required i64 maxSnapshots
  6: required i64 maxSnapshotBytes  // all together
  7: required i64 maxAttachments    // of one connection
  8: required i64 maxTickets        // of one connection, not reaped
  9: required i64 maxExtents        // of these tickets, all together
}

struct Snapshot {
  1: required SnapshotId id
  2: required i64 bytes
  3: required i64 checksum   // of its bytes: XXH3, 64 bits, seed 0
}

// Bytes offset to offset + length - 1 of a virtine's memory.
struct Extent {
  1: required i64 offset
  2: required i64 length
}

struct CleanRequest {
  1: required AttachmentId attachment
  // What is dirty; absent: everything. Extents may come in any order but must
  // not be empty, overlap, overflow, or reach outside the memory.
  2: optional list<Extent> dirty
  // For memory attached with inlineSize: all its bytes, or those of the
  // extents, one after the other in the order listed. Else absent.
  3: optional Memory memory
  // Read back what was cleaned, compare it with the snapshot, and give its
  // checksum.
  4: optional bool verify
}

struct CleanResult {
  // The memory in the shape in which it came, cleaned.
  1: optional Memory memory
  2: required i64 restored   // bytes taken from the snapshot
  3: required i64 zeroed     // bytes above it
  // With verify: of the cleaned bytes, in the order in which they were listed,
  // as read back from the memory. XXH3, 64 bits, seed 0.
  4: optional i64 checksum
}

// Why a request was not carried out, or not to its end: the memory is then
// partly clean at best.
enum CleanFault {
  DMA = 1            // some of the memory could not be reached
  REVOKED = 2        // its region is no longer lent, or not for this
  DEVICE_LOST = 3    // the device was reset or is gone
  CANCELLED = 4      // by cancel() or detach(); nothing was written
  VERIFY = 5         // what was read back is not what was written
}

exception CleanFailed {
  1: CleanFault fault
  2: string reason
}

// One of result and failure.
struct Completion {
  1: required Ticket ticket
  2: optional CleanResult result
  3: optional CleanFailed failure
}

struct Stats {
  1: required i64 snapshots
  2: required i64 snapshotBytes   // each content once
  3: required i64 attachments
  4: required i64 cleans
  5: required i64 failedCleans
  6: required i64 bytesRestored
  7: required i64 bytesZeroed
  8: required i64 tickets         // submitted, not reaped
  9: required i64 submitted
  10: required i64 cancelled
}

exception UnknownSnapshot {
  1: SnapshotId snapshot
}

exception UnknownAttachment {
  1: AttachmentId attachment
}

// Never given out to this connection, or reaped already.
exception UnknownTicket {
  1: Ticket ticket
}

// dropSnapshot, while virtines are attached.
exception SnapshotInUse {
  1: SnapshotId snapshot
  2: i64 attachments
}

enum ExtentFault {
  EMPTY = 1       // a length of 0, or a negative offset or length
  OVERFLOW = 2    // offset + length does not fit 64 bits
  OUTSIDE = 3     // reaches beyond the memory
  OVERLAP = 4     // shares bytes with another one
}

exception BadExtent {
  1: ExtentFault fault
  2: i32 index     // its place in the list
  3: Extent extent
  4: i32 request   // submit: which of the requests
}

// The memory does not fit the call.
exception BadMemory {
  1: string reason
}

// A limit of the server.
exception QuotaExceeded {
  1: string reason
  2: i64 limit
}

// The snapshot does not fit into what is free of the card's memory.
exception OutOfCardMemory {
  1: i64 bytes   // wanted
  2: i64 free    // in all, perhaps in pieces
}

service VirtineCleanup {
  Info info()

  // The same bytes registered twice are stored once, under two ids. keep: the
  // snapshot outlives this connection, until dropSnapshot().
  Snapshot registerSnapshot(1: Memory image, 2: bool keep)
      throws (1: BadMemory badMemory, 2: QuotaExceeded quota,
              3: OutOfCardMemory full, 4: CleanFailed failed)

  void dropSnapshot(1: SnapshotId snapshot)
      throws (1: UnknownSnapshot unknown, 2: SnapshotInUse inUse)

  AttachmentId attach(1: Memory memory, 2: SnapshotId snapshot)
      throws (1: UnknownSnapshot unknown, 2: BadMemory badMemory,
              3: QuotaExceeded quota, 4: OutOfCardMemory full)

  // Requests of its that have not begun are cancelled; answered when none is
  // under way.
  void detach(1: AttachmentId attachment)
      throws (1: UnknownAttachment unknown)

  CleanResult clean(1: CleanRequest request)
      throws (1: UnknownAttachment unknown, 2: BadExtent badExtent,
              3: BadMemory badMemory, 4: CleanFailed failed)

  // All of them or, with an exception, none. A ticket for each, in order;
  // requests may end in any order, but those for one attachment in theirs.
  list<Ticket> submit(1: list<CleanRequest> requests)
      throws (1: UnknownAttachment unknown, 2: BadExtent badExtent,
              3: BadMemory badMemory, 4: QuotaExceeded quota)

  // This connection's completions, oldest first, each given out once. Waits
  // until there are atLeast (the batch factor), or as many as are outstanding
  // if those are fewer, but no longer than timeoutMs, and a minute at most.
  list<Completion> reap(1: i32 atLeast, 2: i32 atMost, 3: i32 timeoutMs)

  // True: it will not run, and completes as CANCELLED. False: too late.
  bool cancel(1: Ticket ticket) throws (1: UnknownTicket unknown)

  Stats stats()
}
