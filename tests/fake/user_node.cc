// SPDX-License-Identifier: Apache-2.0
#include "user_node.h"

#include <lanecall/mapped_io.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace lanecall::test {
namespace {

// ChannelIo's convention for poll(): -1 is no limit, 0 not to wait.
Deadline deadlineOf(int timeout_ms) {
  return timeout_ms < 0 ? Deadline::never() : Deadline::in(timeout_ms);
}

}  // namespace

class UserChannelIo final : public ChannelIo {
 public:
  explicit UserChannelIo(UserNode& node) : node_(node) {}
  ~UserChannelIo() override { close(); }

  int open() override {
    channel_ = node_.take();
    if (!channel_) return -EBUSY;
    losses_ = node_.losses_;
    attached_ = false;
    interrupted_ = false;
    vector_ = channel_->vector();
    channel_->open();
    return 0;
  }

  int status() override {
    if (lost()) return -EIO;
    const uint32_t now = advance();
    switch (LANECALL_STATE(now)) {
      case LANECALL_RUNNING:
        return 0;
      case LANECALL_ENDED:
        return -errnoOfStatus(now);
      default:
        return -EINPROGRESS;
    }
  }

  ssize_t read(void* data, std::size_t size) override {
    if (lost()) return -EIO;
    const uint32_t now = advance();  // first: with ENDED comes the last head
    lanecall_rmb();
    const __s64 n =
        channel_->tryRead({static_cast<unsigned char*>(data), size});
    if (n > 0) return n;
    if (n < 0) return -EIO;
    return LANECALL_STATE(now) == LANECALL_ENDED ? -errnoOfStatus(now)
                                                 : -EAGAIN;
  }

  ssize_t write(const void* data, std::size_t size) override {
    if (lost()) return -EIO;
    const uint32_t now = advance();
    if (LANECALL_STATE(now) == LANECALL_ENDED) {
      return errnoOfStatus(now) ? -errnoOfStatus(now) : -EPIPE;
    }
    if (LANECALL_STATE(now) != LANECALL_RUNNING) return -EAGAIN;
    const __s64 n =
        channel_->tryWrite({static_cast<const unsigned char*>(data), size});
    return n > 0 ? n : n < 0 ? -EIO : -EAGAIN;
  }

  int poll(short events, int timeout_ms) override {
    const Deadline deadline = deadlineOf(timeout_ms);
    for (;;) {
      if (interrupted_) return -ECANCELED;
      if (lost()) return POLLERR | POLLHUP;
      if (const int ready = readiness(events)) return ready;
      if (timeout_ms == 0) return 0;
      if (!arm(events)) continue;
      if (!node_.device_.waitInterrupt(vector_, deadline)) return 0;
    }
  }

  void interrupt() override {
    interrupted_ = true;
    node_.device_.wake(vector_);
  }

  void close() override {
    if (channel_) node_.giveBack(std::move(channel_));
  }
  bool isOpen() const override { return channel_ != nullptr; }
  std::string name() const override { return "user node"; }

 private:
  bool lost() const { return node_.losses_ != losses_; }

  // Attaches the rings once the channel is connected.
  uint32_t advance() {
    const uint32_t now = channel_->status();
    if (LANECALL_STATE(now) == LANECALL_READY && !attached_) {
      attached_ = true;
      channel_->attach();
      return channel_->status();
    }
    return now;
  }

  int readiness(short events) {
    const uint32_t now = advance();
    int ready = 0;
    if (LANECALL_STATE(now) == LANECALL_ENDED) {
      ready |= POLLHUP | (errnoOfStatus(now) ? POLLERR : 0);
    }
    if (LANECALL_STATE(now) == LANECALL_RUNNING || ready) {
      if (channel_->readable()) ready |= events & POLLIN;
      if (channel_->writable()) ready |= events & POLLOUT;
    }
    return ready;
  }

  // Asks for interrupts; false if what they would tell is there already.
  bool arm(short events) {
    if ((events & POLLIN) && lanecall_ring_arm(&channel_->rxIndices()) != 0) {
      return false;
    }
    // While the channel connects TX is empty, and waits for nothing.
    return !(events & POLLOUT) || channel_->state() != LANECALL_RUNNING ||
           lanecall_ring_arm_space(&channel_->txIndices(), 1) == 0;
  }

  UserNode& node_;
  std::unique_ptr<UserChannel> channel_;
  unsigned losses_ = 0;
  unsigned vector_ = 0;
  bool attached_ = false;
  std::atomic<bool> interrupted_{false};
};

