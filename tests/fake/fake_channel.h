// SPDX-License-Identifier: Apache-2.0
// One channel of the fake device: its control block, its state machine, its two
// rings and its connection, as docs/device.md has them. Its rings lie in guest
// memory, and the device moves bytes between them and a socket; or, where
// driver and card agree on it, in card memory, and the card's server is their
// other end: what there is to do then is in fake_channel_direct.cc.
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

#include "fake_card_port.h"
#include "guest_memory.h"
#include "server_address.h"

namespace lanecall::test {

// What a channel needs of its device.
class FakeChannelHost {
 public:
  virtual GuestMemory& memory() = 0;
  virtual const ServerAddress* server() const = 0;  // null without rpc=
  virtual FakeCardPort* card() = 0;                 // null without card=
  virtual unsigned vectors() const = 0;
  virtual bool accepted(uint64_t feature) const = 0;
  virtual void raise(unsigned vector) = 0;
  virtual void countGuestError() = 0;
  // Calls socketReady() of this channel when the socket has one of these
  // (level-triggered) epoll events or an error; no events: forgets it.
  virtual void watch(unsigned channel, int fd, uint32_t events) = 0;
  // Calls raise() of this channel when the server has written its interrupt
  // eventfd; -1: forgets it.
  virtual void watchInterrupt(unsigned channel, int fd) = 0;
  // Calls retry() of this channel in a while.
  virtual void retryLater(unsigned channel) = 0;
  // Calls announce() of this channel in that time; 0: does not.
  virtual void announceLater(unsigned channel, uint32_t us) = 0;

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
  void raise() { host_.raise(vector_); }
  void announce();
  void reset();  // silent: no status is written, no interrupt raised

  // The card port: this channel is the one that has that id; a frame about it,
  // and what is wrong with that, or null; the session has begun, or is lost.
  bool is(uint64_t card_id) const { return direct_.id == card_id; }
  const char* frameArrives(const lanecall_card_frame& frame);
  void sessionBegins();
  void sessionEnds();

 private:
  // A ring's bytes: host addresses of its pages.
  struct Pages {
    std::vector<unsigned char*> page;
    uint32_t shift = 0;
  };
  enum class Moved { kSome, kNothing, kEnd };
  // The direct plane. Without an id the server is not told of the channel.
  struct Direct {
    uint64_t id = 0;
    bool waiting = false;  // for the session to begin, to be offered
    bool placing = false;  // PLACE is sent, START is not
    bool ended = false;    // by the server; it has not been told CLOSE yet
    unsigned busy = 0;     // how often BUSY was sent
    uint32_t page_bytes = 0;
    Places places;
    Descriptor doorbell, interrupt;
  };

  void open();
  void attach();
  int takeModeration();
  int attachRing(uint32_t table_register, uint32_t shift_register,
                 Pages& pages);
  void connect();
  void connected();
  void drain();
  void breach();

  bool openInCard();
  void offer();
  void fallBack(uint32_t error);
  void attachInCard();
  void drainInCard();
  void ringServer();
  const char* accepted();
  const char* declined(uint32_t error);
  const char* placed(const lanecall_places& where);
  void busy(const Place& in_use);
  void start();
  const char* ended(uint32_t error);
  const char* released();
  void send(uint32_t type, const lanecall_card_frame& frame = {});
  void leaveCard();

  Moved sendOnce();
  Moved receiveOnce(uint32_t error_at_end = LANECALL_ERR_NONE);
  void tell(uint32_t bytes, bool wanted);
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
  unsigned vector_ = 0;    // as taken at OPEN
  bool has_user_ = false;  // the driver has told it:
  uint32_t user_ = 0;
  lanecall_index_page* index_ = nullptr;  // from OPEN to CLOSED
  Descriptor socket_;
  lanecall_ring tx_{}, rx_{};
  Pages tx_pages_, rx_pages_;
  bool tx_left_ = false;  // there is more in TX than was sent so far
  bool rx_full_ = false;  // waits for room, does not read the socket
  bool in_card_ = false;  // the plane, from READY on
  Direct direct_;

  // As taken at ATTACH; 0 microseconds: no moderation.
  uint32_t moderate_bytes_ = 0, moderate_us_ = 0;
  bool holding_ = false;  // an interrupt, for so many bytes:
  uint32_t held_ = 0;
};

}  // namespace lanecall::test

#endif
