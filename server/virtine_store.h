// SPDX-License-Identifier: Apache-2.0
//
// The snapshots and attachments of all connections.
//
// - Images never change once registered; a clean holds a reference to its
//   image and copies without the lock.
// - Everything has an owner, the connection that made it, and ends with it. A
//   snapshot that others' attachments still use loses its id at once and its
//   memory with the last of them.
// - Bounded by limits, over all connections together.
#ifndef LANECALL_SERVER_VIRTINE_STORE_H
#define LANECALL_SERVER_VIRTINE_STORE_H

#include <virtine/virtine_types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace lanecall {

struct VirtineLimits {
  std::int64_t snapshotBytes = 512 << 20;  // all images together
  std::int64_t snapshots = 1024;
  std::int64_t attachments = 65536;
  std::int64_t memoryBytes = 64 << 20;  // one virtine's memory
};

class VirtineStore {
 public:
  using Image = std::shared_ptr<const std::string>;
  // Stands for a connection; compared, never followed.
  using Owner = const void*;

  struct Attached {
    Image image;
    std::int64_t memoryBytes;
  };

  explicit VirtineStore(const VirtineLimits& limits) : limits_(limits) {}

  // All of these throw the exceptions of virtine.thrift and may be called from
  // any thread.
  std::int64_t add(Owner owner, const std::string& image);
  void drop(std::int64_t snapshot);
  std::int64_t attach(Owner owner, std::int64_t memoryBytes,
                      std::int64_t snapshot);
  void detach(std::int64_t attachment);
  Attached find(std::int64_t attachment) const;

  void countClean(std::int64_t restored, std::int64_t zeroed);
  void countFailure();
  virtine::Stats stats() const;

  // Ends everything of an owner.
  void release(Owner owner);

 private:
  struct Snapshot {
    Image image;
    Owner owner;
    std::int64_t attachments = 0;
    bool dropped = false;  // its owner is gone: no longer to be found
  };
  struct Attachment {
    std::int64_t snapshot;
    std::int64_t memoryBytes;
    Owner owner;
  };

  template <typename Map>
  static std::int64_t freshId(const Map& taken);
  Snapshot& findSnapshot(std::int64_t id);
  void erase(std::int64_t snapshot);
  void unlink(const Attachment& attachment);

  const VirtineLimits limits_;
  mutable std::mutex mutex_;  // guards all below
  std::unordered_map<std::int64_t, Snapshot> snapshots_;
  std::unordered_map<std::int64_t, Attachment> attachments_;
  std::int64_t imageBytes_ = 0;
  std::int64_t cleans_ = 0;
  std::int64_t failures_ = 0;
  std::int64_t restored_ = 0;
  std::int64_t zeroed_ = 0;
};

}  // namespace lanecall

#endif
