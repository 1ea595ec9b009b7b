// SPDX-License-Identifier: Apache-2.0
#include "virtine_tickets.h"

#include <lanecall/handler_wait.h>

#include <algorithm>
#include <utility>

#include "virtine_dma.h"
#include "virtine_errors.h"

namespace lanecall {
namespace {

using virtine::CleanFault;
using virtine::Completion;
using virtine::Ticket;

// Of an answer, next to the memory in it: more than any encoding takes.
constexpr std::int64_t kCompletionBytes = 256;

std::int64_t extentsOf(const CleanJob& job) {
  return static_cast<std::int64_t>(job.extents.size());
}

Completion completionOf(Ticket ticket, CleanOutcome outcome) {
  Completion completion;
  completion.ticket = ticket;
  if (outcome.failure) {
    completion.__set_failure(*outcome.failure);
  } else {
    completion.__isset.result = true;
    swap(completion.result, outcome.result);  // they have no moves
  }
  return completion;
}

}  // namespace

VirtineTickets::~VirtineTickets() {
  store_->discharge(static_cast<std::int64_t>(entries_.size()), extents_);
}

// With mutex_ held.
// They are counted from then on.
void VirtineTickets::charge(const std::vector<CleanJob>& jobs) {
  const VirtineLimits& limits = store_->limits();
  const auto tickets = static_cast<std::int64_t>(jobs.size());
  const auto outstanding = static_cast<std::int64_t>(entries_.size());
  if (tickets > limits.tickets - outstanding)
    throwQuotaExceeded("requests submitted and not reaped", limits.tickets);
  std::int64_t extents = 0;
  for (const CleanJob& job : jobs) extents += extentsOf(job);
  if (extents > limits.extents - extents_)
    throwQuotaExceeded("extents submitted and not reaped", limits.extents);
  store_->charge(tickets, extents);
  extents_ += extents;
}

VirtineTickets::Opened VirtineTickets::open(std::vector<CleanJob> jobs) {
  Opened opened;
  opened.tickets.reserve(jobs.size());
  std::lock_guard<std::mutex> lock(mutex_);
  charge(jobs);
  for (CleanJob& job : jobs) {
    Entry& entry = entries_[++last_];
    opened.tickets.push_back(last_);
    entry.extents = extentsOf(job);
    if (job.isByReference()) {
      entry.task = std::make_shared<CleanTask>(std::move(job), last_,
                                               shared_from_this());
      opened.tasks.push_back(entry.task);
    } else {
      entry.job = std::move(job);
      done_.push_back(last_);
    }
  }
  store_->counters().submitted +=
      static_cast<std::int64_t>(opened.tickets.size());
  return opened;
}

void VirtineTickets::count(const CleanOutcome& outcome) {
  VirtineCounters& counters = store_->counters();
  if (!outcome.failure)
    counters.countClean(outcome.result.restored, outcome.result.zeroed);
  else if (outcome.failure->fault == CleanFault::CANCELLED)
    ++counters.cancelled;
  else
    ++counters.failedCleans;
}

void VirtineTickets::completed(std::span<CleanDone> done) {
  for (const CleanDone& one : done) count(one.outcome);
  std::lock_guard<std::mutex> lock(mutex_);
  for (CleanDone& one : done) {
    Entry& entry = entries_.at(one.ticket);
    entry.outcome = std::move(one.outcome);
    entry.task.reset();
    done_.push_back(one.ticket);
  }
  // Whoever waits is not woken for each packet of a batch.
  if (isEnough(wanted_)) changed_.notify_one();
}

// As many of the oldest as one answer has room for, but at least one. With
// mutex_ held.
VirtineTickets::Reaped VirtineTickets::take(std::int64_t atMost) {
  Reaped reaped;
  std::int64_t room = store_->limits().answerBytes;
  const std::int64_t extentsBefore = extents_;
  reaped.reserve(
      std::min(done_.size(),
               static_cast<std::size_t>(std::max<std::int64_t>(atMost, 0))));
  while (!done_.empty() && static_cast<std::int64_t>(reaped.size()) < atMost) {
    auto found = entries_.find(done_.front());
    const std::int64_t bytes = found->second.job.bytes + kCompletionBytes;
    if (bytes > room && !reaped.empty()) break;
    room -= bytes;
    extents_ -= found->second.extents;
    reaped.emplace_back(found->first, std::move(found->second));
    entries_.erase(found);
    done_.pop_front();
  }
  store_->discharge(static_cast<std::int64_t>(reaped.size()),
                    extentsBefore - extents_);
  return reaped;
}

CleanOutcome VirtineTickets::outcomeOf(Entry& entry) {
  if (!entry.job.attachment) return std::move(entry.outcome);
  CleanOutcome outcome;
  if (entry.cancelled || entry.job.attachment->detached)
    outcome.failure = cancelled();
  else
    outcome.result = cleanInline(entry.job);
  count(outcome);
  return outcome;
}

// With mutex_ held.
bool VirtineTickets::isEnough(std::int64_t atLeast) const {
  return static_cast<std::int64_t>(done_.size()) >= atLeast ||
         done_.size() == entries_.size();
}

std::vector<Completion> VirtineTickets::reap(
    std::int64_t atLeast, std::int64_t atMost,
    std::chrono::milliseconds timeout) {
  Reaped reaped;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    wanted_ = atLeast;
    waitInCallFor(changed_, lock, timeout, [&] { return isEnough(atLeast); });
    reaped = take(atMost);
  }
  std::vector<Completion> completions;
  completions.reserve(reaped.size());
  for (auto& [ticket, entry] : reaped)
    completions.push_back(completionOf(ticket, outcomeOf(entry)));
  return completions;
}

bool VirtineTickets::cancel(Ticket ticket) {
  CleanTaskPtr task;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = entries_.find(ticket);
    if (found == entries_.end()) throwUnknownTicket(ticket);
    Entry& entry = found->second;
    if (entry.job.attachment) return entry.cancelled = true;
    if (!entry.task)
      return entry.outcome.failure &&
             entry.outcome.failure->fault == CleanFault::CANCELLED;
    task = entry.task;
  }
  return cancelCleaning(*task);
}

void VirtineTickets::cancelAll() {
  std::vector<CleanTaskPtr> tasks;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [ticket, entry] : entries_)
      if (entry.task) tasks.push_back(entry.task);
  }
  for (const CleanTaskPtr& task : tasks) cancelCleaning(*task);
}

}  // namespace lanecall
