// SPDX-License-Identifier: Apache-2.0
//
// A ChannelIo on a /dev/lanecallN node: each open is one channel.
#ifndef LANECALL_DEVICE_IO_H
#define LANECALL_DEVICE_IO_H

#include <lanecall/descriptor_io.h>

#include <cstdint>

namespace lanecall {

class DeviceIo : public DescriptorIo {
 public:
  explicit DeviceIo(std::string path) : path_(std::move(path)) {}

  // Ring sizes in bytes for connections opened from now on, powers of two
  // within the device's bounds; 0 leaves the driver's default. A size that the
  // driver refuses makes open() return -EINVAL.
  void setRingBytes(std::uint32_t tx, std::uint32_t rx);

  int open() override;
  int status() override;
  ssize_t read(void* data, std::size_t size) override;
  ssize_t write(const void* data, std::size_t size) override;
  std::string name() const override { return path_; }

 private:
  std::string path_;
  std::uint32_t txBytes_ = 0;
  std::uint32_t rxBytes_ = 0;
};

}  // namespace lanecall

#endif
