// SPDX-License-Identifier: Apache-2.0
#include "virtine_handler.h"

#include <lanecall/after_answer.h>
#include <lanecall/handler_wait.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <string>
#include <utility>

#include "call_log.h"
#include "virtine_dma.h"
#include "virtine_errors.h"
#include "virtine_target.h"
#include "virtine_task.h"

namespace lanecall {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Completion;
using virtine::Memory;
using virtine::Ticket;

// No client's wait keeps a thread for ever.
constexpr std::int32_t kMostReapMs = 60'000;

// A device that stands still must not keep what is reserved for its image: it
// counts against everybody's. A MiB takes some 100 us.
constexpr std::chrono::seconds kFetchTimeout{10};

// Of the union, exactly one is to be set: it comes from the wire as it is.
int setIn(const Memory& m) {
  return m.__isset.bytes + m.__isset.inlineSize + m.__isset.region;
}

bool is_inline(const Memory& m) { return m.__isset.bytes && setIn(m) == 1; }

bool is_size_only(const Memory& m) {
  return m.__isset.inlineSize && setIn(m) == 1 && m.inlineSize > 0;
}

bool is_region(const Memory& m) { return m.__isset.region && setIn(m) == 1; }

bool is_span(const idl::RegionReference& r) {
  std::int64_t end;
  return r.offset >= 0 && r.length > 0 &&
         !__builtin_add_overflow(r.offset, r.length, &end);
}

// One that is waited for.
class OneClean : public CleanSink {
 public:
  void completed(std::span<CleanDone> done) override {
    outcome_.set_value(std::move(done[0].outcome));
  }
  CleanOutcome wait() {
    auto outcome = outcome_.get_future();
    aboutToWait();
    return outcome.get();
  }

 private:
  std::promise<CleanOutcome> outcome_;
};

CleanResult cleanByReference(CleanJob job) {
  auto sink = std::make_shared<OneClean>();
  beginCleaning({std::make_shared<CleanTask>(std::move(job), 0, sink)});
  CleanOutcome outcome = sink->wait();
  if (outcome.failure) throw *outcome.failure;
  return outcome.result;
}

void endCleaning(const VirtineAttachment& attachment) {
  if (attachment.target) attachment.target->close(cancelled());
}

[[noreturn]] void throwOutOfCardMemory(const CardDevice& device,
                                       std::int64_t bytes) {
  virtine::OutOfCardMemory error;
  error.bytes = bytes;
  error.free = static_cast<std::int64_t>(device.space().freeBytes);
  throw error;
}

std::string requests(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " request" : " requests");
}

}  // namespace

VirtineHandler::~VirtineHandler() {
  for (const VirtineAttachmentPtr& attachment : store_->release(this))
    endCleaning(*attachment);
  tickets_->cancelAll();
  beginPending();  // each ends as cancelled, or it would never end
  if (device_) device_->dropUnsent();
}

void VirtineHandler::info(virtine::Info& result) {
  const VirtineLimits& limits = store_->limits();
  const CardSpace card = device_ ? device_->space() : CardSpace{};
  result.byReference = device_ != nullptr;
  result.cardBytes = static_cast<std::int64_t>(card.bytes);
  result.cardBytesFree = static_cast<std::int64_t>(card.freeBytes);
  result.maxMemoryBytes = device_ ? limits.regionBytes : limits.memoryBytes;
  result.maxSnapshots = limits.snapshots;
  result.maxSnapshotBytes = limits.snapshotBytes;
  result.maxAttachments = std::min(limits.attachments, limits.attachmentsEach);
  result.maxTickets = limits.tickets;
  result.maxExtents = limits.extents;
  logCall("info()");
}

// ---- Memory

// What a union names, for this connection's device.
RegionReference VirtineHandler::lent(const Memory& memory) const {
  if (!device_)
    throwBadMemory(
        "memory by reference needs a connection over a device's card port; "
        "send it in messages");
  if (!is_span(memory.region))
    throwBadMemory("no region has " + std::to_string(memory.region.length) +
                   " bytes at " + std::to_string(memory.region.offset));
  return regionOf(memory.region);
}

virtine::Snapshot VirtineHandler::addLent(const Memory& image,
                                          VirtineStore::Owner owner) {
  const RegionReference region = lent(image);
  const auto room = store_->reserve(image.region.length);
  try {
    return store_->add(owner, fetch(*device_, region, kFetchTimeout));
  } catch (const CardMemoryFull&) {
    throwOutOfCardMemory(*device_, image.region.length);
  }
}

