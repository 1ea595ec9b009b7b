// SPDX-License-Identifier: Apache-2.0
//
// The tickets of one connection: each is opened once, completes once, and is
// reaped once.
//
// - Memory by reference is cleaned by tasks, which are begun when their tickets
//   are there, and may outlive the connection.
// - Memory that travels in messages is made clean when its ticket is reaped, so
//   that no connection has the server hold more of it than one answer.
#ifndef LANECALL_SERVER_VIRTINE_TICKETS_H
#define LANECALL_SERVER_VIRTINE_TICKETS_H

#include <virtine/virtine_types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "virtine_job.h"
#include "virtine_store.h"
#include "virtine_task.h"

namespace lanecall {

class VirtineTickets : public CleanSink,
                       public std::enable_shared_from_this<VirtineTickets> {
 public:
  explicit VirtineTickets(std::shared_ptr<VirtineStore> store)
      : store_(std::move(store)) {}
  ~VirtineTickets() override;
  VirtineTickets(const VirtineTickets&) = delete;
  VirtineTickets& operator=(const VirtineTickets&) = delete;

  struct Opened {
    std::vector<virtine::Ticket> tickets;  // for each job, in order
    std::vector<CleanTaskPtr> tasks;       // to be begun by the caller
  };
  // Throws virtine::QuotaExceeded, and opens none.
  Opened open(std::vector<CleanJob> jobs);

  // As the service's reap(); counts below 0 are 0. One at a time, as the calls
  // of a connection are.
  std::vector<virtine::Completion> reap(std::int64_t atLeast,
                                        std::int64_t atMost,
                                        std::chrono::milliseconds timeout);

  // As the service's cancel(). Throws virtine::UnknownTicket.
  bool cancel(virtine::Ticket ticket);

  // The connection has ended: what has not begun will not.
  void cancelAll();

  void completed(std::span<CleanDone> done) override;

 private:
  struct Entry {
    CleanJob job;            // in messages
    CleanTaskPtr task;       // by reference, until it completes
    CleanOutcome outcome;    // by reference, then
    bool cancelled = false;  // in messages
    std::int64_t extents = 0;
  };
  using Reaped = std::vector<std::pair<virtine::Ticket, Entry>>;

  void charge(const std::vector<CleanJob>& jobs);
  bool isEnough(std::int64_t atLeast) const;
  Reaped take(std::int64_t atMost);
  CleanOutcome outcomeOf(Entry& entry);
  void count(const CleanOutcome& outcome);

  const std::shared_ptr<VirtineStore> store_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::unordered_map<virtine::Ticket, Entry> entries_;
  std::deque<virtine::Ticket> done_;  // oldest first
  std::int64_t wanted_ = 0;           // of done_, by who waits in reap()
  virtine::Ticket last_ = 0;
  std::int64_t extents_ = 0;  // of entries_
};

}  // namespace lanecall

#endif
