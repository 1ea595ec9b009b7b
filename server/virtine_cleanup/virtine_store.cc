// SPDX-License-Identifier: Apache-2.0
#include "virtine_store.h"

#include <sys/random.h>

#include <cerrno>
#include <system_error>

#include "virtine_errors.h"

namespace lanecall {

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
  if (found == snapshots_.end() || found->second.dropped)
    throwUnknownSnapshot(id);
  return found->second;
}

// ---- Images

void VirtineStore::checkImageSize(std::int64_t bytes) {
  if (bytes <= 0) throwBadMemory("a snapshot needs at least one byte");
}

// It may prove to be one that is here already: so this does not count with
// those that are.
std::shared_ptr<const void> VirtineStore::reserve(std::int64_t bytes) {
  checkImageSize(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  if (bytes > limits_.snapshotBytes - reservedBytes_)
    throwQuotaExceeded("bytes of all snapshots", limits_.snapshotBytes);
  reservedBytes_ += bytes;
  return {this, [self = shared_from_this(), bytes](const void*) {
            std::lock_guard<std::mutex> back(self->mutex_);
            self->reservedBytes_ -= bytes;
          }};
}

// The image with these bytes that is here, or null. They are compared without
// the lock: adding_ sees to it that no other such image comes meanwhile.
VirtineImagePtr VirtineStore::sameAs(const VirtineImagePtr& image) const {
  std::vector<VirtineImagePtr> candidates;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto [from, to] = images_.equal_range(image->checksum());
    for (; from != to; ++from) candidates.push_back(from->second.image);
  }
  for (const VirtineImagePtr& candidate : candidates)
    if (candidate->hasSameBytes(*image)) return candidate;
  return nullptr;
}

VirtineStore::Images::iterator VirtineStore::shared(
    const VirtineImagePtr& image) {
  auto [from, to] = images_.equal_range(image->checksum());
  while (from != to && from->second.image != image) ++from;
  return from == to ? images_.end() : from;
}

void VirtineStore::retain(const VirtineImagePtr& image) {
  auto entry = shared(image);
  if (entry == images_.end()) {
    if (image->size() > limits_.snapshotBytes - imageBytes_)
      throwQuotaExceeded("bytes of all snapshots", limits_.snapshotBytes);
    entry = images_.emplace(image->checksum(), Shared{image});
    imageBytes_ += image->size();
  }
  ++entry->second.snapshots;
}

void VirtineStore::erase(std::int64_t snapshot) {
  auto found = snapshots_.find(snapshot);
  auto entry = shared(found->second.image);
  snapshots_.erase(found);
  if (--entry->second.snapshots > 0) return;
  imageBytes_ -= entry->second.image->size();
  images_.erase(entry);
}

// ---- Snapshots

// Of what is kept nobody may know the id any more: half of all stays for
// others.
void VirtineStore::checkKept(std::int64_t bytes) const {
  std::int64_t kept = 1;
  for (const auto& [id, snapshot] : snapshots_) {
    if (snapshot.owner != kKept) continue;
    ++kept;
    bytes += snapshot.image->size();
  }
  if (kept > (limits_.snapshots + 1) / 2)
    throwQuotaExceeded("number of snapshots that are kept",
                       (limits_.snapshots + 1) / 2);
  if (bytes > (limits_.snapshotBytes + 1) / 2)
    throwQuotaExceeded("bytes of all snapshots that are kept",
                       (limits_.snapshotBytes + 1) / 2);
}

virtine::Snapshot VirtineStore::add(Owner owner, std::string bytes) {
  checkImageSize(static_cast<std::int64_t>(bytes.size()));
  auto image = std::make_shared<const VirtineImage>(std::move(bytes));
  std::lock_guard<std::mutex> adding(adding_);
  if (VirtineImagePtr same = sameAs(image)) image = std::move(same);
  std::lock_guard<std::mutex> lock(mutex_);
  if (static_cast<std::int64_t>(snapshots_.size()) >= limits_.snapshots)
    throwQuotaExceeded("number of snapshots", limits_.snapshots);
  if (owner == kKept) checkKept(image->size());
  retain(image);
  virtine::Snapshot snapshot;
  snapshot.id = freshId(snapshots_);
  snapshot.bytes = image->size();
  snapshot.checksum = image->checksum();
  snapshots_.emplace(snapshot.id, Snapshot{std::move(image), owner});
  return snapshot;
}

void VirtineStore::drop(std::int64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Snapshot& snapshot = findSnapshot(id);
  if (snapshot.attachments > 0) throwSnapshotInUse(id, snapshot.attachments);
  erase(id);
}

// ---- Tickets

