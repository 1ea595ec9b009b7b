// SPDX-License-Identifier: Apache-2.0
#include "card_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace lanecall::test {
namespace {

constexpr int kBacklog = 16;
constexpr size_t kMostDescriptors = 8;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

bool waitReadable(int fd, const Deadline& deadline) {
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&p, 1, deadline.remainingMs()) > 0;
}

bool isNow(int fd, short event) {
  pollfd p{.fd = fd, .events = event, .revents = 0};
  return poll(&p, 1, 0) > 0;
}

sockaddr_un addressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw std::runtime_error("the path is too long: " + path);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(kMostDescriptors * sizeof(int))];
};

std::vector<Descriptor> takeDescriptors(msghdr& message) {
  std::vector<Descriptor> taken;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      taken.emplace_back(fd);
    }
  }
  return taken;
}

}  // namespace

lanecall_card_frame cardFrame(uint32_t type, uint64_t id, uint32_t error) {
  lanecall_card_frame frame{};
  frame.type = type;
  frame.error = error;
  frame.channel = id;
  return frame;
}

lanecall_card_frame cardPlaced(uint64_t id, const lanecall_places& places) {
  lanecall_card_frame frame = cardFrame(LANECALL_CARD_PLACED, id);
  frame.placed = places;
  return frame;
}

lanecall_card_frame cardWelcome(uint64_t features) {
  lanecall_card_frame frame = cardFrame(LANECALL_CARD_WELCOME, 0);
  frame.greeting.magic = LANECALL_CARD_MAGIC;
  frame.greeting.version = LANECALL_CARD_VERSION;
  frame.greeting.features = features;
  return frame;
}

// ---- CardSession -----------------------------------------------------------

std::optional<CardFrame> CardSession::receive(const Deadline& deadline) {
  CardFrame received;
  iovec iov{.iov_base = &received.frame, .iov_len = sizeof received.frame};
  Control control;
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  if (!waitReadable(socket_.get(), deadline)) return std::nullopt;
  const ssize_t n = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (n != sizeof received.frame) return std::nullopt;
  received.descriptors = takeDescriptors(message);
  return received;
}

std::optional<std::vector<unsigned char>> CardSession::receivePacket(
    const Deadline& deadline) {
  std::vector<unsigned char> bytes(LANECALL_CARD_PACKET_MAX);
  if (!waitReadable(socket_.get(), deadline)) return std::nullopt;
  const ssize_t n = recv(socket_.get(), bytes.data(), bytes.size(), MSG_TRUNC);
  if (n <= 0 || static_cast<size_t>(n) > bytes.size()) return std::nullopt;
  bytes.resize(static_cast<size_t>(n));
  return bytes;
}

uint32_t CardSession::peekType(const Deadline& deadline) {
  uint32_t type;
  const bool there =
      waitReadable(socket_.get(), deadline) &&
      recv(socket_.get(), &type, sizeof type, MSG_PEEK) == sizeof type;
  return there ? type : 0;
}

bool CardSession::send(const lanecall_card_frame& frame) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&frame);
  return sendPacket({bytes, sizeof frame});
}

bool CardSession::sendPacket(std::span<const unsigned char> bytes,
                             std::span<const int> descriptors) {
  iovec iov{.iov_base = const_cast<unsigned char*>(bytes.data()),
            .iov_len = bytes.size()};
  Control control{};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(&control.header), descriptors.data(),
                descriptors.size_bytes());
  }
  return sendmsg(socket_.get(), &message, MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

bool CardSession::waitEnd(const Deadline& deadline) {
  lanecall_card_frame frame;
  for (;;) {
    if (!waitReadable(socket_.get(), deadline)) return false;
    if (recv(socket_.get(), &frame, sizeof frame, 0) <= 0) return true;
  }
}

bool CardSession::ended() {
  char byte;
  return recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

bool CardSession::isReadable() const { return isNow(socket_.get(), POLLIN); }

bool CardSession::isWritable() const { return isNow(socket_.get(), POLLOUT); }

bool CardSession::takeHello(const Deadline& deadline) {
  auto hello = receive(deadline);
  if (!hello || hello->type() != LANECALL_CARD_HELLO ||
      hello->descriptors.size() != 1) {
    return false;
  }
  hello_ = std::move(*hello);
  memory_ = SharedMemory(memoryFd());
  return true;
}

// ---- CardServer ------------------------------------------------------------

CardServer::CardServer(const TempDir& dir)
    : path_(dir.file("card.sock")), card_("unix:" + path_) {
  listen();
}

void CardServer::listen() {
  const sockaddr_un address = addressOf(path_);
  listener_.reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!listener_.valid()) fail("socket");
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address),
           sizeof address) != 0) {
    fail("bind");
  }
  if (::listen(listener_.get(), kBacklog) != 0) fail("listen");
}

void CardServer::stopListening() {
  listener_.reset();
  unlink(path_.c_str());
}

bool CardServer::isReadable() const { return isNow(listener_.get(), POLLIN); }

std::optional<CardSession> CardServer::accept(const Deadline& deadline) {
  if (!waitReadable(listener_.get(), deadline)) return std::nullopt;
  Descriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) return std::nullopt;
  return CardSession(std::move(socket));
}

CardSession CardServer::session(const Deadline& deadline, uint64_t features) {
  auto session = accept(deadline);
  if (!session || !session->greet(deadline, features)) {
    throw std::runtime_error("the device begins no session");
  }
  return std::move(*session);
}

}  // namespace lanecall::test
