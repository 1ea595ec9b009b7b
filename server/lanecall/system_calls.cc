// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/system_calls.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <memory>
#include <type_traits>

namespace lanecall {
namespace {

// Whatever their arguments are.
constexpr int kAllowed[] = {
    // Descriptors that are there, or come with a device's frames.
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev),
    SCMP_SYS(lseek), SCMP_SYS(close),
    // What a descriptor that came is; files' names and sizes can be looked at.
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    // Connections.
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
    SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    // Waiting, and telling of events.
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime), SCMP_SYS(io_submit), SCMP_SYS(io_getevents),
    SCMP_SYS(io_destroy),
    // Memory; see below for what may not be run.
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    // Threads; see below for how they begin.
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(membarrier), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid), SCMP_SYS(exit), SCMP_SYS(exit_group),
    // Signals of its own.
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
    // Time, chance, and who it is.
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday),
    SCMP_SYS(time), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(getrandom), SCMP_SYS(getrusage), SCMP_SYS(uname), SCMP_SYS(getpid),
    SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid)};

class Filter {
 public:
  explicit Filter(std::uint32_t otherwise)
      : filter_(::seccomp_init(otherwise), &::seccomp_release) {
    if (!filter_) result_ = -ENOMEM;
  }

  void set(scmp_filter_attr attribute, std::uint32_t value) {
    if (result_ == 0)
      result_ = ::seccomp_attr_set(filter_.get(), attribute, value);
  }

  void allow(int call, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    add(SCMP_ACT_ALLOW, call, conditions);
  }

  void add(std::uint32_t action, int call,
           std::initializer_list<scmp_arg_cmp> conditions = {}) {
    if (result_ == 0)
      result_ = ::seccomp_rule_add_array(
          filter_.get(), action, call, static_cast<unsigned>(conditions.size()),
          conditions.begin());
  }

  int load() { return result_ == 0 ? ::seccomp_load(filter_.get()) : result_; }

 private:
  std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, void (*)(void*)>
      filter_;
  int result_ = 0;
};

// Memory that can be written, or was, is never run.
void allowMemory(Filter& filter) {
  for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
    filter.allow(call, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)});
}

// The flags of clone3 are in memory, which a filter cannot see. glibc takes
// this error for a kernel that does not know it yet, and calls clone.
void allowThreads(Filter& filter) {
  filter.allow(SCMP_SYS(clone),
               {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)});
  filter.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
}

// But not what connects: a socket that has stopped listening can, with this
// flag.
void allowSending(Filter& filter) {
  filter.allow(SCMP_SYS(sendto),
               {SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0)});
  filter.allow(SCMP_SYS(sendmsg),
               {SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0)});
}

void allowSome(Filter& filter) {
  for (int command :
       {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GET_SEALS, F_DUPFD_CLOEXEC})
    filter.allow(SCMP_SYS(fcntl),
                 {SCMP_A1(SCMP_CMP_EQ, static_cast<scmp_datum_t>(command))});
  // Whether standard output is a terminal.
  filter.allow(SCMP_SYS(ioctl), {SCMP_A1(SCMP_CMP_EQ, TCGETS)});
  // abort().
  filter.allow(SCMP_SYS(tgkill),
               {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()))});
  // Reading limits, for a thread's stack.
  filter.allow(SCMP_SYS(prlimit64),
               {SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)});
}

}  // namespace

int allowOnlyServing(bool unlinking) {
  Filter filter(SCMP_ACT_ERRNO(EPERM));
  filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  filter.set(SCMP_FLTATR_API_SYSRAWRC, 1);
  filter.set(SCMP_FLTATR_CTL_TSYNC, 1);
  // Older kernels would slow all of the process down, to guard code of others
  // that it runs: there is none.
  filter.set(SCMP_FLTATR_CTL_SSB, 1);
  // A tree: calls cost the same wherever they are in the list.
  filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (int call : kAllowed) filter.allow(call);
  allowMemory(filter);
  allowThreads(filter);
  allowSending(filter);
  allowSome(filter);
  if (unlinking)
    for (int call : {SCMP_SYS(unlink), SCMP_SYS(unlinkat)}) filter.allow(call);
  return filter.load();
}

}  // namespace lanecall
