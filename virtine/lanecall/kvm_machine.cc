// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/kvm_machine.h>
#include <lanecall/virtine_function_abi.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace lanecall {
namespace {

constexpr char kNode[] = "/dev/kvm";
constexpr std::uint64_t kSynced =
    KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
constexpr std::uint64_t kRflagsFixed = 0x2;
constexpr std::uint64_t kCr0Protected = 0x1;
constexpr std::uint64_t kCr0MathPresent = 0x2 | 0x10 | 0x20;  // MP, ET, NE
constexpr std::uint64_t kCr4Sse = 0x200 | 0x400;  // OSFXSR, OSXMMEXCPT
constexpr std::uint16_t kFloatControl = 0x37f;    // as after FNINIT
constexpr std::uint32_t kSseControl = 0x1f80;     // as after a reset

[[noreturn]] void fail(int error, const std::string& what, const char* remedy) {
  throw std::system_error(error, std::generic_category(),
                          std::string(kNode) + ": " + what + ": " + remedy);
}

const char* remedyForNode(int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
      return "load kvm-amd or kvm-intel on a machine that has virtualisation "
             "(guest/run --svm)";
    case EACCES:
    case EPERM:
      return "run as root or in the group kvm";
    default:
      return "see the kernel's log";
  }
}

// The result of a call of KVM that has to work.
template <typename... Argument>
int call(const Descriptor& fd, const char* name, unsigned long request,
         Argument... argument) {
  int result = ::ioctl(fd.get(), request, argument...);
  if (result < 0) fail(errno, name, "see the kernel's log");
  return result;
}

void expectCapability(const Descriptor& kvm, int number, int bits,
                      const char* name) {
  if ((call(kvm, "KVM_CHECK_EXTENSION", KVM_CHECK_EXTENSION, number) & bits) !=
      bits)
    fail(EOPNOTSUPP, name, "use Linux 5.10 or newer");
}

kvm_segment flatSegment(std::uint8_t type, std::uint16_t selector) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.db = 1;  // 32 bits
  segment.s = 1;
  segment.g = 1;
  return segment;
}

std::string whyItStopped(std::uint32_t reason) {
  switch (reason) {
    case KVM_EXIT_SHUTDOWN:
      return "it faulted; does it use model specific registers, or more than "
             "plain 32-bit code?";
    case KVM_EXIT_INTERNAL_ERROR:
      return "this machine's KVM cannot run one of its instructions; use "
             "plain memory, or KVM of another machine";
    default:
      return "it did what needs a host (KVM's exit reason " +
             std::to_string(reason) +
             "); let it end by hlt, and stay inside its memory";
  }
}

}  // namespace

