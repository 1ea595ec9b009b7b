// SPDX-License-Identifier: Apache-2.0
//
// A RingIo on a /dev/lanecallN node, mapped or through read() and write(),
// whichever is wanted and there is. Chosen for each connection when the node is
// connected; nothing else differs.
#ifndef LANECALL_DEVICE_RING_IO_H
#define LANECALL_DEVICE_RING_IO_H

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

class DeviceRingIo : public RingIo {
 public:
  explicit DeviceRingIo(std::shared_ptr<DeviceIo> node);

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
  int poll(short events, int timeoutMs) override {
    return node_->poll(events, timeoutMs);
  }
  void interrupt() override { node_->interrupt(); }
  void close() override;
  bool isOpen() const override { return node_->isOpen(); }
  std::string name() const override { return node_->name(); }
  std::string reason() const override { return node_->reason(); }

 private:
  const std::shared_ptr<DeviceIo> node_;
  DeviceMode mode_ = DeviceMode::kAutomatic;
  MappedIo mapped_;
  StreamRingIo carried_;
  RingIo* rings_ = nullptr;  // null: not chosen yet
};

}  // namespace lanecall

#endif
