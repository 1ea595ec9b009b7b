// SPDX-License-Identifier: Apache-2.0
//
// A shell that is a virtual machine of KVM: one processor, one piece of memory,
// no devices.
//
// What a function could leave behind anywhere but in memory is put back when
// the next one begins: general and system registers, debug registers, those of
// the floating-point unit and SSE. Others it cannot write: access to any model
// specific register ends the function, and a processor without CPUID has no
// wider vectors.
//
// Of the dirty log: the machine's own writes are in it, nobody else's; and
// pages that it read when it had not seen them before. Memory that is lent to a
// device (lanecall::Region) is pinned, so that what the device writes is what
// the function sees next.
#ifndef LANECALL_KVM_SHELL_H
#define LANECALL_KVM_SHELL_H

#include <lanecall/dirty_pages.h>
#include <lanecall/kvm_machine.h>
#include <lanecall/mapping.h>
#include <lanecall/shell.h>
#include <lanecall/virtine_function.h>

#include <cstddef>
#include <memory>
#include <string>

namespace lanecall {

// Why this machine has no KVM for this user, and what to do; empty: it has.
std::string whyNoKvm();

// Whether dirty() asks the machine's log, which costs a fault for each page
// that is written for the first time after it was asked. Without: dirty() is
// everything.
enum class DirtyLog { kOff, kOn };

class KvmShell : public Shell {
 public:
  // Throws std::invalid_argument as shellMemory() does, and std::system_error
  // when KVM is not there or refuses.
  KvmShell(std::shared_ptr<const VirtineImage> image, std::size_t memoryBytes,
           DirtyLog log = DirtyLog::kOn);

  std::span<std::uint8_t> memory() override;
  std::span<const std::uint8_t> image() const override;
  std::uint32_t run(std::uint32_t argument) override;
  std::vector<virtine::Extent> dirty() override;
  void reset() override;

 private:
  const std::shared_ptr<const VirtineImage> image_;
  const std::size_t bytes_;
  const Mapping memory_;  // outlives the machine
  const DirtyLog log_;
  KvmMachine machine_;
  DirtyPages dirty_;
  std::vector<std::uint64_t> logBits_;
};

}  // namespace lanecall

#endif
