// SPDX-License-Identifier: Apache-2.0
//
// One shell of a pool: what of its memory is dirty, and what a service knows it
// by. Belongs to one thread at a time, or to the pool's queues.
#ifndef LANECALL_POOLED_SHELL_H
#define LANECALL_POOLED_SHELL_H

#include <lanecall/clean_memory.h>
#include <lanecall/memory_region.h>
#include <lanecall/shell.h>
#include <virtine/virtine_types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace lanecall {

using ImageBytes = std::vector<std::uint8_t>;

// A shell at a service.
struct ShellAttachment {
  std::uint64_t link = 0;  // which of the pool's connections
  virtine::AttachmentId id = 0;
  Region region;  // none: memory travels in messages
};

class PooledShell {
 public:
  PooledShell(std::unique_ptr<Shell> shell,
              std::shared_ptr<const ImageBytes> image)
      : shell_(std::move(shell)),
        memory_(shell_->memory()),
        image_(std::move(image)) {}

  Shell& shell() { return *shell_; }
  std::span<std::uint8_t> memory() { return memory_; }

  // Throws std::invalid_argument (checkDirtyExtents()), and nothing changes.
  void setDirty(std::vector<virtine::Extent> extents) {
    checkDirtyExtents(extents, memory_.size());
    dirty_ = std::move(extents);
    all_ = false;
  }
  void setAllDirty() {
    dirty_.assign(1, wholeMemory(memory_.size()));
    all_ = true;
  }
  void setClean() {
    dirty_.clear();
    all_ = false;
  }
  bool isAllDirty() const { return all_; }
  const std::vector<virtine::Extent>& dirty() const { return dirty_; }
  DirtyBytes dirtyBytes() const {
    return countDirtyBytes(dirty_, image_->size());
  }

  // By this process; nobody else may write meanwhile.
  void cleanHere() {
    cleanMemory(memory_, *image_, dirty_);
    setClean();
  }

  std::optional<ShellAttachment> attachment;
  // The device has not given its memory back, and may write to it for ever: not
  // to be used again.
  bool isGivenUp = false;

 private:
  std::unique_ptr<Shell> shell_;
  std::span<std::uint8_t> memory_;
  std::shared_ptr<const ImageBytes> image_;
  std::vector<virtine::Extent> dirty_;
  bool all_ = false;
};

}  // namespace lanecall

#endif
