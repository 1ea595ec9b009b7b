// SPDX-License-Identifier: Apache-2.0
#include "virtine_tickets.h"

#include <algorithm>
#include <utility>

#include "virtine_errors.h"

namespace lanecall {
namespace {

using virtine::Completion;
using virtine::Ticket;

// Of an answer, next to the memory in it: more than any encoding takes.
constexpr std::int64_t kCompletionBytes = 256;

std::int64_t extentsOf(const std::vector<CleanJob>& jobs) {
  std::int64_t extents = 0;
  for (const CleanJob& job : jobs)
    extents += static_cast<std::int64_t>(job.extents.size());
  return extents;
}

}  // namespace

VirtineTickets::~VirtineTickets() {
  store_->counters().tickets -= static_cast<std::int64_t>(entries_.size());
}

// With mutex_ held.
void VirtineTickets::checkQuota(const std::vector<CleanJob>& jobs) const {
  const VirtineLimits& limits = store_->limits();
  const auto tickets = static_cast<std::int64_t>(jobs.size());
  const auto outstanding = static_cast<std::int64_t>(entries_.size());
  if (tickets > limits.tickets - outstanding)
    throwQuotaExceeded("requests submitted and not reaped", limits.tickets);
  if (extentsOf(jobs) > limits.extents - extents_)
    throwQuotaExceeded("extents submitted and not reaped", limits.extents);
}

std::vector<Ticket> VirtineTickets::open(std::vector<CleanJob> jobs) {
  std::vector<Ticket> tickets;
  tickets.reserve(jobs.size());
  std::lock_guard<std::mutex> lock(mutex_);
  checkQuota(jobs);
  for (CleanJob& job : jobs) {
    extents_ += static_cast<std::int64_t>(job.extents.size());
    tickets.push_back(++last_);
    entries_.emplace(last_, Entry{std::move(job)});
    done_.push_back(last_);
  }
  const auto count = static_cast<std::int64_t>(tickets.size());
  store_->counters().tickets += count;
  store_->counters().submitted += count;
  return tickets;
}

// As many of the oldest as one answer has room for, but at least one. With
// mutex_ held.
VirtineTickets::Reaped VirtineTickets::take(std::int64_t atMost) {
  Reaped reaped;
  std::int64_t room = store_->limits().answerBytes;
  while (!done_.empty() && static_cast<std::int64_t>(reaped.size()) < atMost) {
    auto found = entries_.find(done_.front());
    const std::int64_t bytes = found->second.job.bytes + kCompletionBytes;
    if (bytes > room && !reaped.empty()) break;
    room -= bytes;
    extents_ -= static_cast<std::int64_t>(found->second.job.extents.size());
    reaped.emplace_back(found->first, std::move(found->second));
    entries_.erase(found);
    done_.pop_front();
  }
  return reaped;
}

Completion VirtineTickets::complete(Ticket ticket, const Entry& entry) {
  Completion completion;
  completion.ticket = ticket;
  if (entry.cancelled || entry.job.isCancelled()) {
    completion.__set_failure(cancelled());
    ++store_->counters().cancelled;
    return completion;
  }
  completion.__isset.result = true;
  completion.result = cleanInline(entry.job);
  store_->counters().countClean(completion.result.restored,
                                completion.result.zeroed);
  return completion;
}

// Memory in messages is always ready: nothing is waited for.
std::vector<Completion> VirtineTickets::reap(std::int64_t, std::int64_t atMost,
                                             std::chrono::milliseconds) {
  Reaped reaped;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    reaped = take(atMost);
  }
  store_->counters().tickets -= static_cast<std::int64_t>(reaped.size());
  std::vector<Completion> completions;
  completions.reserve(reaped.size());
  for (const auto& [ticket, entry] : reaped)
    completions.push_back(complete(ticket, entry));
  return completions;
}

bool VirtineTickets::cancel(Ticket ticket) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = entries_.find(ticket);
  if (found == entries_.end()) throwUnknownTicket(ticket);
  found->second.cancelled = true;
  return true;
}

}  // namespace lanecall
