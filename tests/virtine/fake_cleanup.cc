// SPDX-License-Identifier: Apache-2.0
#include "fake_cleanup.h"

#include <algorithm>
#include <cstring>

namespace lanecall::test {

using namespace virtine;

void FakeCleanup::info(Info& result) {
  begin("info");
  result.byReference = lender_ != nullptr;
  result.maxTickets = maxTickets;
}

void FakeCleanup::registerSnapshot(Snapshot& result, const Memory& image,
                                   const bool) {
  begin("registerSnapshot");
  if (image.__isset.region) {
    auto memory = lender_->memoryOf(image.region.key);
    image_.assign(memory.begin(), memory.end());
  } else {
    image_ = image.bytes;
  }
  result.id = 1;
  result.bytes = static_cast<std::int64_t>(image_.size());
}

AttachmentId FakeCleanup::attach(const Memory& memory, const SnapshotId) {
  begin("attach");
  attachments_[++last_] = memory;
  return last_;
}

void FakeCleanup::detach(const AttachmentId attachment) {
  begin("detach");
  if (!attachments_.erase(attachment)) throw UnknownAttachment();
}

void FakeCleanup::submit(std::vector<Ticket>& result,
                         const std::vector<CleanRequest>& requests) {
  begin("submit");
  for (const CleanRequest& request : requests) {
    if (!attachments_.contains(request.attachment)) throw UnknownAttachment();
    const Memory& memory = attachments_[request.attachment];
    if (memory.__isset.region) lender_->setBusy(memory.region.key, true);
    pending_.push_back({++last_, request});
    result.push_back(last_);
  }
  batches.push_back(requests.size());
  if (changeTickets) changeTickets(result);
}

void FakeCleanup::reap(std::vector<Completion>& result, const std::int32_t,
                       const std::int32_t atMost, const std::int32_t) {
  begin("reap");
  while (!holds && !pending_.empty() &&
         result.size() < static_cast<std::size_t>(atMost)) {
    result.push_back(complete(pending_.front()));
    pending_.pop_front();
  }
  if (changeCompletions) changeCompletions(result);
}

std::vector<Extent> FakeCleanup::extentsOf(const CleanRequest& request) const {
  if (request.__isset.dirty) return request.dirty;
  const Memory& memory = attachments_.at(request.attachment);
  Extent all;
  all.offset = 0;
  all.length = memory.__isset.region ? memory.region.length : memory.inlineSize;
  return {all};
}

// The bytes of the extents, as they are when clean.
std::string FakeCleanup::cleaned(const std::vector<Extent>& extents,
                                 CleanResult& counts) const {
  std::string bytes;
  for (const Extent& extent : extents) {
    const auto from = std::min<std::size_t>(extent.offset, image_.size());
    const std::string part = image_.substr(from, extent.length);
    bytes += part;
    bytes.append(extent.length - part.size(), '\0');
    counts.restored += static_cast<std::int64_t>(part.size());
    counts.zeroed += extent.length - static_cast<std::int64_t>(part.size());
  }
  return bytes;
}

Completion FakeCleanup::complete(const Pending& pending) {
  Completion completion;
  completion.ticket = pending.ticket;
  auto fail = [&](CleanFault::type fault) {
    CleanFailed failure;
    failure.fault = fault;
    failure.reason = "as told";
    completion.__set_failure(failure);
    return completion;
  };
  auto at = attachments_.find(pending.request.attachment);
  if (at == attachments_.end()) return fail(CleanFault::CANCELLED);
  CleanResult result;
  const std::vector<Extent> extents = extentsOf(pending.request);
  const std::string bytes = cleaned(extents, result);
  if (at->second.__isset.region) {
    const std::int64_t key = at->second.region.key;
    auto memory = lender_->memoryOf(key);
    if (memory.empty()) return fail(CleanFault::REVOKED);
    const char* from = bytes.data();
    for (const Extent& extent : extents) {
      std::memcpy(memory.data() + extent.offset, from, extent.length);
      from += extent.length;
    }
    lender_->setBusy(key, false);
  } else {
    if (pending.request.memory.bytes.size() != bytes.size())
      return fail(CleanFault::DMA);
    Memory memory;
    memory.__set_bytes(bytes);
    result.__set_memory(memory);
  }
  completion.__set_result(result);
  return completion;
}

}  // namespace lanecall::test
