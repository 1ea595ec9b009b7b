// SPDX-License-Identifier: Apache-2.0
//
// Service VirtineCleanup for one connection, over a store shared by all: what
// the connection registers, attaches and submits ends with it.
#ifndef LANECALL_SERVER_VIRTINE_HANDLER_H
#define LANECALL_SERVER_VIRTINE_HANDLER_H

#include <lanecall/card_device.h>
#include <virtine/VirtineCleanup.h>

#include <memory>
#include <string>
#include <vector>

#include "virtine_job.h"
#include "virtine_store.h"
#include "virtine_task.h"
#include "virtine_tickets.h"

namespace lanecall {

class VirtineHandler : public virtine::VirtineCleanupIf {
 public:
  // device: that the connection came through; null: it has none.
  explicit VirtineHandler(std::shared_ptr<VirtineStore> store,
                          std::shared_ptr<CardDevice> device = nullptr)
      : store_(std::move(store)),
        device_(std::move(device)),
        tickets_(std::make_shared<VirtineTickets>(store_)) {}
  // Does not wait for what is under way.
  ~VirtineHandler() override;
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
  RegionReference lent(const virtine::Memory& memory) const;
  virtine::Snapshot addLent(const virtine::Memory& image,
                            VirtineStore::Owner owner);
  VirtineAttachmentPtr attachmentOf(const virtine::Memory& memory,
                                    VirtineImagePtr image) const;
  virtine::CleanResult cleaned(const virtine::CleanRequest& request);
  std::vector<CleanJob> checked(
      const std::vector<virtine::CleanRequest>& requests) const;
  void beginPending();

  const std::shared_ptr<VirtineStore> store_;
  const std::shared_ptr<CardDevice> device_;
  const std::shared_ptr<VirtineTickets> tickets_;
  // Submitted, to be begun when the answer is on its way; if it cannot be sent,
  // by the destructor.
  std::vector<CleanTaskPtr> pending_;
};

}  // namespace lanecall

#endif
