// SPDX-License-Identifier: Apache-2.0
//
// Hostile clients of a server's card port, on channels of a device that keeps
// to the rules, and devices that do not.
#ifndef LANECALL_TESTS_HOSTILE_CARD_PEERS_H
#define LANECALL_TESTS_HOSTILE_CARD_PEERS_H

#include <card_device.h>
#include <lanecall/card.h>
#include <random.h>

#include <cstdint>
#include <memory>
#include <string>

namespace lanecall::test {

// A device in order, whose channels are opened for good and bad clients.
class HonestCard {
 public:
  // path: the server's card port. Throws std::runtime_error.
  explicit HonestCard(const std::string& path);

  struct Channel {
    std::uint64_t id;
    std::unique_ptr<CardClient> client;
  };
  Channel open(std::uint32_t ringBytes);

  // Its client is gone, or has closed in order.
  void close(const Channel& channel);

  // Opens a channel, sends these bytes and reads what is answered until the
  // server has taken all, or ended it. Throws std::runtime_error if the server
  // does neither.
  void sendStream(const std::string& bytes, Random& random);

  // Opens a channel and puts one of its indices where it cannot be: the server
  // is to end it for that. Throws std::runtime_error if it does not.
  void lieAboutIndex(Random& random);

 private:
  lanecall_card_frame await(std::uint32_t type, std::uint64_t id);
  bool awaitNews(const Channel& channel);
  bool takeFrames(std::uint64_t id);

  CardDevice device_;
  std::uint64_t lastId_ = 0;
};

// A device that attaches, perhaps greets, and then sends packets that are
// nearly right, until the server has ended its session.
void attachHostileDevice(const std::string& path, Random& random);

}  // namespace lanecall::test

#endif