VirtineAttachmentPtr VirtineHandler::attachmentOf(const Memory& memory,
                                                  VirtineImagePtr image) const {
  if (is_size_only(memory))
    return std::make_shared<VirtineAttachment>(std::move(image),
                                               memory.inlineSize);
  if (!is_region(memory))
    throwBadMemory(
        "memory is attached by its region, or by its inlineSize, above 0");
  const RegionReference region = lent(memory);
  try {
    auto target =
        std::make_shared<CleanTarget>(device_, region, image->on(*device_));
    return std::make_shared<VirtineAttachment>(
        std::move(image), memory.region.length, std::move(target));
  } catch (const CardMemoryFull&) {
    throwOutOfCardMemory(*device_, image->size());
  }
}

// ---- Snapshots and attachments

void VirtineHandler::registerSnapshot(virtine::Snapshot& result,
                                      const Memory& image, const bool keep) {
  const VirtineStore::Owner owner = keep ? VirtineStore::kKept : this;
  if (is_inline(image))
    result = store_->add(owner, image.bytes);
  else if (is_region(image))
    result = addLent(image, owner);
  else
    throwBadMemory("a snapshot comes as bytes, or as a region");
  logCall([&] {
    return "registerSnapshot(" + std::to_string(result.bytes) + " bytes" +
           (is_region(image) ? " by reference" : "") + (keep ? ", kept)" : ")");
  });
}

void VirtineHandler::dropSnapshot(const virtine::SnapshotId snapshot) {
  store_->drop(snapshot);
  logCall("dropSnapshot()");
}

virtine::AttachmentId VirtineHandler::attach(
    const Memory& memory, const virtine::SnapshotId snapshot) {
  const auto attachment = attachmentOf(memory, store_->image(snapshot));
  const auto id = store_->attach(this, attachment, snapshot);
  logCall([&] {
    return "attach(" + std::to_string(attachment->memoryBytes) + " bytes" +
           (attachment->target ? " by reference)" : ")");
  });
  return id;
}

void VirtineHandler::detach(const virtine::AttachmentId id) {
  const VirtineAttachmentPtr attachment = store_->detach(id);
  endCleaning(*attachment);
  if (attachment->target) attachment->target->waitUntilIdle();
  logCall("detach()");
}

// ---- Cleaning

CleanResult VirtineHandler::cleaned(const CleanRequest& request) {
  CleanJob job = checkedJob(request, store_->find(request.attachment));
  return job.isByReference() ? cleanByReference(std::move(job))
                             : cleanInline(job);
}

void VirtineHandler::clean(CleanResult& result, const CleanRequest& request) {
  try {
    result = cleaned(request);
  } catch (...) {
    ++store_->counters().failedCleans;
    throw;
  }
  store_->counters().countClean(result.restored, result.zeroed);
  logCall([&] {
    return "clean(" +
           (request.__isset.dirty
                ? std::to_string(request.dirty.size()) + " extents"
                : std::string("all")) +
           ") => " + std::to_string(result.restored) + " restored, " +
           std::to_string(result.zeroed) + " zeroed";
  });
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
  VirtineTickets::Opened opened = tickets_->open(checked(asked));
  pending_ = std::move(opened.tasks);
  afterAnswer([this] { beginPending(); });
  result = std::move(opened.tickets);
  logCall([&] { return "submit(" + requests(asked.size()) + ")"; });
}

void VirtineHandler::reap(std::vector<Completion>& result,
                          const std::int32_t atLeast, const std::int32_t atMost,
                          const std::int32_t timeoutMs) {
  const auto timeout =
      std::chrono::milliseconds(std::clamp(timeoutMs, 0, kMostReapMs));
  result = tickets_->reap(atLeast, atMost, timeout);
  logCall([&] { return "reap() => " + requests(result.size()); });
}

void VirtineHandler::beginPending() {
  beginCleaning(std::exchange(pending_, {}));
}

bool VirtineHandler::cancel(const Ticket ticket) {
  const bool cancelled = tickets_->cancel(ticket);
  logCall(cancelled ? "cancel() => cancelled" : "cancel() => too late");
  return cancelled;
}

void VirtineHandler::stats(virtine::Stats& result) {
  result = store_->stats();
  logCall("stats()");
}

}  // namespace lanecall
