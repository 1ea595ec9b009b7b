// SPDX-License-Identifier: Apache-2.0
#include <lanecall/kvm_shell.h>
#include <lanecall/shell_memory.h>

#include <exception>
#include <utility>

namespace lanecall {

std::string whyNoKvm() try {
  openKvm();
  return {};
} catch (const std::exception& error) {
  return error.what();
}

KvmShell::KvmShell(std::shared_ptr<const VirtineImage> image,
                   std::size_t memoryBytes, DirtyLog log)
    : image_(std::move(image)),
      bytes_(memoryBytes),
      memory_(shellMemory(*image_, memoryBytes)),
      log_(log),
      machine_({memory_.data(), bytes_}, log == DirtyLog::kOn),
      dirty_(bytes_),
      logBits_(dirty_.words()) {}

std::span<std::uint8_t> KvmShell::memory() { return {memory_.data(), bytes_}; }

std::span<const std::uint8_t> KvmShell::image() const { return image_->bytes; }

std::uint32_t KvmShell::run(std::uint32_t argument) {
  return machine_.run(argument, bytes_, LANECALL_VIRTINE_STACK);
}

std::vector<virtine::Extent> KvmShell::dirty() {
  if (log_ == DirtyLog::kOff) {
    virtine::Extent all;
    all.offset = 0;
    all.length = static_cast<std::int64_t>(bytes_);
    return {all};
  }
  // KVM's log is empty once read.
  machine_.dirtyLog(logBits_);
  dirty_.mark(logBits_);
  return dirty_.extents();
}

// What KVM has in its log and was not asked for stays there: the answer of
// dirty() is then more than was written since, which is allowed.
void KvmShell::reset() { dirty_.clear(); }

}  // namespace lanecall
