// SPDX-License-Identifier: Apache-2.0
//
// A shell without a virtual machine: memory, and the function's model runs on
// it in this process. For everything about shells but the isolation, where
// there is no KVM.
#ifndef LANECALL_PLAIN_SHELL_H
#define LANECALL_PLAIN_SHELL_H

#include <lanecall/dirty_pages.h>
#include <lanecall/mapping.h>
#include <lanecall/shell.h>
#include <lanecall/virtine_function.h>

#include <cstddef>
#include <memory>

namespace lanecall {

class PlainShell : public Shell, private ModelMemory {
 public:
  // Throws std::invalid_argument as shellMemory() does, and std::system_error.
  PlainShell(std::shared_ptr<const VirtineImage> image,
             std::size_t memoryBytes);

  std::span<std::uint8_t> memory() override;
  std::span<const std::uint8_t> image() const override;
  std::uint32_t run(std::uint32_t argument) override;
  std::vector<virtine::Extent> dirty() override { return dirty_.extents(); }
  void reset() override { dirty_.clear(); }

 private:
  std::span<const std::uint8_t> bytes() const override;
  void write(std::size_t offset, std::uint32_t value) override;

  const std::shared_ptr<const VirtineImage> image_;
  const std::size_t bytes_;
  const Mapping memory_;
  DirtyPages dirty_;
};

}  // namespace lanecall

#endif
