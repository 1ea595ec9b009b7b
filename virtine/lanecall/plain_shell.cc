// SPDX-License-Identifier: Apache-2.0
#include <lanecall/plain_shell.h>
#include <lanecall/shell_memory.h>

#include <cstring>
#include <utility>

namespace lanecall {

PlainShell::PlainShell(std::shared_ptr<const VirtineImage> image,
                       std::size_t memoryBytes)
    : image_(std::move(image)),
      bytes_(memoryBytes),
      memory_(shellMemory(*image_, memoryBytes)),
      dirty_(memoryBytes) {}

std::span<std::uint8_t> PlainShell::memory() {
  return {memory_.data(), bytes_};
}

std::span<const std::uint8_t> PlainShell::image() const {
  return image_->bytes;
}

std::uint32_t PlainShell::run(std::uint32_t argument) {
  return image_->function->model(*this, argument);
}

std::span<const std::uint8_t> PlainShell::bytes() const {
  return {memory_.data(), bytes_};
}

void PlainShell::write(std::size_t offset, std::uint32_t value) {
  std::memcpy(memory_.data() + offset, &value, sizeof value);
  dirty_.mark(offset);
}

}  // namespace lanecall
