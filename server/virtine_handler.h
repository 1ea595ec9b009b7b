// SPDX-License-Identifier: Apache-2.0
//
// Service VirtineCleanup for one connection, over a store shared by all: what
// the connection registers and attaches ends with it.
#ifndef LANECALL_SERVER_VIRTINE_HANDLER_H
#define LANECALL_SERVER_VIRTINE_HANDLER_H

#include <virtine/VirtineCleanup.h>

#include <memory>

#include "virtine_store.h"

namespace lanecall {

class VirtineHandler : public virtine::VirtineCleanupIf {
 public:
  explicit VirtineHandler(std::shared_ptr<VirtineStore> store)
      : store_(std::move(store)) {}
  ~VirtineHandler() override { store_->release(this); }
  VirtineHandler(const VirtineHandler&) = delete;
  VirtineHandler& operator=(const VirtineHandler&) = delete;

  virtine::SnapshotId registerSnapshot(const virtine::Memory& image) override;
  void dropSnapshot(const virtine::SnapshotId snapshot) override;
  virtine::AttachmentId attach(const virtine::Memory& memory,
                               const virtine::SnapshotId snapshot) override;
  void detach(const virtine::AttachmentId attachment) override;
  void clean(virtine::CleanResult& result,
             const virtine::CleanRequest& request) override;
  void stats(virtine::Stats& result) override;

 private:
  std::shared_ptr<VirtineStore> store_;
};

}  // namespace lanecall

#endif
