// SPDX-License-Identifier: Apache-2.0
//
// A RingIo on a /dev/lanecallN node in mapped mode (lanecall/driver.h): rings,
// index words and doorbell in this process's memory. Bytes go out by a store to
// the doorbell at most; the kernel is only called to sleep.
#ifndef LANECALL_MAPPED_IO_H
#define LANECALL_MAPPED_IO_H

#include <lanecall/device_io.h>
#include <lanecall/driver.h>
#include <lanecall/mapping.h>
#include <lanecall/ring_io.h>

#include <memory>

namespace lanecall {

// 0, or a negated errno value: what the end of a channel is, by its status page
// (RingIo::end()). With the load barrier that has to follow.
int endOfChannel(const lanecall_index_page& status);

class MappedIo : public RingIo {
 public:
  explicit MappedIo(std::shared_ptr<DeviceIo> node) : node_(std::move(node)) {}
  ~MappedIo() override { close(); }

  int open() override { return node_->open(); }
  // -EOPNOTSUPP: no mapped mode for this device here; the node is still open,
  // and may be read and written.
  int status() override;
  Ring& outgoing() override { return outgoing_; }
  Ring& incoming() override { return incoming_; }
  void notify() override;
  int end() const override { return endOfChannel(*status_); }
  int poll(short events, int timeoutMs) override {
    return node_->poll(events, timeoutMs);
  }
  void interrupt() override { node_->interrupt(); }
  void close() override;
  bool isOpen() const override { return node_->isOpen(); }
  std::string name() const override { return node_->name(); }
  std::string reason() const override { return node_->reason(); }

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
