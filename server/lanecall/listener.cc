// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/deadline.h>
#include <lanecall/listener.h>
#include <lanecall/socket_io.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace lanecall {
namespace {

constexpr int kBacklog = 1024;

// A server holds a folder's lock for a few system calls.
constexpr int kLockTimeoutMs = 1000;
constexpr auto kLockRetry = std::chrono::milliseconds(5);

[[noreturn]] void fail(const Uri& uri, const std::string& what,
                       const std::string& remedy) {
  throw std::runtime_error(uri.str() + ": cannot listen: " + what + "; " +
                           remedy);
}

[[noreturn]] void failErrno(const Uri& uri, int error) {
  const char* remedy = "choose another address";
  if (error == EADDRINUSE)
    remedy = uri.scheme == Uri::Scheme::kTcp
                 ? "stop the program that listens there, or use port 0 for a "
                   "free one"
                 : "stop the program that listens there, or choose another "
                   "path";
  else if (error == EACCES || error == EPERM)
    remedy = "choose a place this user may write, or a port above 1023";
  else if (error == ENOENT || error == ENOTDIR)
    remedy = "create the folder first";
  fail(uri, std::generic_category().message(error), remedy);
}

sockaddr_un unixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Refused means that its listener is gone; any other answer that it is not.
bool is_stale_socket(const sockaddr_un& address, int type) {
  Descriptor probe(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe.valid() &&
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address) < 0 &&
         errno == ECONNREFUSED;
}

// Locks the folder of a socket, against another server that is between finding
// a socket stale and listening at its own. Not where a folder cannot be locked,
// as on some network file systems: then bind() alone decides.
//
// No lock of Linux waits with a bound, short of a signal, which is not a
// library's to use; so it is asked for again and again, and nearly always had
// at once.
Descriptor lockFolder(const Uri& uri) {
  std::string folder = std::filesystem::path(uri.path).parent_path();
  if (folder.empty()) folder = ".";
  Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Deadline deadline = Deadline::in(kLockTimeoutMs);
  while (lock.valid() && ::flock(lock.get(), LOCK_EX | LOCK_NB) < 0 &&
         (errno == EWOULDBLOCK || errno == EINTR)) {
    if (deadline.passed())
      fail(uri, "another program keeps " + folder + " locked",
           "end it, or choose another folder");
    std::this_thread::sleep_for(kLockRetry);
  }
  return lock;
}

// Who connected.
bool is_known(int fd, ucred* peer) {
  socklen_t size = sizeof *peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) == 0;
}

std::uint16_t boundPort(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0)
    return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

}  // namespace

Listener::Listener(const Uri& uri, SocketAccess access, int type)
    : uri_(uri), access_(std::move(access)), type_(type) {
  switch (uri.scheme) {
    case Uri::Scheme::kTcp:
      if (!access_.uids.empty())
        fail(uri, "TCP does not tell whose a connection is",
             "listen at unix:/path, or leave out --allow-uid");
      listenTcp();
      break;
    case Uri::Scheme::kUnix:
      listenUnix();
      break;
    default:
      fail(
          uri, "a server does not listen at a device",
          "listen at unix:/path or tcp:host:port and give that to the device's "
          "rpc=");
  }
}

Listener::~Listener() {
  struct stat now;
  if (uri_.scheme == Uri::Scheme::kUnix && socket_.valid() &&
      ::lstat(uri_.path.c_str(), &now) == 0 && is_same_file(now, file_))
    ::unlink(uri_.path.c_str());
}

void Listener::listenTcp() {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (int error = ::getaddrinfo(
          uri_.host.c_str(), std::to_string(uri_.port).c_str(), &hints, &found))
    fail(uri_, uri_.host + ": " + ::gai_strerror(error),
         "correct the host name, or how this machine looks it up");
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found,
                                                           ::freeaddrinfo);
  int error = EADDRNOTAVAIL;
  for (const addrinfo* a = found; a; a = a->ai_next) {
    Descriptor fd(
        ::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    if (fd.valid() &&
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        ::bind(fd.get(), a->ai_addr, a->ai_addrlen) == 0 &&
        ::listen(fd.get(), kBacklog) == 0) {
      uri_.port = boundPort(fd.get());
      socket_ = std::move(fd);
      return;
    }
    error = errno;
  }
  failErrno(uri_, error);
}

void Listener::listenUnix() {
  const Descriptor lock = lockFolder(uri_);  // until it listens
  const sockaddr_un address = unixAddress(uri_.path);
  struct stat old;
  if (::lstat(uri_.path.c_str(), &old) == 0) {
    if (!S_ISSOCK(old.st_mode))
      fail(uri_, "a file that is no socket is there", "choose another path");
    if (!is_stale_socket(address, type_)) failErrno(uri_, EADDRINUSE);
    ::unlink(uri_.path.c_str());
  }
  Descriptor fd(::socket(AF_UNIX, type_ | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() || bindFile(fd) < 0 || ::listen(fd.get(), kBacklog) < 0)
    failErrno(uri_, errno);
  socket_ = std::move(fd);
}

// The file is made with the socket's own mode, less what umask takes, which is
// given back then.
int Listener::bindFile(const Descriptor& socket) {
  const sockaddr_un address = unixAddress(uri_.path);
  if (::fchmod(socket.get(), access_.mode) < 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
             sizeof address) < 0 ||
      ::lstat(uri_.path.c_str(), &file_) < 0)
    return -1;
  if ((file_.st_mode & ALLPERMS) == access_.mode ||
      ::chmod(uri_.path.c_str(), access_.mode) == 0)
    return 0;
  const int error = errno;
  ::unlink(uri_.path.c_str());
  errno = error;
  return -1;
}

std::string Listener::peerName(int fd) const {
  if (uri_.scheme == Uri::Scheme::kUnix) {
    ucred peer{};
    return is_known(fd, &peer) ? "pid:" + std::to_string(peer.pid) : "unix";
  }
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::getpeername(fd, generic, &size) < 0 ||
      ::getnameinfo(generic, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
    return "tcp";
  return Uri{
      Uri::Scheme::kTcp, host, static_cast<std::uint16_t>(std::stoi(port)), {}}
      .str();
}

Descriptor Listener::acceptSocket(int* error) {
  Descriptor fd(
      ::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    *error = -errno;
  } else if (!is_allowed(fd)) {
    *error = -EACCES;
    fd.reset();
  }
  return fd;
}

bool Listener::is_allowed(const Descriptor& socket) {
  if (access_.uids.empty()) return true;
  ucred peer{};
  const bool known = is_known(socket.get(), &peer);
  if (known && std::find(access_.uids.begin(), access_.uids.end(), peer.uid) !=
                   access_.uids.end())
    return true;
  denied_ = peerName(socket.get()) +
            " uid=" + (known ? std::to_string(peer.uid) : "unknown");
  return false;
}

std::unique_ptr<ChannelIo> Listener::accept(int* error) {
  Descriptor fd = acceptSocket(error);
  if (!fd.valid()) return nullptr;
  try {
    std::string peer = peerName(fd.get());
    return std::make_unique<SocketIo>(std::move(fd), std::move(peer));
  } catch (const std::system_error& failure) {
    *error = -failure.code().value();
    return nullptr;
  }
}

}  // namespace lanecall
