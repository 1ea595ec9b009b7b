// SPDX-License-Identifier: Apache-2.0
// One channel of the fake device: its control block, its state machine, its two
// rings and its connection, as docs/device.md has them.
//
// The channel is passive: the device calls it with its lock held, for a
// register access, a doorbell or a ready socket. Nothing in it blocks.
#ifndef LANECALL_TESTS_FAKE_CHANNEL_H
#define LANECALL_TESTS_FAKE_CHANNEL_H

#include <lanecall/descriptor.h>
#include <lanecall/ring.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <vector>

#include "guest_memory.h"
#include "server_address.h"

namespace lanecall::test {

// What a channel needs of its device.
class FakeChannelHost {
 public:
  virtual GuestMemory& memory() = 0;
  virtual const ServerAddress& server() const = 0;
  virtual unsigned vectors() const = 0;
  virtual void raise(unsigned vector) = 0;
  virtual void countGuestError() = 0;
  // Calls socketReady() of this channel when the socket has one of these
  // (level-triggered) epoll events or an error; no events: forgets it.
  virtual void watch(unsigned channel, int fd, uint32_t events) = 0;
  // Calls retry() of this channel in a while.
  virtual void retryLater(unsigned channel) = 0;

 protected:
  ~FakeChannelHost() = default;
};

class FakeChannel {
 public:
  FakeChannel(FakeChannelHost& host, unsigned number)
      : host_(host), number_(number) {}

  uint32_t readRegister(uint32_t offset) const;
  void writeRegister(uint32_t offset, uint32_t value);  // all but COMMAND
  void command(uint32_t command);
  void doorbell();
  void socketReady();
  void retry();
  void reset();  // silent: no status is written, no interrupt raised

 private:
  // A ring's bytes: host addresses of its pages.
  struct Pages {
    std::vector<unsigned char*> page;
    uint32_t shift = 0;
  };
  enum class Moved { kSome, kNothing, kEnd };

  void open();
  void attach();
  int attachRing(uint32_t table_register, uint32_t shift_register,
                 Pages& pages);
  void connect();
  void connected();
  void drain();
  void breach();

  Moved sendOnce();
  Moved receiveOnce(uint32_t error_at_end = LANECALL_ERR_NONE);
  void sendFailed(int error);
  void watchWhatIsNeeded();

  void end(uint32_t error);
  void close();
  void setStatus(uint32_t state, uint32_t error = LANECALL_ERR_NONE);
  void disconnect();

  uint32_t state() const { return LANECALL_STATE(status_); }
  bool moving() const {
    return state() == LANECALL_RUNNING || state() == LANECALL_DRAINING;
  }
  uint64_t address(uint32_t low_register) const;

  FakeChannelHost& host_;
  const unsigned number_;
  std::array<uint32_t, LANECALL_CH_SIZE / 4> registers_{};
  uint32_t status_ = LANECALL_CLOSED;
  unsigned vector_ = 0;                   // as taken at OPEN
  lanecall_index_page* index_ = nullptr;  // from OPEN to CLOSED
  Descriptor socket_;
  lanecall_ring tx_{}, rx_{};
  Pages tx_pages_, rx_pages_;
  bool tx_left_ = false;  // there is more in TX than was sent so far
  bool rx_full_ = false;  // waits for room, does not read the socket
};

}  // namespace lanecall::test

#endif
