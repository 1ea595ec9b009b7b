// SPDX-License-Identifier: Apache-2.0
// The servers behind the device, at its socket and at its card port, that keep
// to no rule. Neither waits for anything: each act does what is possible now.
#ifndef LANECALL_TESTS_HOSTILE_SERVERS_H
#define LANECALL_TESTS_HOSTILE_SERVERS_H

#include <random.h>
#include <sys/socket.h>

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "card_server.h"
#include "test_server.h"

namespace lanecall::test {

// Takes connections or not, talks, listens, stalls, closes, resets.
class HostileSocketServer {
 public:
  HostileSocketServer(Family family, const TempDir& dir, Random& random);

  const std::string& rpc() const { return rpc_; }
  void act();
  // Ends all, what waits to be accepted too; it listens again.
  void reset();
  // The next connection; waits for it.
  Descriptor accept();

 private:
  void listen();
  void listenAt(const sockaddr* address, socklen_t bytes);
  void acceptOne();
  void talk(std::list<Descriptor>::iterator connection);

  Random& random_;
  const std::string path_;  // of a Unix socket
  std::uint16_t port_ = 0;  // of TCP's, once it has listened
  std::string rpc_;
  Descriptor listener_;
  std::list<Descriptor> connections_;
};

// Plays the card's firmware: answers right, wrong, late, twice or not at all,
// lies about indices in card memory, and has bytes moved that there are not.
class HostileCardServer {
 public:
  HostileCardServer(const TempDir& dir, Random& random);

  const std::string& card() const { return server_.card(); }
  void act();
  // Ends the session.
  void reset();

 private:
  struct Channel {
    Descriptor doorbell, interrupt;
    lanecall_places places{};
    bool placed = false;
  };

  void takePackets();
  void take(CardFrame frame);
  void answerPlace(uint64_t id);
  void sendAnything();
  void sendDma();
  void lieInMemory();
  void kick();
  uint64_t someId();
  uint64_t somePlace();

  Random& random_;
  CardServer server_;
  std::optional<CardSession> session_;
  std::map<uint64_t, Channel> channels_;
  uint64_t lastId_ = 0;
  unsigned deafFor_ = 0;  // acts in which it takes nothing
};

}  // namespace lanecall::test

#endif
