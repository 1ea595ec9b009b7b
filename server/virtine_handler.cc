// SPDX-License-Identifier: Apache-2.0
#include "virtine_handler.h"

#include <algorithm>
#include <chrono>

#include "call_log.h"
#include "virtine_errors.h"

namespace lanecall {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Completion;
using virtine::Memory;
using virtine::Ticket;

// No client's wait keeps a thread for ever.
constexpr std::int32_t kMostReapMs = 60'000;

// Of the union, exactly one is to be set: it comes from the wire as it is.
int setIn(const Memory& m) {
  return m.__isset.bytes + m.__isset.inlineSize + m.__isset.region;
}

bool is_inline(const Memory& m) { return m.__isset.bytes && setIn(m) == 1; }

bool is_size_only(const Memory& m) {
  return m.__isset.inlineSize && setIn(m) == 1 && m.inlineSize > 0;
}

void refuseRegion(const Memory& m) {
  if (m.__isset.region)
    throwBadMemory(
        "memory by reference needs a connection over a device's card port; "
        "send it in messages");
}

std::string requests(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " request" : " requests");
}

}  // namespace

void VirtineHandler::info(virtine::Info& result) {
  const VirtineLimits& limits = store_->limits();
  result.byReference = false;
  result.cardBytes = result.cardBytesFree = 0;
  result.maxMemoryBytes = limits.memoryBytes;
  result.maxSnapshots = limits.snapshots;
  result.maxSnapshotBytes = limits.snapshotBytes;
  result.maxAttachments = limits.attachments;
  result.maxTickets = limits.tickets;
  logCall("info()");
}

void VirtineHandler::registerSnapshot(virtine::Snapshot& result,
                                      const Memory& image, const bool keep) {
  refuseRegion(image);
  if (!is_inline(image)) throwBadMemory("a snapshot comes as bytes");
  result = store_->add(keep ? VirtineStore::kKept : this, image.bytes);
  logCall("registerSnapshot(" + std::to_string(image.bytes.size()) + " bytes" +
          (keep ? ", kept)" : ")"));
}

void VirtineHandler::dropSnapshot(const virtine::SnapshotId snapshot) {
  store_->drop(snapshot);
  logCall("dropSnapshot()");
}

virtine::AttachmentId VirtineHandler::attach(
    const Memory& memory, const virtine::SnapshotId snapshot) {
  refuseRegion(memory);
  if (!is_size_only(memory))
    throwBadMemory("memory is attached by its inlineSize, above 0");
  auto id = store_->attach(this, memory.inlineSize, snapshot);
  logCall("attach(" + std::to_string(memory.inlineSize) + " bytes)");
  return id;
}

void VirtineHandler::detach(const virtine::AttachmentId attachment) {
  store_->detach(attachment);
  logCall("detach()");
}

void VirtineHandler::clean(CleanResult& result, const CleanRequest& request) {
  try {
    result = cleanInline(checkedJob(request, store_->find(request.attachment)));
  } catch (...) {
    ++store_->counters().failedCleans;
    throw;
  }
  store_->counters().countClean(result.restored, result.zeroed);
  logCall("clean(" +
          (request.__isset.dirty
               ? std::to_string(request.dirty.size()) + " extents"
               : std::string("all")) +
          ") => " + std::to_string(result.restored) + " restored, " +
          std::to_string(result.zeroed) + " zeroed");
}

std::vector<CleanJob> VirtineHandler::checked(
    const std::vector<CleanRequest>& requests) const {
  std::vector<CleanJob> jobs;
  jobs.reserve(requests.size());
  for (const CleanRequest& request : requests) {
    try {
      jobs.push_back(checkedJob(request, store_->find(request.attachment)));
    } catch (virtine::BadExtent& error) {
      error.request = static_cast<std::int32_t>(jobs.size());
      throw;
    }
  }
  return jobs;
}

void VirtineHandler::submit(std::vector<Ticket>& result,
                            const std::vector<CleanRequest>& asked) {
  result = tickets_.open(checked(asked));
  logCall("submit(" + requests(asked.size()) + ")");
}

void VirtineHandler::reap(std::vector<Completion>& result,
                          const std::int32_t atLeast, const std::int32_t atMost,
                          const std::int32_t timeoutMs) {
  const auto timeout =
      std::chrono::milliseconds(std::clamp(timeoutMs, 0, kMostReapMs));
  result = tickets_.reap(atLeast, atMost, timeout);
  logCall("reap() => " + requests(result.size()));
}

bool VirtineHandler::cancel(const Ticket ticket) {
  const bool cancelled = tickets_.cancel(ticket);
  logCall(cancelled ? "cancel() => cancelled" : "cancel() => too late");
  return cancelled;
}

void VirtineHandler::stats(virtine::Stats& result) {
  result = store_->stats();
  logCall("stats()");
}

}  // namespace lanecall
