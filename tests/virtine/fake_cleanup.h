// SPDX-License-Identifier: Apache-2.0
//
// The service in this process: it cleans as it should, in reap(), unless it is
// told to lie. Without locks: whoever calls it from two threads is caught by
// the thread sanitizer.
#ifndef LANECALL_TESTS_FAKE_CLEANUP_H
#define LANECALL_TESTS_FAKE_CLEANUP_H

#include <virtine/VirtineCleanup.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fake_lender.h"

namespace lanecall::test {

class FakeCleanup : public virtine::VirtineCleanupNull {
 public:
  // By reference with a lender.
  explicit FakeCleanup(std::shared_ptr<FakeLender> lender)
      : lender_(std::move(lender)) {}

  void info(virtine::Info& result) override;
  void registerSnapshot(virtine::Snapshot& result, const virtine::Memory& image,
                        const bool keep) override;
  virtine::AttachmentId attach(const virtine::Memory& memory,
                               const virtine::SnapshotId snapshot) override;
  void detach(const virtine::AttachmentId attachment) override;
  void submit(std::vector<virtine::Ticket>& result,
              const std::vector<virtine::CleanRequest>& requests) override;
  void reap(std::vector<virtine::Completion>& result,
            const std::int32_t atLeast, const std::int32_t atMost,
            const std::int32_t timeoutMs) override;

  // Called as each call begins, with its name; may throw.
  std::function<void(const std::string& call)> before;
  // What submit() answers, and what reap() completes, may be changed here.
  std::function<void(std::vector<virtine::Ticket>&)> changeTickets;
  std::function<void(std::vector<virtine::Completion>&)> changeCompletions;
  // Nothing completes meanwhile.
  bool holds = false;
  std::int64_t maxTickets = 0;

  std::vector<std::size_t> batches;  // the size of each
  std::size_t attached() const { return attachments_.size(); }
  std::size_t outstanding() const { return pending_.size(); }

 private:
  struct Pending {
    virtine::Ticket ticket;
    virtine::CleanRequest request;
  };

  void begin(const std::string& call) {
    if (before) before(call);
  }
  virtine::Completion complete(const Pending& pending);
  std::string cleaned(const std::vector<virtine::Extent>& extents,
                      virtine::CleanResult& counts) const;
  std::vector<virtine::Extent> extentsOf(
      const virtine::CleanRequest& request) const;

  const std::shared_ptr<FakeLender> lender_;
  std::string image_;
  std::map<virtine::AttachmentId, virtine::Memory> attachments_;
  std::deque<Pending> pending_;
  std::int64_t last_ = 0;
};

}  // namespace lanecall::test

#endif
