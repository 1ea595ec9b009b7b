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
//   another connection's virtine is attached to it.
// - Memory is a union, so that the same calls serve memory inside the message
//   and memory that the server reaches by itself.

namespace cpp lanecall.virtine
namespace py lanecall_virtine

typedef i64 SnapshotId
typedef i64 AttachmentId

union Memory {
  // The bytes themselves, in this message.
  1: binary bytes
  // attach only: so many bytes, which will travel in every clean and back.
  2: i64 inlineSize
  // 3: memory by reference
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
  // extents, one after the other in the order listed.
  3: optional Memory memory
}

struct CleanResult {
  // The memory in the shape in which it came, cleaned.
  1: optional Memory memory
  2: required i64 restored   // bytes taken from the snapshot
  3: required i64 zeroed     // bytes above it
}

struct Stats {
  1: required i64 snapshots
  2: required i64 snapshotBytes
  3: required i64 attachments
  4: required i64 cleans
  5: required i64 failedCleans
  6: required i64 bytesRestored
  7: required i64 bytesZeroed
}

exception UnknownSnapshot {
  1: SnapshotId snapshot
}

exception UnknownAttachment {
  1: AttachmentId attachment
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

service VirtineCleanup {
  SnapshotId registerSnapshot(1: Memory image)
      throws (1: BadMemory badMemory, 2: QuotaExceeded quota)

  void dropSnapshot(1: SnapshotId snapshot)
      throws (1: UnknownSnapshot unknown, 2: SnapshotInUse inUse)

  AttachmentId attach(1: Memory memory, 2: SnapshotId snapshot)
      throws (1: UnknownSnapshot unknown, 2: BadMemory badMemory,
              3: QuotaExceeded quota)

  void detach(1: AttachmentId attachment)
      throws (1: UnknownAttachment unknown)

  CleanResult clean(1: CleanRequest request)
      throws (1: UnknownAttachment unknown, 2: BadExtent badExtent,
              3: BadMemory badMemory)

  Stats stats()
}
