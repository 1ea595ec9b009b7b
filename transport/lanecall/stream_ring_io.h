// SPDX-License-Identifier: Apache-2.0
//
// Rings for a channel that has none here: plain memory, filled and emptied by
// the channel's read() and write(). So one transport serves mapped channels and
// others. The channel's read and write, with a buffer each, and nothing else.
#ifndef LANECALL_STREAM_RING_IO_H
#define LANECALL_STREAM_RING_IO_H

#include <lanecall/channel_ring_io.h>
#include <lanecall/mapping.h>

#include <atomic>
#include <memory>

namespace lanecall {

class StreamRingIo : public ChannelRingIo {
 public:
  static constexpr std::uint32_t kRingBytes = 64 << 10;

  explicit StreamRingIo(std::shared_ptr<ChannelIo> channel);

  int open() override;
  int status() override;
  Ring& outgoing() override { return outgoing_; }
  Ring& incoming() override { return incoming_; }
  void notify() override {}
  bool isCarried() const override { return true; }
  void move(short events) override;
  int end() const override { return end_; }
  void close() override { channel().close(); }

 private:
  int prepare();
  void receive();
  void finish(int end);
  void send();

  bool prepared_ = false;  // the rings, for this connection
  Mapping memory_[2];
  lanecall_index_page words_{};
  Ring outgoing_;
  Ring incoming_;
  lanecall_ring sending_{};    // the other side of outgoing_
  lanecall_ring receiving_{};  // the other side of incoming_
  std::atomic<int> end_{0};
};

}  // namespace lanecall

#endif
