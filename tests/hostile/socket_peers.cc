// SPDX-License-Identifier: Apache-2.0
#include "socket_peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace lanecall::test {
namespace {

// Far longer than any machine needs: only a bug gets here.
constexpr int kPatienceMs = 60'000;

// Of streams, those that end with a reset.
constexpr std::uint64_t kResetsOneIn = 16;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void connectAt(int fd, const sockaddr* address, socklen_t bytes) {
  while (::connect(fd, address, bytes) < 0)
    if (errno != EINTR) fail("connect");
}

// No farewell: what was not read is lost.
void resetOnClose(int fd) {
  const linger none{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

// The server's choice to end a connection is not a failure.
bool isGone(int error) { return error == EPIPE || error == ECONNRESET; }

struct Peer {
  Descriptor socket;
  const std::string* stream;
  std::size_t sent = 0;
  bool resets = false;
  bool saidAll = false;

  // Those that will break the connection do not read either.
  short wants() const {
    return static_cast<short>((resets ? 0 : POLLIN) | (saidAll ? 0 : POLLOUT));
  }

  // False once it is over.
  bool turn(short events) {
    if ((events & POLLOUT) && !send()) return false;
    if ((events & (POLLIN | POLLHUP | POLLERR)) && !receive()) return false;
    return isThere();
  }

  bool send() {
    if (sent == stream->size()) return true;
    const ssize_t put =
        ::send(socket.get(), stream->data() + sent, stream->size() - sent,
               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && isGone(errno)) return false;
    if (put < 0 && errno != EAGAIN && errno != EINTR) fail("send");
    if (put > 0) sent += static_cast<std::size_t>(put);
    return true;
  }

  bool receive() {
    std::array<char, 65536> bytes;
    const ssize_t got =
        ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && isGone(errno))) return false;
    if (got < 0 && errno != EAGAIN && errno != EINTR) fail("recv");
    return true;
  }

  // All was sent: it goes, or says that it has said all.
  bool isThere() {
    if (sent < stream->size() || saidAll) return true;
    if (resets) return false;
    saidAll = true;
    ::shutdown(socket.get(), SHUT_WR);
    return true;
  }
};

}  // namespace

Descriptor connectTo(const Uri& server) {
  const bool isUnix = server.scheme == Uri::Scheme::kUnix;
  Descriptor fd(
      ::socket(isUnix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) fail("socket");
  if (isUnix) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    server.path.copy(at.sun_path, sizeof at.sun_path - 1);
    connectAt(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at);
  } else {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(server.port);
    if (::inet_pton(AF_INET, server.host.c_str(), &at.sin_addr) != 1)
      throw std::invalid_argument(server.host + " is no address of IPv4");
    connectAt(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at);
  }
  return fd;
}

bool sendAll(const Descriptor& socket, const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t put = ::send(socket.get(), bytes.data() + sent,
                               bytes.size() - sent, MSG_NOSIGNAL);
    if (put < 0 && isGone(errno)) return false;
    if (put < 0 && errno != EINTR) fail("send");
    if (put > 0) sent += static_cast<std::size_t>(put);
  }
  return true;
}

void awaitEnd(const Descriptor& socket) {
  for (;;) {
    pollfd wait{socket.get(), POLLIN, 0};
    char bytes[512];
    if (::poll(&wait, 1, kPatienceMs) == 0)
      throw std::runtime_error("the server does not end a connection");
    const ssize_t got = ::recv(socket.get(), bytes, sizeof bytes, 0);
    if (got == 0 || (got < 0 && isGone(errno))) return;
    if (got < 0 && errno != EINTR) fail("recv");
  }
}

void sendBurst(const Uri& server, const std::vector<std::string>& streams,
               Random& random) {
  std::list<Peer> peers;
  for (const std::string& stream : streams) {
    peers.push_back({connectTo(server), &stream});
    peers.back().resets = random.below(kResetsOneIn) == 0;
    if (peers.back().resets) resetOnClose(peers.back().socket.get());
  }
  while (!peers.empty()) {
    std::vector<pollfd> waits;
    for (const Peer& peer : peers)
      waits.push_back({peer.socket.get(), peer.wants(), 0});
    const int ready = ::poll(waits.data(), waits.size(), kPatienceMs);
    if (ready < 0 && errno != EINTR) fail("poll");
    if (ready == 0)
      throw std::runtime_error(server.str() +
                               ": the server neither answers nor closes");
    auto wait = waits.begin();
    std::erase_if(peers, [&](Peer& peer) {
      const short events = (wait++)->revents;
      return events && !peer.turn(events);
    });
  }
}

void flood(const Uri& server, std::size_t connections,
           const std::string& message, Random& random) {
  std::vector<Descriptor> all;
  for (std::size_t i = 0; i < connections; ++i) {
    all.push_back(connectTo(server));
    if (random.below(2))
      ::send(all.back().get(), message.data(), message.size(),
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (random.below(2)) resetOnClose(all.back().get());
  }
}

void Loiterers::arrive() {
  all_.push_back({connectTo(server_), message_(), 0});
  // Most of it at once, so that there is something to be remembered.
  Loiterer& one = all_.back();
  one.sent = one.message.size() - one.message.size() / 4;
  if (::send(one.socket.get(), one.message.data(), one.sent,
             MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
    all_.pop_back();
}

// False when the server has ended it.
bool Loiterers::trickle(Loiterer& one) {
  char byte;
  const ssize_t got = ::recv(one.socket.get(), &byte, 1, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (one.sent == one.message.size()) return true;
  return ::send(one.socket.get(), &one.message[one.sent++], 1,
                MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
}

void Loiterers::turn() {
  std::erase_if(all_, [](Loiterer& one) { return !trickle(one); });
  while (all_.size() < count_) arrive();
}

}  // namespace lanecall::test
