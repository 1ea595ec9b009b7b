// SPDX-License-Identifier: Apache-2.0
//
// A pool's connection to the service: its image as a snapshot there, its shells
// attached, their memory lent or sent. One thread at a time.
//
// Functions throw CleaningRefused when the service, or the device, says no to
// just that; after any other exception the service is lost.
#ifndef LANECALL_CLEANING_LINK_H
#define LANECALL_CLEANING_LINK_H

#include <lanecall/pooled_shell.h>
#include <lanecall/virtine_service.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace lanecall {

struct CleaningRefused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class CleaningLink {
 public:
  // number: no other link of this pool has it.
  CleaningLink(std::uint64_t number, VirtineService service,
               const std::shared_ptr<const ImageBytes>& image,
               std::size_t memoryBytes, bool verify);

  bool isByReference() const { return byReference_; }

  // How many shells one call may carry when so many are outstanding; 0: none.
  std::size_t roomFor(std::size_t outstanding) const;
  // How many completions one call may carry.
  std::size_t reapLimit() const { return perCall_; }

  // Nothing if it is attached here; what was attached elsewhere is taken back.
  void attach(PooledShell& shell);
  // Nothing if it is not attached. Memory that was lent is taken back first:
  // blocks until the device is done with it.
  void detach(PooledShell& shell);

  // A ticket for each, in order. The shells have to be attached.
  std::vector<virtine::Ticket> submit(
      const std::vector<std::unique_ptr<PooledShell>>& shells);
  std::vector<virtine::Completion> reap(std::size_t atLeast, std::size_t atMost,
                                        int timeoutMs);

  // After its completion: empty if the shell is clean now, as far as it says.
  // Else why not; the memory may be anything. Bytes that came are copied in.
  static std::string accept(PooledShell& shell,
                            const virtine::Completion& completion);

 private:
  virtine::CleanRequest requestFor(PooledShell& shell) const;

  const std::uint64_t number_;
  const VirtineService service_;
  const bool verify_;
  bool byReference_ = false;
  std::size_t perCall_ = 0;
  std::size_t mostTickets_ = 0;
  virtine::SnapshotId snapshot_ = 0;
};

// Takes memory back that was lent, and forgets the attachment: for a service
// that is lost. Blocks until the device is done with the memory. If it was
// reset instead, and may not be at rest, the shell is given up.
void letGo(PooledShell& shell) noexcept;

}  // namespace lanecall

#endif
