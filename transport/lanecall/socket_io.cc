// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/socket_io.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace lanecall {
namespace {

Descriptor streamSocket(int family) {
  return Descriptor(
      ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Calls are small messages that are waited for: never hold one back.
void setNoDelay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool is_no_socket(const std::string& path) {
  struct stat file;
  return ::stat(path.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode);
}

}  // namespace

SocketIo::SocketIo(Uri uri) : uri_(std::move(uri)) { name_ = uri_.str(); }

SocketIo::SocketIo(Descriptor accepted, std::string peer)
    : uri_{Uri::Scheme::kUnix, {}, 0, {}}, name_(std::move(peer)) {
  int flags = ::fcntl(accepted.get(), F_GETFL);
  if (flags < 0 || ::fcntl(accepted.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    throw std::system_error(errno, std::generic_category(), name_);
  setNoDelay(accepted.get());
  if (int error = adopt(std::move(accepted)))
    throw std::system_error(-error, std::generic_category(), name_);
}

int SocketIo::open() {
  return uri_.scheme == Uri::Scheme::kUnix ? openUnix() : openTcp();
}

int SocketIo::openUnix() {
  Descriptor fd = streamSocket(AF_UNIX);
  if (!fd.valid()) return -errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // parseUri has checked the length.
  std::memcpy(address.sun_path, uri_.path.data(), uri_.path.size());
  connecting_ = false;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof address) < 0) {
    const int error = errno;
    // Refused, too, by what never was a socket.
    return error == ECONNREFUSED && is_no_socket(uri_.path) ? -ENOTSOCK
                                                            : -error;
  }
  return adopt(std::move(fd));
}

int SocketIo::failLookup(int error) {
  if (error == EAI_SYSTEM) return -errno;
  if (error == EAI_MEMORY) return -ENOMEM;
  reason_ = uri_.host + ": " + ::gai_strerror(error);
  return -EADDRNOTAVAIL;
}

int SocketIo::openTcp() {
  reason_.clear();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(uri_.host.c_str(),
                            std::to_string(uri_.port).c_str(), &hints, &found);
  if (error == EAI_NONAME || error == EAI_ADDRFAMILY) {
    // AI_ADDRCONFIG ignores loopback: a machine without any other address
    // must still reach itself.
    hints.ai_flags = AI_NUMERICSERV;
    error = ::getaddrinfo(uri_.host.c_str(), std::to_string(uri_.port).c_str(),
                          &hints, &found);
  }
  if (error) return failLookup(error);
  addresses_.reset(found, ::freeaddrinfo);
  next_ = found;
  int outcome = connectNext();
  if (outcome < 0) close();
  return outcome;
}

// Starts with the first address that does not fail at once.
int SocketIo::connectNext() {
  int outcome = -EADDRNOTAVAIL;
  while (next_) {
    const addrinfo* address = next_;
    next_ = next_->ai_next;
    Descriptor fd = streamSocket(address->ai_family);
    if (!fd.valid()) {
      outcome = -errno;
      continue;
    }
    setNoDelay(fd.get());
    connecting_ = true;
    if (::connect(fd.get(), address->ai_addr, address->ai_addrlen) == 0)
      connecting_ = false;
    else if (errno != EINPROGRESS && errno != EINTR) {
      outcome = -errno;
      continue;
    }
    // A later address keeps the eventfd, and with it an interrupt().
    if (isOpen()) {
      replace(std::move(fd));
      return 0;
    }
    return adopt(std::move(fd));
  }
  return outcome;
}

int SocketIo::status() {
  if (!connecting_) return 0;
  pollfd wait = {fd(), POLLOUT, 0};
  int ready = ::poll(&wait, 1, 0);
  if (ready < 0) return errno == EINTR ? -EINPROGRESS : -errno;
  if (ready == 0) return -EINPROGRESS;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd(), SOL_SOCKET, SO_ERROR, &error, &size) < 0)
    return -errno;
  if (error == 0) {
    connecting_ = false;
    return 0;
  }
  if (next_ && connectNext() == 0) return connecting_ ? -EINPROGRESS : 0;
  return -error;
}

ssize_t SocketIo::read(void* data, std::size_t size) {
  ssize_t got = ::recv(fd(), data, size, 0);
  return got < 0 ? -errno : got;
}

ssize_t SocketIo::write(const void* data, std::size_t size) {
  ssize_t put = ::send(fd(), data, size, MSG_NOSIGNAL);
  return put < 0 ? -errno : put;
}

}  // namespace lanecall
