// SPDX-License-Identifier: Apache-2.0
#include <lanecall/interrupter.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <stdexcept>
#include <string>
#include <system_error>

namespace lanecall {
namespace {

// Reads that have completed and were not forgotten yet: so many cost one system
// call more. A host has 65536 for all of its processes.
constexpr int kCompletedMost = 256;

// Other threads may leave no room again.
constexpr int kTries = 16;

[[noreturn]] void fail(const char* what, const char* remedy) {
  throw std::runtime_error(
      std::string("cannot raise interrupts of cards: ") + what + ": " +
      std::generic_category().message(errno) + "; " + remedy);
}

}  // namespace

Interrupter::Interrupter()
    : nothing_(::memfd_create("lanecall-nothing", MFD_CLOEXEC)) {
  if (!nothing_.valid()) fail("memfd_create", "see ulimit -n");
  if (::syscall(SYS_io_setup, kCompletedMost, &context_) < 0)
    fail("io_setup",
         "allow io_setup, io_submit and io_getevents, and see sysctl "
         "fs.aio-max-nr");
}

Interrupter::~Interrupter() { ::syscall(SYS_io_destroy, context_); }

bool Interrupter::raise(int eventfd) const noexcept {
  for (int i = 0; i < kTries; ++i) {
    if (submit(eventfd)) return true;
    if (errno != EAGAIN) return false;
    forgetCompleted();
  }
  return false;
}

// It completes in the call.
bool Interrupter::submit(int eventfd) const noexcept {
  iocb readOfNothing{};
  readOfNothing.aio_fildes = nothing_.get();
  readOfNothing.aio_lio_opcode = IOCB_CMD_PREAD;
  readOfNothing.aio_flags = IOCB_FLAG_RESFD;
  readOfNothing.aio_resfd = eventfd;
  iocb* list[] = {&readOfNothing};
  return ::syscall(SYS_io_submit, context_, 1, list) == 1;
}

void Interrupter::forgetCompleted() const noexcept {
  std::array<io_event, kCompletedMost> completed;
  timespec atOnce{};
  ::syscall(SYS_io_getevents, context_, 0, completed.size(), completed.data(),
            &atOnce);
}

}  // namespace lanecall
