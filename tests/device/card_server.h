// SPDX-License-Identifier: Apache-2.0
// A server that plays the card's firmware at a device's card port, and makes
// only the moves that a test tells it to, good ones and bad ones.
#ifndef LANECALL_TESTS_CARD_SERVER_H
#define LANECALL_TESTS_CARD_SERVER_H

#include <lanecall/card.h>
#include <lanecall/ring.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shared_memory.h"
#include "test_server.h"

namespace lanecall::test {

// One frame, with what came with it.
struct CardFrame {
  lanecall_card_frame frame{};
  std::vector<Descriptor> descriptors{};

  uint32_t type() const { return frame.type; }
  uint64_t id() const { return frame.channel; }
};

// A frame of the server's: its type, the id, and a word of error.
lanecall_card_frame cardFrame(uint32_t type, uint64_t id, uint32_t error = 0);
lanecall_card_frame cardPlaced(uint64_t id, const lanecall_places& places);
lanecall_card_frame cardWelcome(uint64_t features = 0);

// One session. Waits have a deadline; a deadline passed, or the session's end,
// is nothing, or false.
class CardSession {
 public:
  explicit CardSession(Descriptor socket) : socket_(std::move(socket)) {}
  // Takes HELLO and maps card memory; then sends WELCOME.
  bool takeHello(const Deadline& deadline);
  bool greet(const Deadline& deadline, uint64_t features = 0) {
    return takeHello(deadline) && send(cardWelcome(features));
  }

  std::optional<CardFrame> receive(const Deadline& deadline);
  // A packet of any length, all its bytes; it has no descriptors.
  std::optional<std::vector<unsigned char>> receivePacket(
      const Deadline& deadline);
  // The type of the next frame, which stays there; 0 for none.
  uint32_t peekType(const Deadline& deadline);
  bool send(const lanecall_card_frame& frame);
  bool sendPacket(std::span<const unsigned char> bytes,
                  std::span<const int> descriptors = {});
  bool waitEnd(const Deadline& deadline);  // drops frames
  bool ended();                            // at once; if no frame is left
  // At once: receive(), send() would not wait.
  bool isReadable() const;
  bool isWritable() const;
  void close() { socket_.reset(); }

  // After takeHello().
  const CardFrame& hello() const { return hello_; }
  int memoryFd() const { return hello_.descriptors.at(0).get(); }
  std::span<unsigned char> memory() const { return memory_.bytes(); }
  lanecall_index_page& index(uint64_t offset) const {
    return *reinterpret_cast<lanecall_index_page*>(&memory()[offset]);
  }

 private:
  Descriptor socket_;
  CardFrame hello_;
  SharedMemory memory_;
};

class CardServer {
 public:
  explicit CardServer(const TempDir& dir);

  const std::string& card() const { return card_; }  // "unix:/path"
  bool isReadable() const;                           // accept() would not wait
  std::optional<CardSession> accept(const Deadline& deadline);
  // The next session, greeted; throws if there is none.
  CardSession session(const Deadline& deadline, uint64_t features = 0);
  void stopListening();
  void listen();

 private:
  const std::string path_, card_;
  Descriptor listener_;
};

}  // namespace lanecall::test

#endif
