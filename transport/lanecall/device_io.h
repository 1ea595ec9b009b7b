// SPDX-License-Identifier: Apache-2.0
//
// A ChannelIo on a /dev/lanecallN node: each open is one channel.
#ifndef LANECALL_DEVICE_IO_H
#define LANECALL_DEVICE_IO_H

#include <lanecall/descriptor_io.h>
#include <lanecall/driver.h>
#include <lanecall/lender.h>

#include <cstdint>
#include <memory>

namespace lanecall {

class DeviceIo : public DescriptorIo {
 public:
  explicit DeviceIo(std::string path) : path_(std::move(path)) {}
  ~DeviceIo() override { endLending(); }

  // Ring sizes in bytes for connections opened from now on, powers of two
  // within the device's bounds; 0 leaves the driver's default. A size that the
  // driver refuses makes open() return -EINVAL.
  void setRingBytes(std::uint32_t tx, std::uint32_t rx);

  // For connections opened from now on: interrupts that announce bytes wait
  // until so many have come, or that long after the first; 0 us, the default:
  // at once. A device that cannot makes open() return -EOPNOTSUPP.
  void setModeration(std::uint32_t bytes, std::uint32_t microseconds);

  int open() override;
  void close() override;
  int status() override;
  ssize_t read(void* data, std::size_t size) override;
  ssize_t write(const void* data, std::size_t size) override;
  std::string name() const override { return path_; }

  // Once status() is 0: LANECALL_IOC_MAP, which turns read and write off. 0 or
  // a negated errno value: -EAGAIN (poll for POLLOUT), -EOPNOTSUPP (read and
  // write are what there is, and go on), or why the connection failed.
  int map(lanecall_mapping* layout);
  int descriptor() const { return fd(); }

  // Of the connection that is open, else null; ends with it.
  std::shared_ptr<Lender> lender() const { return lender_; }

 private:
  void endLending();

  std::string path_;
  std::uint32_t txBytes_ = 0;
  std::uint32_t rxBytes_ = 0;
  lanecall_moderation moderation_{};
  std::shared_ptr<NodeLender> lender_;
};

}  // namespace lanecall

#endif
