// SPDX-License-Identifier: Apache-2.0
// The device of docs/device.md in user space, in this process: what unit tests
// on the host run against, and the second implementation that keeps the page
// honest. Its sockets are real; its guest's memory is a memory file,
// and so is its card's.
//
// One lock guards everything; a thread waits for sockets with epoll and takes
// the lock to serve them. Registers are served in the caller's thread, as a
// vCPU's are in QEMU.
#ifndef LANECALL_TESTS_FAKE_DEVICE_H
#define LANECALL_TESTS_FAKE_DEVICE_H

#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "device_under_test.h"
#include "fake_channel.h"
#include "interrupts.h"

namespace lanecall::test {

class FakeDevice final : public DeviceUnderTest,
                         private FakeChannelHost,
                         private FakeCardPortHost {
 public:
  explicit FakeDevice(const DeviceOptions& options);
  ~FakeDevice() override;

  uint64_t read(uint64_t offset, unsigned width) override;
  void write(uint64_t offset, unsigned width, uint64_t value) override;
  GuestMemory& memory() override { return memory_; }
  std::vector<uint64_t> notMemory() override;
  bool interrupted(unsigned vector) override {
    return interrupts_.take(vector);
  }
  bool waitInterrupt(unsigned vector, const Deadline& deadline) override {
    return interrupts_.wait(vector, deadline);
  }
  void wake(unsigned vector) override { interrupts_.raise(vector); }
  pid_t host() override { return getpid(); }
  void busReset() override;
  std::span<unsigned char> cardMemory() override;

 private:
  using Clock = std::chrono::steady_clock;
  enum class Timer { kRetry, kAnnounce, kGreeting };
  struct Watch {
    int fd = -1;
    uint32_t serial = 0;  // tells a stale event from one of today's socket
  };

  void raise(unsigned vector) override { interrupts_.raise(vector); }
  const ServerAddress* server() const override {
    return server_ ? &*server_ : nullptr;
  }
  FakeCardPort* card() override { return card_.get(); }
  unsigned vectors() const override { return vectors_; }
  bool accepted(uint64_t feature) const override { return accepted_ & feature; }
  void countGuestError() override { ++guest_errors_; }
  void watch(unsigned channel, int fd, uint32_t events) override;
  void watchInterrupt(unsigned channel, int fd) override;
  void retryLater(unsigned channel) override;
  void announceLater(unsigned channel, uint32_t us) override;

  void watchCard(int fd) override;
  void setGreetingTimer(int ms) override;
  void sessionBegins() override;
  void sessionEnds() override;
  const char* frameArrives(const lanecall_card_frame& frame) override;

  FakeChannelHost& channelHost() { return *this; }
  uint64_t features() const;
  uint32_t readDeviceRegister(uint64_t offset) const;
  void writeDeviceRegister(uint64_t offset, uint32_t value);
  void enable();
  void resetEngine();
  void watchSlot(size_t slot, int fd, uint32_t events);
  void setTimer(Timer timer, unsigned channel, Clock::duration in);
  void armTimer();
  void serve();
  void serveSlot(size_t slot);
  void serveTimers();

  std::optional<ServerAddress> server_;
  const unsigned vectors_;
  GuestMemory memory_;
  Interrupts interrupts_;

  std::mutex mutex_;
  std::vector<std::unique_ptr<FakeChannel>> channels_;
  std::unique_ptr<FakeCardPort> card_;
  std::vector<Watch> watches_;  // see watchSlot()
  uint64_t accepted_ = 0;
  uint32_t control_ = 0;
  uint32_t status_ = 0;
  uint32_t generation_ = 1;
  uint32_t guest_errors_ = 0;

  std::map<std::pair<Timer, unsigned>, Clock::time_point> due_;
  Descriptor epoll_;
  Descriptor timer_;
  Descriptor quit_;
  std::thread thread_;
};

}  // namespace lanecall::test

#endif
