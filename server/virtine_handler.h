// SPDX-License-Identifier: Apache-2.0
//
// Service VirtineCleanup for one connection, over a store shared by all: what
// the connection registers, attaches and submits ends with it.
#ifndef LANECALL_SERVER_VIRTINE_HANDLER_H
#define LANECALL_SERVER_VIRTINE_HANDLER_H

#include <virtine/VirtineCleanup.h>

#include <memory>
#include <string>
#include <vector>

#include "virtine_job.h"
#include "virtine_store.h"
#include "virtine_tickets.h"

namespace lanecall {

class VirtineHandler : public virtine::VirtineCleanupIf {
 public:
  explicit VirtineHandler(std::shared_ptr<VirtineStore> store)
      : store_(std::move(store)), tickets_(store_) {}
  ~VirtineHandler() override { store_->release(this); }
  VirtineHandler(const VirtineHandler&) = delete;
  VirtineHandler& operator=(const VirtineHandler&) = delete;

  void info(virtine::Info& result) override;
  void registerSnapshot(virtine::Snapshot& result, const virtine::Memory& image,
                        const bool keep) override;
  void dropSnapshot(const virtine::SnapshotId snapshot) override;
  virtine::AttachmentId attach(const virtine::Memory& memory,
                               const virtine::SnapshotId snapshot) override;
  void detach(const virtine::AttachmentId attachment) override;
  void clean(virtine::CleanResult& result,
             const virtine::CleanRequest& request) override;
  void submit(std::vector<virtine::Ticket>& result,
              const std::vector<virtine::CleanRequest>& requests) override;
  void reap(std::vector<virtine::Completion>& result,
            const std::int32_t atLeast, const std::int32_t atMost,
            const std::int32_t timeoutMs) override;
  bool cancel(const virtine::Ticket ticket) override;
  void stats(virtine::Stats& result) override;

 private:
  std::vector<CleanJob> checked(
      const std::vector<virtine::CleanRequest>& requests) const;

  const std::shared_ptr<VirtineStore> store_;
  VirtineTickets tickets_;
};

}  // namespace lanecall

#endif