Descriptor openKvm() {
  Descriptor kvm(::open(kNode, O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) fail(errno, "cannot be opened", remedyForNode(errno));
  if (call(kvm, "KVM_GET_API_VERSION", KVM_GET_API_VERSION, 0) !=
      KVM_API_VERSION)
    fail(EOPNOTSUPP, "another version of KVM", "use Linux 5.10 or newer");
  expectCapability(kvm, KVM_CAP_SYNC_REGS, kSynced, "KVM_CAP_SYNC_REGS");
  expectCapability(kvm, KVM_CAP_X86_MSR_FILTER, 1, "KVM_CAP_X86_MSR_FILTER");
  expectCapability(kvm, KVM_CAP_DEBUGREGS, 1, "KVM_CAP_DEBUGREGS");
  return kvm;
}

KvmMachine::KvmMachine(std::span<std::uint8_t> memory, bool log) {
  const Descriptor kvm = openKvm();
  machine_.reset(call(kvm, "KVM_CREATE_VM", KVM_CREATE_VM, 0));
  setUpMemory(memory, log);
  forbidModelSpecificRegisters();
  processor_.reset(call(machine_, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, 0));
  const int bytes =
      call(kvm, "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE, 0);
  if (int error =
          shared_.map(processor_.get(), 0, bytes, PROT_READ | PROT_WRITE))
    fail(-error, "mapping a processor", "see the kernel's log");
  run_ = reinterpret_cast<kvm_run*>(shared_.data());
  setUpProcessor();
}

void KvmMachine::setUpMemory(std::span<std::uint8_t> memory, bool log) {
  kvm_userspace_memory_region region{};
  region.flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0;
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data());
  call(machine_, "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION,
       &region);
}

// They are more than can be put back after every run. What is not allowed is a
// fault in the machine, which ends the function. KVM wants at least one range
// to be named when the others are denied.
void KvmMachine::forbidModelSpecificRegisters() {
  std::array<std::uint8_t, 8> none{};
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
  filter.ranges[0].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
  filter.ranges[0].nmsrs = none.size() * 8;
  filter.ranges[0].bitmap = none.data();
  call(machine_, "KVM_X86_SET_MSR_FILTER", KVM_X86_SET_MSR_FILTER, &filter);
}

void KvmMachine::setUpProcessor() {
  call(processor_, "KVM_GET_SREGS", KVM_GET_SREGS, &system_);
  call(processor_, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &events_);
  call(processor_, "KVM_GET_DEBUGREGS", KVM_GET_DEBUGREGS, &debug_);
  constexpr std::uint8_t kCode = 0xb;  // readable, accessed
  constexpr std::uint8_t kData = 0x3;  // writable, accessed
  system_.cs = flatSegment(kCode, 0x8);
  system_.ds = system_.es = system_.fs = system_.gs = system_.ss =
      flatSegment(kData, 0x10);
  // No tables: a fault ends the function.
  system_.gdt.limit = system_.idt.limit = 0;
  system_.cr0 = kCr0Protected | kCr0MathPresent;
  system_.cr4 = kCr4Sse;
  float_.fcw = kFloatControl;
  float_.mxcsr = kSseControl;
  run_->kvm_valid_regs = KVM_SYNC_X86_REGS;  // what a run leaves for us
}

// Most of them travel in memory that is shared with KVM.
void KvmMachine::resetRegisters(std::uint32_t eax, std::uint32_t ecx,
                                std::uint32_t esp) {
  kvm_sync_regs& next = run_->s.regs;
  next.regs = {};
  next.regs.rax = eax;
  next.regs.rcx = ecx;
  next.regs.rsp = esp;
  next.regs.rflags = kRflagsFixed;
  next.sregs = system_;
  next.events = events_;
  run_->kvm_dirty_regs = kSynced;
  call(processor_, "KVM_SET_FPU", KVM_SET_FPU, &float_);
  call(processor_, "KVM_SET_DEBUGREGS", KVM_SET_DEBUGREGS, &debug_);
}

std::uint32_t KvmMachine::run(std::uint32_t eax, std::uint32_t ecx,
                              std::uint32_t esp) {
  resetRegisters(eax, ecx, esp);
  enter();
  if (run_->exit_reason == KVM_EXIT_HLT) return run_->s.regs.regs.rax;
  const std::uint32_t reason = run_->exit_reason;
  dropPending();
  throw std::runtime_error("a virtine's function has no result: " +
                           whyItStopped(reason));
}

void KvmMachine::enter() {
  while (::ioctl(processor_.get(), KVM_RUN, 0) < 0)
    if (errno != EINTR) fail(errno, "KVM_RUN", "see the kernel's log");
}

// What was under way when the function stopped, such as an access to a device
// that is not there, would be finished at the next start, on top of the
// registers for that.
void KvmMachine::dropPending() {
  run_->immediate_exit = 1;
  ::ioctl(processor_.get(), KVM_RUN, 0);  // EINTR, as asked for
  run_->immediate_exit = 0;
}

void KvmMachine::dirtyLog(std::span<std::uint64_t> bits) {
  kvm_dirty_log log{};
  log.dirty_bitmap = bits.data();
  call(machine_, "KVM_GET_DIRTY_LOG", KVM_GET_DIRTY_LOG, &log);
}

}  // namespace lanecall
