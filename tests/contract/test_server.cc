// SPDX-License-Identifier: Apache-2.0
#include "test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <system_error>

#include "card_service.h"

namespace lanecall::test {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Descriptor makeSocket(Family family) {
  Descriptor fd(socket(family == Family::kUnix ? AF_UNIX : AF_INET,
                       SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) fail("socket");
  return fd;
}

bool waitFor(int fd, short events, const Deadline& deadline) {
  pollfd p{.fd = fd, .events = events, .revents = 0};
  for (;;) {
    const int n = poll(&p, 1, deadline.remainingMs());
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) fail("poll");
  }
}

}  // namespace

TempDir::TempDir() {
  std::string name =
      (std::filesystem::temp_directory_path() / "lanecall-XXXXXX").string();
  if (!mkdtemp(name.data())) fail("mkdtemp");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

// ---- Peer ------------------------------------------------------------------

namespace {

class SocketEnd final : public PeerEnd {
 public:
  explicit SocketEnd(Descriptor socket) : socket_(std::move(socket)) {}

  ssize_t trySend(std::span<const unsigned char> bytes) override {
    const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
  }
  ssize_t tryReceive(std::span<unsigned char> into) override {
    const ssize_t n =
        recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
    return n < 0 ? -errno : n;
  }
  std::vector<pollfd> waitFor(short events) override {
    return {{socket_.get(), events, 0}};
  }
  void abort() override {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  int fd() const override { return socket_.get(); }

 private:
  Descriptor socket_;
};

}  // namespace

bool Peer::wait(short events, const Deadline& deadline) {
  auto polls = end_->waitFor(events);
  for (;;) {
    if (polls.empty()) return true;
    const int n = poll(polls.data(), polls.size(), deadline.remainingMs());
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) fail("poll");
  }
}

size_t Peer::sendNow(std::span<const unsigned char> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = end_->trySend(bytes.subspan(done));
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

bool Peer::send(std::span<const unsigned char> bytes,
                const Deadline& deadline) {
  while (!bytes.empty()) {
    const ssize_t n = end_->trySend(bytes);
    if (n > 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
    } else if (n != -EAGAIN || !wait(POLLOUT, deadline)) {
      return false;
    }
  }
  return true;
}

Bytes Peer::receive(size_t size, const Deadline& deadline) {
  Bytes bytes(size);
  size_t done = 0;
  while (done < size) {
    const ssize_t n = end_->tryReceive(std::span(bytes).subspan(done));
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (n != -EAGAIN || !wait(POLLIN, deadline)) {
      break;
    }
  }
  bytes.resize(done);
  return bytes;
}

size_t Peer::receiveSome(std::span<unsigned char> into,
                         const Deadline& deadline) {
  for (;;) {
    const ssize_t n = end_->tryReceive(into);
    if (n != -EAGAIN) return n > 0 ? static_cast<size_t>(n) : 0;
    if (!wait(POLLIN, deadline)) return 0;
  }
}

std::optional<Bytes> Peer::receiveToEnd(const Deadline& deadline) {
  Bytes all, part(65536);
  for (;;) {
    const ssize_t n = end_->tryReceive(part);
    if (n > 0) {
      all.insert(all.end(), part.begin(), part.begin() + n);
    } else if (n != -EAGAIN) {
      return all;
    } else if (!wait(POLLIN, deadline)) {
      return std::nullopt;
    }
  }
}

void Peer::abort() {
  end_->abort();
  end_.reset();
}

// ---- TestServer ------------------------------------------------------------

TestServer::TestServer(Family family, const TempDir& dir, int backlog) {
  if (family == Family::kCard) {
    card_ = std::make_unique<CardService>(dir);
    rpc_ = card_->card();
    return;
  }
  listener_ = makeSocket(family);
  const int fd = listener_.get();
  if (family == Family::kUnix) {
    const std::string path = dir.file("server.sock");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    unlink(path.c_str());
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      fail("bind");
    }
    rpc_ = "unix:" + path;
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      fail("bind");
    }
    rpc_ = "tcp:127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  if (listen(fd, backlog) != 0) fail("listen");
}

TestServer::~TestServer() = default;

int TestServer::listenerFd() const {
  return card_ ? card_->arrivals() : listener_.get();
}

void TestServer::holdOffers(bool hold) { card_->holdOffers(hold); }

std::optional<Peer> TestServer::accept(const Deadline& deadline) {
  if (card_) return card_->accept(deadline);
  if (!waitFor(listener_.get(), POLLIN, deadline)) return std::nullopt;
  Descriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  return Peer(std::make_unique<SocketEnd>(std::move(fd)));
}

void TestServer::discardPending() {
  // Not a moment longer: the next to come may be waited for.
  pollfd p{.fd = listenerFd(), .events = POLLIN, .revents = 0};
  while (poll(&p, 1, 0) > 0) accept(atOnce());
}

Descriptor TestServer::fillQueue() {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
  Descriptor fd(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    fail("connect");
  }
  waitFor(listener_.get(), POLLIN, Deadline::never());
  return fd;
}

void TestServer::limitReceiveBuffers() {
  const int bytes = 65536;
  if (card_) return;  // there is nothing but the rings
  setsockopt(listener_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

EchoService::EchoService(TestServer& server)
    : server_(server),
      quit_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

EchoService::~EchoService() {
  eventfd_write(quit_.get(), 1);
  thread_.join();
}

namespace {

// One connection of the echo.
struct Echoed {
  Peer peer;
  Bytes pending{};
  bool over = false;

  // Receives or sends once; whether bytes moved.
  bool move() {
    ssize_t n;
    if (pending.empty()) {
      pending.resize(65536);
      n = peer.end().tryReceive(pending);
      pending.resize(n > 0 ? static_cast<size_t>(n) : 0);
    } else {
      n = peer.end().trySend(pending);
      if (n > 0) pending.erase(pending.begin(), pending.begin() + n);
    }
    over = n <= 0 && n != -EAGAIN;
    return n > 0;
  }
  std::vector<pollfd> waitToMove() {
    return peer.end().waitFor(pending.empty() ? POLLIN : POLLOUT);
  }
};

}  // namespace

void EchoService::run() {
  std::deque<Echoed> connections;
  for (;;) {
    std::vector<pollfd> polls{{quit_.get(), POLLIN, 0},
                              {server_.listenerFd(), POLLIN, 0}};
    bool moved = false;
    for (auto& c : connections) moved |= c.move();
    std::erase_if(connections, [](const Echoed& c) { return c.over; });
    for (auto& c : connections) {
      const auto more = c.waitToMove();
      moved |= more.empty();
      polls.insert(polls.end(), more.begin(), more.end());
    }
    if (poll(polls.data(), polls.size(), moved ? 0 : -1) < 0) continue;
    if (polls[0].revents) return;
    if (polls[1].revents) {
      if (auto peer = server_.accept(Deadline::never())) {
        connections.push_back({std::move(*peer)});
      }
    }
  }
}

}  // namespace lanecall::test