void VirtineStore::charge(std::int64_t tickets, std::int64_t extents) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (tickets > limits_.allTickets - counters_.tickets)
    throwQuotaExceeded("requests of all connections, submitted and not reaped",
                       limits_.allTickets);
  if (extents > limits_.allExtents - extents_)
    throwQuotaExceeded("extents of all connections, submitted and not reaped",
                       limits_.allExtents);
  counters_.tickets += tickets;
  extents_ += extents;
}

void VirtineStore::discharge(std::int64_t tickets, std::int64_t extents) {
  std::lock_guard<std::mutex> lock(mutex_);
  counters_.tickets -= tickets;
  extents_ -= extents;
}

// ---- Attachments

VirtineImagePtr VirtineStore::image(std::int64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  return findSnapshot(id).image;
}

void VirtineStore::checkMemory(const VirtineAttachment& attachment) const {
  const std::int64_t bytes = attachment.memoryBytes;
  const std::int64_t most =
      attachment.target ? limits_.regionBytes : limits_.memoryBytes;
  if (bytes > most) throwQuotaExceeded("bytes of a virtine's memory", most);
  if (bytes < attachment.image->size())
    throwBadMemory("memory of " + std::to_string(bytes) +
                   " bytes is smaller than its snapshot of " +
                   std::to_string(attachment.image->size()));
}

// With mutex_ held. One more.
void VirtineStore::checkAttachments(Owner owner) const {
  if (static_cast<std::int64_t>(attachments_.size()) >= limits_.attachments)
    throwQuotaExceeded("number of attachments", limits_.attachments);
  const auto found = attachedBy_.find(owner);
  if (found != attachedBy_.end() && found->second >= limits_.attachmentsEach)
    throwQuotaExceeded("number of attachments of one connection",
                       limits_.attachmentsEach);
}

std::int64_t VirtineStore::attach(Owner owner, VirtineAttachmentPtr attachment,
                                  std::int64_t id) {
  checkMemory(*attachment);
  std::lock_guard<std::mutex> lock(mutex_);
  Snapshot& snapshot = findSnapshot(id);
  checkAttachments(owner);
  const std::int64_t fresh = freshId(attachments_);
  attachments_.emplace(fresh, Attached{std::move(attachment), id, owner});
  ++snapshot.attachments;
  ++attachedBy_[owner];
  return fresh;
}

// With mutex_ held.
void VirtineStore::unlink(const Attached& attached) {
  attached.attachment->detached = true;
  const auto by = attachedBy_.find(attached.owner);
  if (--by->second == 0) attachedBy_.erase(by);
  Snapshot& snapshot = snapshots_.at(attached.snapshot);
  if (--snapshot.attachments == 0 && snapshot.dropped) erase(attached.snapshot);
}

VirtineAttachmentPtr VirtineStore::detach(std::int64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = attachments_.find(id);
  if (found == attachments_.end()) throwUnknownAttachment(id);
  unlink(found->second);
  VirtineAttachmentPtr attachment = std::move(found->second.attachment);
  attachments_.erase(found);
  return attachment;
}

VirtineAttachmentPtr VirtineStore::find(std::int64_t id) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = attachments_.find(id);
  if (found == attachments_.end()) throwUnknownAttachment(id);
  return found->second.attachment;
}

virtine::Stats VirtineStore::stats() const {
  virtine::Stats stats;
  stats.cleans = counters_.cleans;
  stats.failedCleans = counters_.failedCleans;
  stats.bytesRestored = counters_.bytesRestored;
  stats.bytesZeroed = counters_.bytesZeroed;
  stats.tickets = counters_.tickets;
  stats.submitted = counters_.submitted;
  stats.cancelled = counters_.cancelled;
  std::lock_guard<std::mutex> lock(mutex_);
  stats.snapshots = static_cast<std::int64_t>(snapshots_.size());
  stats.snapshotBytes = imageBytes_;
  stats.attachments = static_cast<std::int64_t>(attachments_.size());
  return stats;
}

std::vector<VirtineAttachmentPtr> VirtineStore::release(Owner owner) {
  std::vector<VirtineAttachmentPtr> released;
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(attachments_, [&](const auto& entry) {
    if (entry.second.owner != owner) return false;
    unlink(entry.second);
    released.push_back(entry.second.attachment);
    return true;
  });
  for (auto it = snapshots_.begin(); it != snapshots_.end();) {
    auto at = it++;
    Snapshot& snapshot = at->second;
    if (snapshot.owner != owner || snapshot.dropped) continue;
    snapshot.dropped = true;
    if (snapshot.attachments == 0) erase(at->first);
  }
  return released;
}

}  // namespace lanecall
