// SPDX-License-Identifier: Apache-2.0
//
// One channel that a device has offered over the card port, ready to use: its
// rings in card memory, mapped; the doorbell by which the client wakes us; the
// interrupt by which we wake the client.
//
// We play the device's part: we produce into RX and consume from TX.
#ifndef LANECALL_CARD_CHANNEL_H
#define LANECALL_CARD_CHANNEL_H

#include <lanecall/caller.h>
#include <lanecall/card_memory.h>
#include <lanecall/card_places.h>
#include <lanecall/descriptor.h>
#include <lanecall/device.h>
#include <lanecall/interrupter.h>
#include <lanecall/ring_io.h>
#include <lanecall/wake.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lanecall {

// What session and channel have of each other. The session's thread tells of
// the end; any thread interrupts.
class CardChannelSignals {
 public:
  // doorbell and interrupt are the device's eventfds. Throws std::system_error.
  CardChannelSignals(Descriptor doorbell, Descriptor interrupt,
                     std::shared_ptr<const Interrupter> interrupter);

  // Why a descriptor is no eventfd that we can use; empty if it is.
  static std::string refusal(int fd);

  // The channel has ended: -ESHUTDOWN in order, else why. The first end counts.
  void end(int error);
  void interrupt();

  int error() const { return error_.load(std::memory_order_acquire); }
  bool interrupted() const {
    return interrupted_.load(std::memory_order_acquire);
  }

  // Raises the channel's interrupt. Never blocks, whatever the device does to
  // the eventfd. A channel whose interrupt is lost has ended.
  void tell();
  bool isInterruptLost() const { return error() == kInterruptLost; }

  int doorbell() const { return doorbell_.get(); }
  // Readable from the end or interrupt() on.
  int wake() const { return wake_.fd(); }

 private:
  static constexpr int kInterruptLost = -ENOBUFS;

  const Descriptor doorbell_;
  const Descriptor interrupt_;
  const std::shared_ptr<const Interrupter> interrupter_;
  Wake wake_;
  std::atomic<int> error_{0};
  std::atomic<bool> interrupted_{false};
};

// Interrupts that announce bytes may be held back (lanecall/device.h,
// "Moderation"). The timer is watched by the session's thread.
class CardModeration {
 public:
  // Throws std::system_error.
  CardModeration(std::uint32_t bytes, std::uint32_t microseconds);

  // Whether the interrupt for so many unannounced bytes is to wait; the timer
  // runs then.
  bool holds(std::uint32_t bytes);
  // Told anyhow; whether something was held back until now.
  bool drop() { return held_.exchange(false); }
  // The same, if the timer has expired.
  bool expired();

  bool isHolding() const { return held_.load(std::memory_order_relaxed); }
  bool is_enough(std::uint32_t bytes) const {
    return bytes_ && bytes >= bytes_;
  }

  int timer() const { return timer_.get(); }

 private:
  const std::uint32_t bytes_;
  const std::uint32_t microseconds_;
  const Descriptor timer_;
  std::atomic<bool> held_{false};
};

class CardDevice;

class CardChannel : public RingIo {
 public:
  struct Parts {
    std::string name;
    Caller caller;
    std::shared_ptr<CardChannelSignals> signals;
    std::shared_ptr<CardModeration> moderation;  // null: none
    std::shared_ptr<void> admission;  // counts the channel until closed
    // Kept until the mappings below are gone.
    std::vector<std::shared_ptr<CardPlaces::Place>> places;
    Mapping index;
    Mapping tx;  // twice its length
    Mapping rx;
    std::uint32_t txBytes;
    std::uint32_t rxBytes;
    std::shared_ptr<CardDevice> device;  // null: it knows no DMA
    // Called once, from the thread that closes it; error: LANECALL_ERR_*.
    std::function<void(std::uint32_t error)> closed;
  };

  explicit CardChannel(Parts parts);
  ~CardChannel() override { CardChannel::close(); }

  int open() override;
  int status() override;
  Ring& outgoing() override { return rx_; }
  Ring& incoming() override { return tx_; }
  void notify() override;
  void hurry() override;
  int end() const override { return parts_.signals->error(); }
  int poll(short events, int timeoutMs) override;
  void interrupt() override { parts_.signals->interrupt(); }
  void close() override { leave(LANECALL_ERR_NONE); }
  void refuse() override { leave(LANECALL_ERR_PROTOCOL); }
  bool isOpen() const override { return open_; }
  std::string name() const override { return parts_.name; }

  // Who opened it.
  const Caller& caller() const { return parts_.caller; }

  // What moves bytes for who serves this channel; may be null. Outlives it.
  const std::shared_ptr<CardDevice>& device() const { return parts_.device; }

  // Tells of what is held back, if it has become enough. After publishing what
  // notify() was not called for.
  void announce();

  // Called before each sleep in poll(), by the thread that is to sleep.
  void setBeforeSleep(std::function<void()> hook) {
    beforeSleep_ = std::move(hook);
  }

  // For one thread that watches many channels: readable (edge-triggered: nobody
  // reads the doorbell) when the client has told, and when the channel has
  // ended.
  int doorbell() const { return parts_.signals->doorbell(); }
  int wake() const { return parts_.signals->wake(); }

 private:
  void leave(std::uint32_t error);
  int prepare(Descriptor& sleeper) const;
  bool is_room_announced(std::uint32_t tail);
  std::uint32_t unannounced() const;
  bool is_held();

  Parts parts_;
  lanecall_index_page* const words_;
  Ring tx_;
  Ring rx_;
  bool open_ = true;
  std::function<void()> beforeSleep_;
  // An epoll instance for each direction, made at its first sleep: of two that
  // sleep on one doorbell each has to see it.
  Descriptor inSleeper_;
  Descriptor outSleeper_;
  std::atomic<std::uint32_t> announcedTail_{0};
};

}  // namespace lanecall

#endif
