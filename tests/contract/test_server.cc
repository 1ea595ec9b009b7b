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

bool Peer::wait(short events, const Deadline& deadline) {
  return waitFor(socket_.get(), events, deadline);
}

size_t Peer::sendNow(std::span<const unsigned char> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::send(socket_.get(), bytes.data() + done,
                             bytes.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

bool Peer::send(std::span<const unsigned char> bytes,
                const Deadline& deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
    } else if (errno != EAGAIN || !wait(POLLOUT, deadline)) {
      return false;
    }
  }
  return true;
}

Bytes Peer::receive(size_t size, const Deadline& deadline) {
  Bytes bytes(size);
  size_t done = 0;
  while (done < size) {
    const ssize_t n =
        recv(socket_.get(), bytes.data() + done, size - done, MSG_DONTWAIT);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (n == 0 || errno != EAGAIN || !wait(POLLIN, deadline)) {
      break;
    }
  }
  bytes.resize(done);
  return bytes;
}

size_t Peer::receiveSome(std::span<unsigned char> into,
                         const Deadline& deadline) {
  if (!wait(POLLIN, deadline)) return 0;
  const ssize_t n = recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

std::optional<Bytes> Peer::receiveToEnd(const Deadline& deadline) {
  Bytes all;
  for (;;) {
    unsigned char part[65536];
    const ssize_t n = recv(socket_.get(), part, sizeof part, MSG_DONTWAIT);
    if (n > 0) {
      all.insert(all.end(), part, part + n);
    } else if (n == 0 || errno != EAGAIN) {
      return all;
    } else if (!wait(POLLIN, deadline)) {
      return std::nullopt;
    }
  }
}

void Peer::abort() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  socket_.reset();
}

TestServer::TestServer(Family family, const TempDir& dir, int backlog)
    : listener_(makeSocket(family)) {
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

std::optional<Peer> TestServer::accept(const Deadline& deadline) {
  if (!waitFor(listener_.get(), POLLIN, deadline)) return std::nullopt;
  Descriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  return Peer(std::move(fd));
}

void TestServer::discardPending() {
  pollfd p{.fd = listener_.get(), .events = POLLIN, .revents = 0};
  while (poll(&p, 1, 0) > 0) {
    Descriptor dropped(
        accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
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

void EchoService::run() {
  struct Connection {
    Peer peer;
    Bytes pending;
    bool over = false;
  };
  std::deque<Connection> connections;
  for (;;) {
    std::vector<pollfd> polls{{quit_.get(), POLLIN, 0},
                              {server_.listenerFd(), POLLIN, 0}};
    for (auto& c : connections) {
      const short events = c.pending.empty() ? POLLIN : POLLOUT;
      polls.push_back({c.peer.fd(), events, 0});
    }
    if (poll(polls.data(), polls.size(), -1) < 0) continue;
    if (polls[0].revents) return;
    for (size_t i = 0; i < connections.size(); ++i) {
      if (!polls[i + 2].revents) continue;
      Connection& c = connections[i];
      if (c.pending.empty()) {
        c.pending.resize(65536);
        const ssize_t n =
            recv(c.peer.fd(), c.pending.data(), c.pending.size(), MSG_DONTWAIT);
        c.over = n == 0 || (n < 0 && errno != EAGAIN);
        c.pending.resize(n > 0 ? static_cast<size_t>(n) : 0);
      }
      const size_t sent = c.peer.sendNow(c.pending);
      c.over |= sent == 0 && (polls[i + 2].revents & (POLLHUP | POLLERR));
      c.pending.erase(c.pending.begin(),
                      c.pending.begin() + static_cast<ptrdiff_t>(sent));
    }
    std::erase_if(connections, [](const Connection& c) { return c.over; });
    if (polls[1].revents) {
      if (auto peer = server_.accept(Deadline::never())) {
        connections.push_back({std::move(*peer), {}});
      }
    }
  }
}

}  // namespace lanecall::test
