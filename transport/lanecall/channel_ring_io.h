// SPDX-License-Identifier: Apache-2.0
//
// The half of a RingIo that is the same for all rings of a ChannelIo: to sleep
// on it, and what it is called.
#ifndef LANECALL_CHANNEL_RING_IO_H
#define LANECALL_CHANNEL_RING_IO_H

#include <lanecall/channel_io.h>
#include <lanecall/ring_io.h>

#include <memory>
#include <string>
#include <utility>

namespace lanecall {

class ChannelRingIo : public RingIo {
 public:
  explicit ChannelRingIo(std::shared_ptr<ChannelIo> channel)
      : channel_(std::move(channel)) {}

  int poll(short events, int timeoutMs) override {
    return channel_->poll(events, timeoutMs);
  }
  void interrupt() override { channel_->interrupt(); }
  bool isOpen() const override { return channel_->isOpen(); }
  std::string name() const override { return channel_->name(); }
  std::string reason() const override { return channel_->reason(); }

 protected:
  ChannelIo& channel() const { return *channel_; }

 private:
  const std::shared_ptr<ChannelIo> channel_;
};

}  // namespace lanecall

#endif
