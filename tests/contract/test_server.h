// SPDX-License-Identifier: Apache-2.0
// The server that a device under test connects to: a plain socket server whose
// every move the test makes itself, so that nothing happens unasked.
#ifndef LANECALL_TESTS_TEST_SERVER_H
#define LANECALL_TESTS_TEST_SERVER_H

#include <lanecall/deadline.h>
#include <lanecall/descriptor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace lanecall::test {

using Bytes = std::vector<unsigned char>;

// Removed with all that is in it at the end of its life.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The server's end of one connection. Sends and receives wait, with a deadline.
class Peer {
 public:
  explicit Peer(Descriptor socket) : socket_(std::move(socket)) {}

  // False when the deadline passed or the connection is over.
  bool send(std::span<const unsigned char> bytes, const Deadline& deadline);
  // As many bytes as the socket takes without waiting.
  size_t sendNow(std::span<const unsigned char> bytes);
  // Up to that many; fewer at the end or at the deadline.
  Bytes receive(size_t size, const Deadline& deadline);
  // What is there, at least one byte; 0 at the end or at the deadline.
  size_t receiveSome(std::span<unsigned char> into, const Deadline& deadline);
  // All up to the end of the connection; nothing when the deadline passed.
  std::optional<Bytes> receiveToEnd(const Deadline& deadline);
  // Did the connection end, in order or not, by the deadline? Drops bytes.
  bool waitEnd(const Deadline& deadline) {
    return receiveToEnd(deadline).has_value();
  }

  void close() { socket_.reset(); }
  // TCP: a reset goes out, whatever is under way. Unix: the same as close(),
  // which is a reset if bytes were not read.
  void abort();
  int fd() const { return socket_.get(); }

 private:
  bool wait(short events, const Deadline& deadline);
  Descriptor socket_;
};

enum class Family { kUnix, kTcp };

inline void PrintTo(Family family, std::ostream* out) {
  *out << (family == Family::kUnix ? "Unix" : "Tcp");
}

class TestServer {
 public:
  // Listens in the directory, or on a free port of 127.0.0.1.
  TestServer(Family family, const TempDir& dir, int backlog = 512);

  const std::string& rpc() const { return rpc_; }
  std::optional<Peer> accept(const Deadline& deadline);
  // Drops the connections that wait to be accepted.
  void discardPending();
  void stopListening() { listener_.reset(); }
  int listenerFd() const { return listener_.get(); }

  // For a server with a backlog of 0: takes its one place, so that whoever
  // connects next has to wait until the place is taken from the queue.
  Descriptor fillQueue();
  // Connections accepted from now on take little that is not read.
  void limitReceiveBuffers();

 private:
  Descriptor listener_;
  std::string rpc_;
};

// Sends back whatever comes, on any number of connections, from a thread of
// its own. Does not read a connection whose answer is not taken.
class EchoService {
 public:
  explicit EchoService(TestServer& server);
  ~EchoService();

 private:
  void run();
  TestServer& server_;
  Descriptor quit_;
  std::thread thread_;
};

}  // namespace lanecall::test

#endif