// A ring's scattered pages, in order, twice.
class MappedRing {
 public:
  explicit MappedRing(const UserRing& ring) : bytes_(2 * size_t{ring.size()}) {
    void* all =
        ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) fail();
    start_ = static_cast<unsigned char*>(all);
    for (uint32_t at = 0; at < bytes_; at += ring.pageBytes()) {
      // Of no bytes, mremap makes another mapping of what is shared there.
      if (::mremap(ring.at(at & (ring.size() - 1)), 0, ring.pageBytes(),
                   MREMAP_MAYMOVE | MREMAP_FIXED, start_ + at) == MAP_FAILED) {
        fail();
      }
    }
  }
  ~MappedRing() { ::munmap(start_, bytes_); }
  MappedRing(const MappedRing&) = delete;
  MappedRing& operator=(const MappedRing&) = delete;

  unsigned char* data() const { return start_; }

 private:
  [[noreturn]] static void fail() {
    throw std::system_error(errno, std::generic_category(), "mapping a ring");
  }

  const size_t bytes_;
  unsigned char* start_ = nullptr;
};

// The kernel's mapped mode and the library's MappedIo in one.
class UserRingIo final : public RingIo {
 public:
  explicit UserRingIo(UserNode& node) : node_(node) {}
  ~UserRingIo() override { close(); }

  int open() override {
    channel_ = node_.take();
    if (!channel_) return -EBUSY;
    losses_ = node_.losses_;
    attached_ = false;
    interrupted_ = false;
    vector_ = channel_->vector();
    channel_->open();
    return 0;
  }

  int status() override {
    if (lost()) return -EIO;
    uint32_t now = channel_->status();
    if (LANECALL_STATE(now) == LANECALL_READY && !attached_) {
      attached_ = true;
      channel_->attach();
      now = channel_->status();
    }
    if (LANECALL_STATE(now) == LANECALL_ENDED && errnoOfStatus(now)) {
      return -errnoOfStatus(now);
    }
    if (LANECALL_STATE(now) != LANECALL_RUNNING &&
        LANECALL_STATE(now) != LANECALL_ENDED) {
      return -EINPROGRESS;
    }
    if (!tx_) map();
    return 0;
  }

  Ring& outgoing() override { return outgoing_; }
  Ring& incoming() override { return incoming_; }
  void notify() override { channel_->doorbell(); }
  int end() const override {
    return lost() ? -EIO : endOfChannel(channel_->statusPage());
  }

  int poll(short events, int timeout_ms) override {
    if (interrupted_) return -ECANCELED;
    if (lost() || (tx_ && end())) return POLLHUP;
    if (!node_.device_.waitInterrupt(vector_, deadlineOf(timeout_ms))) return 0;
    return interrupted_ ? -ECANCELED : events;
  }

  void interrupt() override {
    interrupted_ = true;
    node_.device_.wake(vector_);
  }

  void close() override {
    tx_.reset();
    rx_.reset();
    if (channel_) node_.giveBack(std::move(channel_));
  }
  bool isOpen() const override { return channel_ != nullptr; }
  std::string name() const override { return "user node"; }

 private:
  bool lost() const { return node_.losses_ != losses_; }

  void map() {
    tx_ = std::make_unique<MappedRing>(channel_->tx());
    rx_ = std::make_unique<MappedRing>(channel_->rx());
    outgoing_ = {channel_->txIndices(), tx_->data()};
    incoming_ = {channel_->rxIndices(), rx_->data()};
  }

  UserNode& node_;
  std::unique_ptr<UserChannel> channel_;
  std::unique_ptr<MappedRing> tx_, rx_;
  Ring outgoing_, incoming_;
  unsigned losses_ = 0;
  unsigned vector_ = 0;
  bool attached_ = false;
  std::atomic<bool> interrupted_{false};
};

UserNode::UserNode(DeviceUnderTest& device, ChannelOptions options)
    : device_(device),
      options_(options),
      used_(device.read32(LANECALL_REG_CHANNELS)) {}

std::unique_ptr<ChannelIo> UserNode::channel() {
  return std::make_unique<UserChannelIo>(*this);
}

std::unique_ptr<RingIo> UserNode::rings() {
  return std::make_unique<UserRingIo>(*this);
}

void UserNode::lose() {
  ++losses_;
  for (unsigned v = 0; v < device_.read32(LANECALL_REG_VECTORS); ++v) {
    device_.wake(v);
  }
}

std::unique_ptr<UserChannel> UserNode::take() {
  std::lock_guard lock(mutex_);
  std::erase_if(draining_, [this](const auto& channel) {
    if (LANECALL_STATE(channel->statusRegister()) != LANECALL_CLOSED) {
      return false;
    }
    used_[channel->channel()] = false;
    return true;
  });
  const auto free = std::find(used_.begin(), used_.end(), false);
  if (free == used_.end()) return nullptr;
  *free = true;
  ChannelOptions options = options_;
  options.channel = static_cast<unsigned>(free - used_.begin());
  return std::make_unique<UserChannel>(device_, options);
}

void UserNode::giveBack(std::unique_ptr<UserChannel> channel) {
  std::lock_guard lock(mutex_);
  if (LANECALL_STATE(channel->statusRegister()) != LANECALL_CLOSED) {
    channel->command(LANECALL_CMD_DRAIN);
  }
  draining_.push_back(std::move(channel));
}

}  // namespace lanecall::test
