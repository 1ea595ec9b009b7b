// SPDX-License-Identifier: Apache-2.0
// The card port of the fake device: its side of lanecall/card.h. Connects to
// the server that plays the card's firmware, greets it, and passes frames
// between it and the channels. What a frame means to a channel, the channel
// knows (fake_channel_direct.cc); whether it may come at all is checked here.
//
// Passive, as a channel is: the device calls it with its lock held.
#ifndef LANECALL_TESTS_FAKE_CARD_PORT_H
#define LANECALL_TESTS_FAKE_CARD_PORT_H

#include <lanecall/card.h>
#include <lanecall/descriptor.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "fake_card_memory.h"
#include "server_address.h"

namespace lanecall::test {

// What the port needs of its device.
class FakeCardPortHost {
 public:
  // Calls socketReady() when the socket is readable; -1: forgets it.
  virtual void watchCard(int fd) = 0;
  // Calls greetingTimedOut() when that time has passed; 0: never.
  virtual void setGreetingTimer(int ms) = 0;

  // For the channels: they may be offered; all that were are lost; a frame
  // about one of them, and the answer is what is wrong with it, or null.
  virtual void sessionBegins() = 0;
  virtual void sessionEnds() = 0;
  virtual const char* frameArrives(const lanecall_card_frame& frame) = 0;

 protected:
  ~FakeCardPortHost() = default;
};

class FakeCardPort {
 public:
  // card: "unix:/path". Throws std::invalid_argument.
  FakeCardPort(FakeCardPortHost& host, const std::string& card,
               uint64_t card_bytes, unsigned channels);

  FakeCardMemory& memory() { return memory_; }

  // Begins a session if there is none; false if nobody is there.
  bool connect();
  bool isLive() const { return state_ == State::kLive; }

  // Offers a channel; returns the id it has in this session.
  uint64_t offer(const lanecall_card_offer& offer, int doorbell, int interrupt);
  // Of a frame about a channel, all but its type and id.
  void send(uint32_t type, uint64_t id, lanecall_card_frame frame = {});

  void socketReady();
  void greetingTimedOut();

 private:
  enum class State { kNone, kGreeting, kLive };

  void sendWith(const lanecall_card_frame& frame,
                std::initializer_list<int> descriptors);
  const char* receive(const lanecall_card_frame& frame);
  const char* welcome(const lanecall_card_frame& frame);
  void drop();

  FakeCardPortHost& host_;
  const ServerAddress address_;
  const unsigned channels_;
  FakeCardMemory memory_;
  Descriptor socket_;
  State state_ = State::kNone;
  uint64_t next_id_ = 1;   // never used twice, not even in another session
  uint64_t first_id_ = 1;  // of this session
};

}  // namespace lanecall::test

#endif
