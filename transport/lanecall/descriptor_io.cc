// SPDX-License-Identifier: Apache-2.0
#include <lanecall/descriptor_io.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

namespace lanecall {

int DescriptorIo::adopt(Descriptor channel) {
  Descriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return -errno;
  std::lock_guard<std::mutex> lock(mutex_);
  wake_ = std::move(wake);
  channel_ = std::move(channel);
  return 0;
}

int DescriptorIo::poll(short events, int timeoutMs) {
  pollfd waits[2] = {{channel_.get(), events, 0}, {wake_.get(), POLLIN, 0}};
  int ready = ::poll(waits, 2, timeoutMs);
  if (ready < 0) return -errno;
  if (waits[1].revents) return -ECANCELED;
  return waits[0].revents;
}

void DescriptorIo::interrupt() {
  std::lock_guard<std::mutex> lock(mutex_);
  const std::uint64_t one = 1;
  // Cannot fail for lack of room: nobody reads, one write is enough.
  if (wake_.valid() && ::write(wake_.get(), &one, sizeof one) < 0) return;
}

void DescriptorIo::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  channel_.reset();
  wake_.reset();
}

}  // namespace lanecall
