// SPDX-License-Identifier: Apache-2.0
#include <lanecall/device_ring_io.h>

#include <cerrno>
#include <stdexcept>

namespace lanecall {

DeviceMode parseDeviceMode(const std::string& name) {
  if (name == "auto") return DeviceMode::kAutomatic;
  if (name == "mapped") return DeviceMode::kMapped;
  if (name == "rw") return DeviceMode::kReadWrite;
  throw std::invalid_argument("'" + name +
                              "': unknown mode; use auto, mapped or rw");
}

const char* name(DeviceMode mode) {
  switch (mode) {
    case DeviceMode::kMapped:
      return "mapped";
    case DeviceMode::kReadWrite:
      return "rw";
    default:
      return "auto";
  }
}

DeviceRingIo::DeviceRingIo(const std::shared_ptr<DeviceIo>& node)
    : ChannelRingIo(node), mapped_(node), carried_(node) {}

int DeviceRingIo::open() {
  rings_ = nullptr;
  return carried_.open();
}

int DeviceRingIo::status() {
  if (rings_) return 0;
  RingIo* choice = &carried_;
  int outcome = -EOPNOTSUPP;
  if (mode_ != DeviceMode::kReadWrite) {
    choice = &mapped_;
    outcome = mapped_.status();
  }
  if (outcome == -EOPNOTSUPP && mode_ != DeviceMode::kMapped) {
    choice = &carried_;
    outcome = carried_.status();
  }
  if (outcome == 0) rings_ = choice;
  return outcome;
}

void DeviceRingIo::close() {
  mapped_.close();
  rings_ = nullptr;
}

}  // namespace lanecall
