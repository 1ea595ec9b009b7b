// SPDX-License-Identifier: Apache-2.0
#include <lanecall/lender.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <mutex>

namespace lanecall {

int NodeLender::call(unsigned long request, void* argument) {
  std::shared_lock<std::shared_mutex> lock(mutex_);
  if (fd_ < 0) return -ENOTCONN;
  if (::ioctl(fd_, request, argument) == 0) return 0;
  // A module from before there were regions.
  return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

int NodeLender::lend(lanecall_region_registration* region) {
  return call(LANECALL_IOC_REGION_REGISTER, region);
}

int NodeLender::takeBack(std::uint32_t region) {
  return call(LANECALL_IOC_REGION_UNREGISTER, &region);
}

int NodeLender::sync(const lanecall_region_sync& wanted) {
  lanecall_region_sync copy = wanted;
  return call(LANECALL_IOC_REGION_SYNC, &copy);
}

void NodeLender::end() {
  std::unique_lock<std::shared_mutex> lock(mutex_);
  fd_ = -1;
}

}  // namespace lanecall
