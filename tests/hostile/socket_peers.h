// SPDX-License-Identifier: Apache-2.0
//
// Hostile clients of a server's sockets. One thread plays all of them; nothing
// here waits longer than the server needs.
#ifndef LANECALL_TESTS_HOSTILE_SOCKET_PEERS_H
#define LANECALL_TESTS_HOSTILE_SOCKET_PEERS_H

#include <lanecall/descriptor.h>
#include <lanecall/uri.h>
#include <random.h>

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <vector>

namespace lanecall::test {

// Connects, without waiting to be accepted. Throws std::system_error.
Descriptor connectTo(const Uri& server);

// Until the server has taken all of it; false if it ends the connection
// instead.
bool sendAll(const Descriptor& socket, const std::string& bytes);

// Until the server has ended the connection. Throws std::runtime_error if it
// does not.
void awaitEnd(const Descriptor& socket);

// Sends each of these over a connection of its own, all at the same time, and
// reads what is answered. Then most say that no more will come, and read until
// the server has closed; some break the connection instead. Throws
// std::runtime_error if the server does neither read, nor answer, nor close.
void sendBurst(const Uri& server, const std::vector<std::string>& streams,
               Random& random);

// Connections that are opened, perhaps written to, and broken, many at once.
void flood(const Uri& server, std::size_t connections,
           const std::string& message, Random& random);

// Clients that have begun a message and send the rest of it a byte at a time,
// or not at all. The server is to end them, and is not to mind.
class Loiterers {
 public:
  Loiterers(Uri server, std::size_t count, std::function<std::string()> message)
      : server_(std::move(server)),
        count_(count),
        message_(std::move(message)) {}

  // Each sends its next byte; those that the server has ended begin anew.
  void turn();

 private:
  struct Loiterer {
    Descriptor socket;
    std::string message;
    std::size_t sent;
  };

  void arrive();
  static bool trickle(Loiterer& one);

  const Uri server_;
  const std::size_t count_;
  const std::function<std::string()> message_;
  std::list<Loiterer> all_;
};

}  // namespace lanecall::test

#endif
