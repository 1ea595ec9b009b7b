// SPDX-License-Identifier: Apache-2.0
//
// A RingIo on a /dev/lanecallN node, mapped or through read() and write(),
// whichever is wanted and there is. Chosen for each connection when the node is
// connected; nothing else differs.
#ifndef LANECALL_DEVICE_RING_IO_H
#define LANECALL_DEVICE_RING_IO_H

#include <lanecall/channel_ring_io.h>
#include <lanecall/mapped_io.h>
#include <lanecall/stream_ring_io.h>

#include <memory>
#include <string>

namespace lanecall {

enum class DeviceMode {
  kAutomatic,  // mapped where that is possible
  kMapped,     // or not at all
  kReadWrite,
};

// "auto", "mapped" or "rw"; std::invalid_argument otherwise.
DeviceMode parseDeviceMode(const std::string& name);
const char* name(DeviceMode mode);

class DeviceRingIo : public ChannelRingIo {
 public:
  explicit DeviceRingIo(const std::shared_ptr<DeviceIo>& node);

  // For connections opened from now on.
  void setMode(DeviceMode mode) { mode_ = mode; }

  // Of this connection, once status() is 0.
  bool isMapped() const { return rings_ == &mapped_; }

  int open() override;
  int status() override;
  Ring& outgoing() override { return rings_->outgoing(); }
  Ring& incoming() override { return rings_->incoming(); }
  void notify() override { rings_->notify(); }
  bool isCarried() const override { return rings_->isCarried(); }
  void move(short events) override { rings_->move(events); }
  int end() const override { return rings_->end(); }
  void close() override;

 private:
  DeviceMode mode_ = DeviceMode::kAutomatic;
  MappedIo mapped_;
  StreamRingIo carried_;
  RingIo* rings_ = nullptr;  // null: not chosen yet
};

}  // namespace lanecall

#endif
