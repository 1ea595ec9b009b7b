// SPDX-License-Identifier: Apache-2.0
//
// KVM's calls for a machine of one processor in flat 32-bit protected mode
// without paging. Every function throws std::system_error that names what KVM
// refused.
#ifndef LANECALL_KVM_MACHINE_H
#define LANECALL_KVM_MACHINE_H

#include <lanecall/descriptor.h>
#include <lanecall/mapping.h>
#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lanecall {

// Opens the node; throws if KVM lacks something that is needed here.
Descriptor openKvm();

class KvmMachine {
 public:
  // memory begins at the machine's address 0; it is the caller's, and has to
  // outlive the machine. log: whether dirtyLog() may be called.
  KvmMachine(std::span<std::uint8_t> memory, bool log);
  KvmMachine(const KvmMachine&) = delete;
  KvmMachine& operator=(const KvmMachine&) = delete;

  // Puts every register back to what it is in a machine that has not run, but
  // eax, ecx and esp; then runs from address 0 to hlt, and returns eax. Throws
  // std::runtime_error if the function does anything else that needs a host.
  std::uint32_t run(std::uint32_t eax, std::uint32_t ecx, std::uint32_t esp);

  // The pages written since the last call, a bit for each in 64-bit words, and
  // begins anew.
  void dirtyLog(std::span<std::uint64_t> bits);

 private:
  void setUpMemory(std::span<std::uint8_t> memory, bool log);
  void forbidModelSpecificRegisters();
  void setUpProcessor();
  void resetRegisters(std::uint32_t eax, std::uint32_t ecx, std::uint32_t esp);
  void enter();
  void dropPending();

  Descriptor machine_;
  Descriptor processor_;
  Mapping shared_;  // the processor's kvm_run
  kvm_run* run_ = nullptr;
  // As they were at first.
  kvm_sregs system_{};
  kvm_vcpu_events events_{};
  kvm_fpu float_{};
  kvm_debugregs debug_{};
};

}  // namespace lanecall

#endif
