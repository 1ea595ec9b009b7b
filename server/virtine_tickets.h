// SPDX-License-Identifier: Apache-2.0
//
// The tickets of one connection: each is opened once, completes once, and is
// reaped once.
//
// Memory that travels in messages is made clean when its ticket is reaped, so
// that no connection has the server hold more of it than one answer.
#ifndef LANECALL_SERVER_VIRTINE_TICKETS_H
#define LANECALL_SERVER_VIRTINE_TICKETS_H

#include <virtine/virtine_types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "virtine_job.h"
#include "virtine_store.h"

namespace lanecall {

class VirtineTickets {
 public:
  explicit VirtineTickets(std::shared_ptr<VirtineStore> store)
      : store_(std::move(store)) {}
  ~VirtineTickets();
  VirtineTickets(const VirtineTickets&) = delete;
  VirtineTickets& operator=(const VirtineTickets&) = delete;

  // A ticket for each job, in order. Throws virtine::QuotaExceeded, and opens
  // none.
  std::vector<virtine::Ticket> open(std::vector<CleanJob> jobs);

  // As the service's reap(); counts below 0 are 0.
  std::vector<virtine::Completion> reap(std::int64_t atLeast,
                                        std::int64_t atMost,
                                        std::chrono::milliseconds timeout);

  // As the service's cancel(). Throws virtine::UnknownTicket.
  bool cancel(virtine::Ticket ticket);

 private:
  struct Entry {
    CleanJob job;
    bool cancelled = false;
  };
  using Reaped = std::vector<std::pair<virtine::Ticket, Entry>>;

  void checkQuota(const std::vector<CleanJob>& jobs) const;
  Reaped take(std::int64_t atMost);
  virtine::Completion complete(virtine::Ticket ticket, const Entry& entry);

  const std::shared_ptr<VirtineStore> store_;
  mutable std::mutex mutex_;  // guards all below
  std::unordered_map<virtine::Ticket, Entry> entries_;
  std::deque<virtine::Ticket> done_;  // oldest first
  virtine::Ticket last_ = 0;
  std::int64_t extents_ = 0;  // of entries_
};

}  // namespace lanecall

#endif
