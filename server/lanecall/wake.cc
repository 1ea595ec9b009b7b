// SPDX-License-Identifier: Apache-2.0
#include <lanecall/wake.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace lanecall {

Wake::Wake() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_.valid())
    throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Wake::raise() noexcept {
  const std::uint64_t one = 1;
  // Full means that it is readable already.
  if (::write(event_.get(), &one, sizeof one) < 0) return;
}

bool Wake::clear() noexcept {
  std::uint64_t raised;
  return ::read(event_.get(), &raised, sizeof raised) > 0;
}

}  // namespace lanecall
