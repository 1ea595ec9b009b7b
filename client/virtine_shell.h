// SPDX-License-Identifier: Apache-2.0
//
// A virtine's memory in this process, attached to a snapshot at a server, and
// cleaned in place: by reference, where the server reaches what this process
// lends, else inside messages; the caller sees no difference.
#ifndef LANECALL_CLIENT_VIRTINE_SHELL_H
#define LANECALL_CLIENT_VIRTINE_SHELL_H

#include <lanecall/memory_region.h>
#include <virtine/VirtineCleanup.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lanecall {

// What to lend memory to for the server at the other end, which is asked; null
// if it has to travel in messages. Throws what info() throws.
std::shared_ptr<Lender> lenderFor(
    virtine::VirtineCleanupIf& client,
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport);

// A region as the service's calls name it.
virtine::Memory memoryOf(const Region& region);

class VirtineShell {
 public:
  // client and memory must outlive the shell. Without a lender memory is only
  // touched inside clean(). Throws what attach() and Region throw.
  VirtineShell(virtine::VirtineCleanupIf& client, virtine::SnapshotId snapshot,
               std::span<std::uint8_t> memory,
               std::shared_ptr<Lender> lender = nullptr);

  // Detaches if detach() was not called; then errors do not matter.
  ~VirtineShell();
  VirtineShell(const VirtineShell&) = delete;
  VirtineShell& operator=(const VirtineShell&) = delete;

  bool isByReference() const { return region_.isLent(); }
  virtine::AttachmentId attachment() const { return attachment_; }

  struct Cleaned {
    std::int64_t restored;
    std::int64_t zeroed;
  };

  // All of it, or the dirty extents. Throws what clean() throws, and
  // std::runtime_error when the server's answer does not fit the request; the
  // memory is then as it was.
  Cleaned clean();
  Cleaned clean(const std::vector<virtine::Extent>& dirty);

  void detach();

 private:
  Cleaned cleanThere(const virtine::CleanRequest& request);
  Cleaned exchange(const virtine::CleanRequest& request,
                   const std::vector<virtine::Extent>& extents);

  virtine::VirtineCleanupIf& client_;
  std::span<std::uint8_t> memory_;
  Region region_;
  virtine::AttachmentId attachment_;
  bool attached_ = true;
};

}  // namespace lanecall

#endif
