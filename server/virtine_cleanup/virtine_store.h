// SPDX-License-Identifier: Apache-2.0
//
// The snapshots and attachments of all connections.
//
// - Images never change once registered; a clean holds a reference to its
//   image and copies without the lock. The same bytes are kept once, however
//   many snapshots have them.
// - Everything has an owner, the connection that made it, and ends with it,
//   but for snapshots that are to be kept. A snapshot that others' attachments
//   still use loses its id at once and its memory with the last of them.
// - Bounded by limits, over all connections together.
#ifndef LANECALL_SERVER_VIRTINE_STORE_H
#define LANECALL_SERVER_VIRTINE_STORE_H

#include <virtine/virtine_types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "virtine_counters.h"
#include "virtine_image.h"

namespace lanecall {

class CleanTarget;

struct VirtineLimits {
  std::int64_t snapshotBytes = 512 << 20;  // all images together
  std::int64_t snapshots = 1024;
  std::int64_t attachments = 65536;
  std::int64_t attachmentsEach = 8192;  // of one connection
  // One virtine's memory, in messages and by reference.
  std::int64_t memoryBytes = 64 << 20;
  std::int64_t regionBytes = 1 << 30;
  // Of one connection, submitted and not reaped: requests, and the extents that
  // they list.
  std::int64_t tickets = 65536;
  std::int64_t extents = 1 << 20;
  // Of all connections together, those included that have ended while the
  // device still works for them.
  std::int64_t allTickets = std::int64_t{4} * 65536;
  std::int64_t allExtents = 4 << 20;
  std::int64_t answerBytes = 64 << 20;  // memory in one answer
};

// A virtine's memory, and what it is to be put back to.
struct VirtineAttachment {
  // Its memory travels in messages, unless there is a target.
  VirtineAttachment(VirtineImagePtr i, std::int64_t bytes,
                    std::shared_ptr<CleanTarget> t = nullptr)
      : image(std::move(i)), memoryBytes(bytes), target(std::move(t)) {}

  const VirtineImagePtr image;
  const std::int64_t memoryBytes;
  const std::shared_ptr<CleanTarget> target;
  // What has not begun by then does not any more.
  std::atomic<bool> detached{false};
};

using VirtineAttachmentPtr = std::shared_ptr<VirtineAttachment>;

class VirtineStore : public std::enable_shared_from_this<VirtineStore> {
 public:
  // Stands for a connection; compared, never followed.
  using Owner = const void*;
  static constexpr Owner kKept = nullptr;  // of what no connection's end ends

  explicit VirtineStore(const VirtineLimits& limits) : limits_(limits) {}
  VirtineStore(const VirtineStore&) = delete;
  VirtineStore& operator=(const VirtineStore&) = delete;

  // All of these throw the exceptions of virtine.thrift and may be called from
  // any thread.

  // Room for an image that is yet to be fetched, for as long as it is held: so
  // that all that are fetched together are bounded, too.
  std::shared_ptr<const void> reserve(std::int64_t bytes);
  virtine::Snapshot add(Owner owner, std::string image);
  void drop(std::int64_t snapshot);

  VirtineImagePtr image(std::int64_t snapshot);

  // attachment's image is this snapshot's.
  std::int64_t attach(Owner owner, VirtineAttachmentPtr attachment,
                      std::int64_t snapshot);
  // Whoever detaches also has to end what is under way.
  VirtineAttachmentPtr detach(std::int64_t attachment);
  VirtineAttachmentPtr find(std::int64_t attachment) const;

  // Tickets and the extents that they list, as long as they are there.
  void charge(std::int64_t tickets, std::int64_t extents);
  void discharge(std::int64_t tickets, std::int64_t extents);

  const VirtineLimits& limits() const { return limits_; }
  VirtineCounters& counters() { return counters_; }
  virtine::Stats stats() const;

  // Ends everything of an owner; returns what it had attached, for the same.
  std::vector<VirtineAttachmentPtr> release(Owner owner);

 private:
  struct Snapshot {
    VirtineImagePtr image;
    Owner owner;
    std::int64_t attachments = 0;
    bool dropped = false;  // its owner is gone: no longer to be found
  };
  struct Attached {
    VirtineAttachmentPtr attachment;
    std::int64_t snapshot;
    Owner owner;
  };
  // Of the images that snapshots have: by checksum, with how many have each.
  struct Shared {
    VirtineImagePtr image;
    std::int64_t snapshots = 0;
  };
  using Images = std::unordered_multimap<std::int64_t, Shared>;

  template <typename Map>
  static std::int64_t freshId(const Map& taken);
  static void checkImageSize(std::int64_t bytes);
  void checkMemory(const VirtineAttachment& attachment) const;
  void checkAttachments(Owner owner) const;
  VirtineImagePtr sameAs(const VirtineImagePtr& image) const;
  Images::iterator shared(const VirtineImagePtr& image);
  void retain(const VirtineImagePtr& image);
  Snapshot& findSnapshot(std::int64_t id);
  void erase(std::int64_t snapshot);
  void checkKept(std::int64_t bytes) const;
  void unlink(const Attached& attached);

  const VirtineLimits limits_;
  VirtineCounters counters_;
  std::mutex adding_;         // one add() at a time; before mutex_
  mutable std::mutex mutex_;  // guards all below
  std::unordered_map<std::int64_t, Snapshot> snapshots_;
  std::unordered_map<std::int64_t, Attached> attachments_;
  std::unordered_map<Owner, std::int64_t> attachedBy_;  // how many of them
  Images images_;
  std::int64_t imageBytes_ = 0;     // of images_
  std::int64_t reservedBytes_ = 0;  // of reserve()
  std::int64_t extents_ = 0;        // of tickets
};

}  // namespace lanecall

#endif
