// SPDX-License-Identifier: Apache-2.0
// The server that a device under test connects to: whoever accepts a connection
// makes its every move, so that nothing happens unasked. It is a plain socket
// server; or the card's, whose channels have their rings in card memory.
#ifndef LANECALL_TESTS_TEST_SERVER_H
#define LANECALL_TESTS_TEST_SERVER_H

#include <lanecall/deadline.h>
#include <lanecall/descriptor.h>
#include <poll.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace lanecall::test {

using Bytes = std::vector<unsigned char>;

// For what is there already.
inline Deadline atOnce() { return Deadline::in(1); }

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

// The server's end of one channel, whatever it is made of. Never waits. At the
// end of its life the channel is ended in order.
class PeerEnd {
 public:
  virtual ~PeerEnd() = default;

  // Bytes moved, at least one; -EAGAIN; -errno; 0 at the end of what comes.
  virtual ssize_t trySend(std::span<const unsigned char> bytes) = 0;
  virtual ssize_t tryReceive(std::span<unsigned char> into) = 0;
  // What to poll until one of these (POLLIN, POLLOUT) may have become possible;
  // nothing if it may be already.
  virtual std::vector<pollfd> waitFor(short events) = 0;
  // Ends it with a reset.
  virtual void abort() = 0;
  virtual int fd() const { return -1; }
};

// The server's end of one channel. Sends and receives wait, with a deadline.
class Peer {
 public:
  explicit Peer(std::unique_ptr<PeerEnd> end) : end_(std::move(end)) {}

  // False when the deadline passed or the connection is over.
  bool send(std::span<const unsigned char> bytes, const Deadline& deadline);
  // As many bytes as it takes without waiting.
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

  void close() { end_.reset(); }
  // TCP and the card: a reset goes out, whatever is under way. Unix: the same
  // as close(), which is a reset if bytes were not read.
  void abort();
  int fd() const { return end_->fd(); }  // of a socket
  PeerEnd& end() { return *end_; }

 private:
  bool wait(short events, const Deadline& deadline);
  std::unique_ptr<PeerEnd> end_;
};

// What bytes go through: a socket of that family, or rings in card memory.
enum class Family { kUnix, kTcp, kCard };

inline void PrintTo(Family family, std::ostream* out) {
  constexpr const char* kNames[] = {"Unix", "Tcp", "Card"};
  *out << kNames[static_cast<int>(family)];
}

class CardService;

class TestServer {
 public:
  // Listens in the directory, or on a free port of 127.0.0.1.
  TestServer(Family family, const TempDir& dir, int backlog = 512);
  ~TestServer();

  // What the device's property rpc= is to be; for the card's server, card=.
  const std::string& rpc() const { return rpc_; }
  std::optional<Peer> accept(const Deadline& deadline);
  // Drops the connections that wait to be accepted.
  void discardPending();
  void stopListening() { listener_.reset(); }

  // Readable: there is a connection to be accepted.
  int listenerFd() const;

  // For a server with a backlog of 0: takes its one place, so that whoever
  // connects next has to wait until the place is taken from the queue.
  Descriptor fillQueue();
  // Connections accepted from now on take little that is not read.
  void limitReceiveBuffers();
  // The card's: leaves the device's offers without an answer while set.
  void holdOffers(bool hold);

 private:
  Descriptor listener_;
  std::unique_ptr<CardService> card_;
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
