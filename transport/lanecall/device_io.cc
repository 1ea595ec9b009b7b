// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/device.h>
#include <lanecall/device_io.h>
#include <lanecall/driver.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace lanecall {
namespace {

bool is_same_abi(const lanecall_info& info) {
  return info.abi_version >> 16 == LANECALL_VERSION_MAJOR;
}

}  // namespace

void DeviceIo::setRingBytes(std::uint32_t tx, std::uint32_t rx) {
  txBytes_ = tx;
  rxBytes_ = rx;
}

void DeviceIo::setModeration(std::uint32_t bytes, std::uint32_t microseconds) {
  moderation_ = {bytes, microseconds};
}

int DeviceIo::open() {
  Descriptor node(::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!node.valid()) return -errno;
  lanecall_info info{};
  if (::ioctl(node.get(), LANECALL_IOC_INFO, &info) < 0)
    // Whatever a foreign driver answers, it is not our node.
    return errno == EIO || errno == ENODEV ? -errno : -ENOTTY;
  if (!is_same_abi(info)) return -EPROTONOSUPPORT;
  if (txBytes_ || rxBytes_) {
    lanecall_ring_sizes sizes{txBytes_ ? txBytes_ : info.tx_bytes,
                              rxBytes_ ? rxBytes_ : info.rx_bytes};
    if (::ioctl(node.get(), LANECALL_IOC_SET_RINGS, &sizes) < 0) return -errno;
  }
  if (moderation_.microseconds &&
      ::ioctl(node.get(), LANECALL_IOC_SET_MODERATION, &moderation_) < 0)
    return errno == ENOTTY ? -EOPNOTSUPP : -errno;
  endLending();
  if (int error = adopt(std::move(node))) return error;
  lender_ = std::make_shared<NodeLender>(fd(), path_);
  return 0;
}

void DeviceIo::endLending() {
  if (lender_) lender_->end();
  lender_.reset();
}

void DeviceIo::close() {
  endLending();
  DescriptorIo::close();
}

int DeviceIo::status() {
  lanecall_channel_status status{};
  if (::ioctl(fd(), LANECALL_IOC_STATUS, &status) < 0) return -errno;
  if (status.error) return -status.error;
  switch (status.state) {
    case LANECALL_CONNECTING:
      return -EINPROGRESS;
    case LANECALL_CLOSED:
      return -ENOTCONN;
    default:
      return 0;
  }
}

int DeviceIo::map(lanecall_mapping* layout) {
  if (::ioctl(fd(), LANECALL_IOC_MAP, layout) == 0) return 0;
  // A module from before there was mapped mode.
  return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

ssize_t DeviceIo::read(void* data, std::size_t size) {
  ssize_t got = ::read(fd(), data, size);
  return got < 0 ? -errno : got;
}

ssize_t DeviceIo::write(const void* data, std::size_t size) {
  ssize_t put = ::write(fd(), data, size);
  return put < 0 ? -errno : put;
}

}  // namespace lanecall
