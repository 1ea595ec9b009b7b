// SPDX-License-Identifier: Apache-2.0
//
// A virtine's memory in this process, attached to a snapshot at a server, and
// cleaned in place. Hides that memory travels inside messages.
#ifndef LANECALL_CLIENT_VIRTINE_SHELL_H
#define LANECALL_CLIENT_VIRTINE_SHELL_H

#include <virtine/VirtineCleanup.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lanecall {

class VirtineShell {
 public:
  // client and memory must outlive the shell; memory is only touched inside
  // clean(). Throws what attach() throws.
  VirtineShell(virtine::VirtineCleanupIf& client, virtine::SnapshotId snapshot,
               std::span<std::uint8_t> memory);

  // Detaches if detach() was not called; then errors do not matter.
  ~VirtineShell();
  VirtineShell(const VirtineShell&) = delete;
  VirtineShell& operator=(const VirtineShell&) = delete;

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
  Cleaned exchange(const virtine::CleanRequest& request,
                   const std::vector<virtine::Extent>& extents);

  virtine::VirtineCleanupIf& client_;
  std::span<std::uint8_t> memory_;
  virtine::AttachmentId attachment_;
  bool attached_ = true;
};

}  // namespace lanecall

#endif
