// SPDX-License-Identifier: Apache-2.0
//
// The half of a ChannelIo that device node and socket share: a non-blocking
// descriptor, and an eventfd by which another thread ends a wait.
#ifndef LANECALL_DESCRIPTOR_IO_H
#define LANECALL_DESCRIPTOR_IO_H

#include <lanecall/channel_io.h>
#include <lanecall/descriptor.h>

#include <mutex>

namespace lanecall {

class DescriptorIo : public ChannelIo {
 public:
  int poll(short events, int timeoutMs) override;
  void interrupt() override;
  void close() override;
  bool isOpen() const override { return channel_.valid(); }

 protected:
  // Takes over a non-blocking descriptor; 0 or a negated errno value.
  int adopt(Descriptor channel);
  // Replaces the descriptor of the same connection.
  void replace(Descriptor channel) { channel_ = std::move(channel); }
  int fd() const { return channel_.get(); }

 private:
  Descriptor channel_;
  // Guards wake_ against interrupt() from another thread.
  std::mutex mutex_;
  Descriptor wake_;
};

}  // namespace lanecall

#endif
