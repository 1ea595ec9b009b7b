// SPDX-License-Identifier: Apache-2.0
//
// A RingIo on a /dev/lanecallN node in mapped mode (lanecall/driver.h): rings,
// index words and doorbell in this process's memory. Bytes go out by a store to
// the doorbell at most; the kernel is only called to sleep.
#ifndef LANECALL_MAPPED_IO_H
#define LANECALL_MAPPED_IO_H

#include <lanecall/channel_ring_io.h>
#include <lanecall/device_io.h>
#include <lanecall/driver.h>
#include <lanecall/mapping.h>

#include <memory>

namespace lanecall {

// The errno value of the error in a status word; 0 if there is none.
int errnoOfStatus(std::uint32_t status);

// 0, or a negated errno value: what the end of a channel is, by its status page
// (RingIo::end()). With the load barrier that has to follow.
int endOfChannel(const lanecall_index_page& status);

class MappedIo : public ChannelRingIo {
 public:
  explicit MappedIo(std::shared_ptr<DeviceIo> node)
      : ChannelRingIo(node), node_(std::move(node)) {}
  ~MappedIo() override { close(); }

  int open() override { return node_->open(); }
  // -EOPNOTSUPP: no mapped mode for this device here; the node is still open,
  // and may be read and written.
  int status() override;
  Ring& outgoing() override { return outgoing_; }
  Ring& incoming() override { return incoming_; }
  void notify() override;
  int end() const override { return endOfChannel(*status_); }
  void close() override;

 private:
  int map(const lanecall_mapping& layout);
  lanecall_user_counters* countersAt(std::size_t offset) const;

  const std::shared_ptr<DeviceIo> node_;
  Mapping statusPage_, indexPage_, doorbell_, tx_, rx_;
  const lanecall_index_page* status_ = nullptr;  // null: not mapped
  Ring outgoing_;
  Ring incoming_;
};

}  // namespace lanecall

#endif
