// SPDX-License-Identifier: Apache-2.0
#include "virtine_store.h"

#include <sys/random.h>

#include <cerrno>
#include <system_error>

namespace lanecall {
namespace {

[[noreturn]] void exceeded(const std::string& reason, std::int64_t limit) {
  virtine::QuotaExceeded error;
  error.reason = reason;
  error.limit = limit;
  throw error;
}

[[noreturn]] void badMemory(const std::string& reason) {
  virtine::BadMemory error;
  error.reason = reason;
  throw error;
}

[[noreturn]] void unknownSnapshot(std::int64_t id) {
  virtine::UnknownSnapshot error;
  error.snapshot = id;
  throw error;
}

[[noreturn]] void unknownAttachment(std::int64_t id) {
  virtine::UnknownAttachment error;
  error.attachment = id;
  throw error;
}

}  // namespace

// 63 random bits: whoever was not told an id cannot find it.
template <typename Map>
std::int64_t VirtineStore::freshId(const Map& taken) {
  for (;;) {
    std::uint64_t random = 0;
    ssize_t got = ::getrandom(&random, sizeof random, 0);
    if (got < 0 && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "getrandom");
    auto id = static_cast<std::int64_t>(random >> 1);
    if (got == sizeof random && id != 0 && !taken.contains(id)) return id;
  }
}

VirtineStore::Snapshot& VirtineStore::findSnapshot(std::int64_t id) {
  auto found = snapshots_.find(id);
  if (found == snapshots_.end() || found->second.dropped) unknownSnapshot(id);
  return found->second;
}

void VirtineStore::erase(std::int64_t snapshot) {
  auto found = snapshots_.find(snapshot);
  imageBytes_ -= static_cast<std::int64_t>(found->second.image->size());
  snapshots_.erase(found);
}

void VirtineStore::unlink(const Attachment& attachment) {
  Snapshot& snapshot = snapshots_.at(attachment.snapshot);
  if (--snapshot.attachments == 0 && snapshot.dropped)
    erase(attachment.snapshot);
}

std::int64_t VirtineStore::add(Owner owner, const std::string& image) {
  const auto bytes = static_cast<std::int64_t>(image.size());
  if (bytes == 0) badMemory("a snapshot needs at least one byte");
  std::lock_guard<std::mutex> lock(mutex_);
  if (static_cast<std::int64_t>(snapshots_.size()) >= limits_.snapshots)
    exceeded("number of snapshots", limits_.snapshots);
  if (bytes > limits_.snapshotBytes - imageBytes_)
    exceeded("bytes of all snapshots", limits_.snapshotBytes);
  std::int64_t id = freshId(snapshots_);
  snapshots_.emplace(
      id, Snapshot{std::make_shared<const std::string>(image), owner});
  imageBytes_ += bytes;
  return id;
}

void VirtineStore::drop(std::int64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  Snapshot& snapshot = findSnapshot(id);
  if (snapshot.attachments > 0) {
    virtine::SnapshotInUse error;
    error.snapshot = id;
    error.attachments = snapshot.attachments;
    throw error;
  }
  erase(id);
}

std::int64_t VirtineStore::attach(Owner owner, std::int64_t memoryBytes,
                                  std::int64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  Snapshot& snapshot = findSnapshot(id);
  if (memoryBytes > limits_.memoryBytes)
    exceeded("bytes of a virtine's memory", limits_.memoryBytes);
  if (memoryBytes < static_cast<std::int64_t>(snapshot.image->size()))
    badMemory("memory of " + std::to_string(memoryBytes) +
              " bytes is smaller than its snapshot of " +
              std::to_string(snapshot.image->size()));
  if (static_cast<std::int64_t>(attachments_.size()) >= limits_.attachments)
    exceeded("number of attachments", limits_.attachments);
  std::int64_t attachment = freshId(attachments_);
  attachments_.emplace(attachment, Attachment{id, memoryBytes, owner});
  ++snapshot.attachments;
  return attachment;
}

void VirtineStore::detach(std::int64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = attachments_.find(id);
  if (found == attachments_.end()) unknownAttachment(id);
  unlink(found->second);
  attachments_.erase(found);
}

VirtineStore::Attached VirtineStore::find(std::int64_t id) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = attachments_.find(id);
  if (found == attachments_.end()) unknownAttachment(id);
  const Attachment& attachment = found->second;
  return {snapshots_.at(attachment.snapshot).image, attachment.memoryBytes};
}

void VirtineStore::countClean(std::int64_t restored, std::int64_t zeroed) {
  std::lock_guard<std::mutex> lock(mutex_);
  ++cleans_;
  restored_ += restored;
  zeroed_ += zeroed;
}

void VirtineStore::countFailure() {
  std::lock_guard<std::mutex> lock(mutex_);
  ++failures_;
}

virtine::Stats VirtineStore::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  virtine::Stats stats;
  stats.snapshots = static_cast<std::int64_t>(snapshots_.size());
  stats.snapshotBytes = imageBytes_;
  stats.attachments = static_cast<std::int64_t>(attachments_.size());
  stats.cleans = cleans_;
  stats.failedCleans = failures_;
  stats.bytesRestored = restored_;
  stats.bytesZeroed = zeroed_;
  return stats;
}

void VirtineStore::release(Owner owner) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(attachments_, [&](const auto& entry) {
    if (entry.second.owner != owner) return false;
    unlink(entry.second);
    return true;
  });
  for (auto it = snapshots_.begin(); it != snapshots_.end();) {
    auto at = it++;
    Snapshot& snapshot = at->second;
    if (snapshot.owner != owner || snapshot.dropped) continue;
    snapshot.dropped = true;
    if (snapshot.attachments == 0) erase(at->first);
  }
}

}  // namespace lanecall
