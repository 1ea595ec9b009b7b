// SPDX-License-Identifier: Apache-2.0
#include "card_firmware.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "test_server.h"

namespace lanecall::test {
namespace {

constexpr size_t kMostDescriptors = 8;

bool readable(int fd, const Deadline& deadline) {
  pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&p, 1, deadline.remainingMs()) > 0;
}

}  // namespace

lanecall_card_frame firmwareFrame(uint32_t type, uint64_t id, uint32_t error) {
  lanecall_card_frame frame{};
  frame.type = type;
  frame.channel = id;
  frame.error = error;
  return frame;
}

lanecall_card_frame firmwareWelcome() {
  lanecall_card_frame frame = firmwareFrame(LANECALL_CARD_WELCOME, 0);
  frame.greeting.magic = LANECALL_CARD_MAGIC;
  frame.greeting.version = LANECALL_CARD_VERSION;
  return frame;
}

lanecall_card_frame firmwarePlaced(uint64_t id, const lanecall_places& places) {
  lanecall_card_frame frame = firmwareFrame(LANECALL_CARD_PLACED, id);
  frame.placed = places;
  return frame;
}

// ---- FirmwareSession -------------------------------------------------------

FirmwareSession::~FirmwareSession() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

bool FirmwareSession::takeHello(const Deadline& deadline) {
  auto hello = receive(deadline);
  if (!hello || hello->frame.type != LANECALL_CARD_HELLO ||
      hello->descriptors.size() != 1) {
    return false;
  }
  hello_ = std::move(*hello);
  const uint64_t bytes = hello_.frame.greeting.card_bytes;
  void* map =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memoryFd(), 0);
  if (map == MAP_FAILED) return false;
  memory_ = {static_cast<unsigned char*>(map), bytes};
  return true;
}

std::optional<FirmwareFrame> FirmwareSession::receive(
    const Deadline& deadline) {
  if (!readable(fd(), deadline)) return std::nullopt;
  FirmwareFrame got;
  iovec part{&got.frame, sizeof got.frame};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t n = recvmsg(fd(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  const cmsghdr* header = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header && header->cmsg_type == SCM_RIGHTS) {
    const auto* fds = reinterpret_cast<const int*>(CMSG_DATA(header));
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) got.descriptors.emplace_back(fds[i]);
  }
  if (n != sizeof got.frame) return std::nullopt;
  return got;
}

bool FirmwareSession::send(const lanecall_card_frame& frame) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&frame);
  return sendPacket({bytes, sizeof frame});
}

bool FirmwareSession::sendPacket(std::span<const unsigned char> bytes,
                                 std::span<const int> descriptors) {
  iovec part{const_cast<unsigned char*>(bytes.data()), bytes.size()};
  alignas(
      cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(),
                descriptors.size_bytes());
  }
  return sendmsg(fd(), &message, MSG_NOSIGNAL) >= 0;
}

bool FirmwareSession::waitEnd(const Deadline& deadline) {
  if (!socket_.valid()) return true;  // we did
  for (;;) {
    if (!readable(fd(), deadline)) return false;
    char dropped[sizeof(lanecall_card_frame)];
    const ssize_t n = recv(fd(), dropped, sizeof dropped, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return true;
  }
}

// ---- FirmwareListener ------------------------------------------------------

FirmwareListener::FirmwareListener(const TempDir& dir)
    : path_(dir.file("card.sock")) {
  listen();
}

void FirmwareListener::listen() {
  const auto fail = [](const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
  };
  Descriptor fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  unlink(path_.c_str());
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) !=
      0) {
    fail("bind");
  }
  if (::listen(fd.get(), 8) != 0) fail("listen");
  listener_ = std::move(fd);
}

std::unique_ptr<FirmwareSession> FirmwareListener::accept(
    const Deadline& deadline) {
  if (!readable(fd(), deadline)) return nullptr;
  Descriptor socket(accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) return nullptr;
  return std::make_unique<FirmwareSession>(std::move(socket));
}

// ---- FirmwareChannel -------------------------------------------------------

namespace {

// Copies between a ring's bytes from own on and a plain block.
template <typename Copy>
void walk(const lanecall_ring& ring, size_t bytes, Copy copy) {
  const size_t offset = lanecall_ring_offset(&ring, ring.own);
  const size_t first = std::min<size_t>(bytes, ring.size - offset);
  copy(offset, size_t{0}, first);
  copy(size_t{0}, first, bytes - first);
}

}  // namespace

FirmwareChannel::FirmwareChannel(const FirmwareSession& session,
                                 const lanecall_card_place& wanted,
                                 const lanecall_places& places,
                                 Descriptor doorbell, Descriptor interrupt)
    : index_(reinterpret_cast<lanecall_index_page*>(
          &session.memory()[places.index])),
      tx_bytes_(session.memory().subspan(places.tx, wanted.tx_bytes)),
      rx_bytes_(session.memory().subspan(places.rx, wanted.rx_bytes)),
      doorbell_(std::move(doorbell)),
      interrupt_(std::move(interrupt)) {
  lanecall_ring_init(&tx_, &index_->tx_producer, &index_->tx_consumer,
                     wanted.tx_bytes);
  lanecall_ring_init(&rx_, &index_->rx_producer, &index_->rx_consumer,
                     wanted.rx_bytes);
}

__s64 FirmwareChannel::trySend(std::span<const unsigned char> bytes) {
  const __s64 space = lanecall_ring_space(&rx_);
  if (space <= 0 || bytes.empty()) return std::min<__s64>(space, 0);
  const auto n =
      static_cast<uint32_t>(std::min(static_cast<size_t>(space), bytes.size()));
  walk(rx_, n, [&](size_t at, size_t from, size_t count) {
    std::memcpy(&rx_bytes_[at], bytes.data() + from, count);
  });
  if (lanecall_ring_publish(&rx_, n)) interruptDriver();
  return n;
}

__s64 FirmwareChannel::tryReceive(std::span<unsigned char> into) {
  const __s64 held = lanecall_ring_look(&tx_);
  if (held <= 0 || into.empty()) return std::min<__s64>(held, 0);
  const auto n =
      static_cast<uint32_t>(std::min(static_cast<size_t>(held), into.size()));
  walk(tx_, n, [&](size_t at, size_t to, size_t count) {
    std::memcpy(into.data() + to, &tx_bytes_[at], count);
  });
  if (lanecall_ring_release(&tx_, n)) interruptDriver();
  return n;
}

__s64 FirmwareChannel::armSend() {
  return lanecall_ring_arm_space(&rx_, rx_.size / 2);
}

void FirmwareChannel::clearDoorbell() {
  uint64_t count;
  while (read(doorbell(), &count, sizeof count) == sizeof count) {
  }
}

bool FirmwareChannel::waitDoorbell(const Deadline& deadline) {
  if (!readable(doorbell(), deadline)) return false;
  clearDoorbell();
  return true;
}

void FirmwareChannel::interruptDriver() { eventfd_write(interrupt_.get(), 1); }

}  // namespace lanecall::test
