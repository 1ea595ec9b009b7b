// SPDX-License-Identifier: Apache-2.0
#include "fake_card_port.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lanecall::test {
namespace {

constexpr int kGreetingMs = 5000;
constexpr char kName[] = "fake";

}  // namespace

FakeCardPort::FakeCardPort(FakeCardPortHost& host, const std::string& card,
                           uint64_t card_bytes, unsigned channels)
    : host_(host),
      address_(card, SOCK_SEQPACKET),
      channels_(channels),
      memory_(card_bytes) {}

// ---- The session -----------------------------------------------------------

bool FakeCardPort::connect() {
  if (state_ != State::kNone) return true;
  auto [socket, error] = address_.connect();
  if (error) return false;  // the next open tries again
  socket_ = std::move(socket);
  state_ = State::kGreeting;
  first_id_ = next_id_;
  host_.watchCard(socket_.get());
  host_.setGreetingTimer(kGreetingMs);

  lanecall_card_frame hello{};
  hello.type = LANECALL_CARD_HELLO;
  hello.greeting.magic = LANECALL_CARD_MAGIC;
  hello.greeting.version = LANECALL_CARD_VERSION;
  hello.greeting.card_bytes = memory_.bytes().size();
  hello.greeting.channels = channels_;
  std::memcpy(hello.greeting.device, kName, sizeof kName);
  sendWith(hello, {memory_.fd()});
  return true;
}

void FakeCardPort::drop() {
  host_.setGreetingTimer(0);
  host_.watchCard(-1);
  socket_.reset();
  state_ = State::kNone;
  host_.sessionEnds();
}

void FakeCardPort::greetingTimedOut() {
  if (state_ == State::kGreeting) drop();
}

// ---- To the server ---------------------------------------------------------

uint64_t FakeCardPort::offer(const lanecall_card_offer& offer, int doorbell,
                             int interrupt) {
  lanecall_card_frame frame{};
  frame.type = LANECALL_CARD_OFFER;
  frame.channel = next_id_;
  frame.offer = offer;
  sendWith(frame, {doorbell, interrupt});
  return next_id_++;
}

void FakeCardPort::send(uint32_t type, uint64_t id, lanecall_card_frame frame) {
  frame.type = type;
  frame.channel = id;
  sendWith(frame, {});
}

// Never waits. A server that reads so little that this does not fit is not
// served any more; socketReady() finds that out, as it finds one that is gone.
void FakeCardPort::sendWith(const lanecall_card_frame& frame,
                            std::initializer_list<int> descriptors) {
  iovec part{const_cast<lanecall_card_frame*>(&frame), sizeof frame};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptors.size() > 0) {
    const size_t bytes = descriptors.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::copy(descriptors.begin(), descriptors.end(),
              reinterpret_cast<int*>(CMSG_DATA(header)));
  }
  if (sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    shutdown(socket_.get(), SHUT_RDWR);
  }
}

// ---- From the server -------------------------------------------------------

namespace {

// One packet; there is no room for descriptors, so none ever arrives.
ssize_t receivePacket(int fd, lanecall_card_frame& frame, int& flags) {
  iovec part{&frame, sizeof frame};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t n;
  do {  // a reset is told once, and before what had come until then
    n = recvmsg(fd, &message, MSG_DONTWAIT);
  } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
  flags = message.msg_flags;
  return n;
}

bool is_whole_frame(ssize_t bytes, int flags) {
  return bytes == sizeof(lanecall_card_frame) &&
         !(flags & (MSG_TRUNC | MSG_CTRUNC));
}

bool is_from_server(uint32_t type) {
  return type >= LANECALL_CARD_ACCEPT && type <= LANECALL_CARD_RELEASED;
}

}  // namespace

void FakeCardPort::socketReady() {
  while (state_ != State::kNone) {
    lanecall_card_frame frame;
    int flags;
    const ssize_t n = receivePacket(socket_.get(), frame, flags);
    if (n < 0 && errno == EAGAIN) return;
    if (!is_whole_frame(n, flags) || receive(frame)) return drop();
  }
}

// What is wrong with the frame, or null.
const char* FakeCardPort::receive(const lanecall_card_frame& frame) {
  if (state_ == State::kGreeting) return welcome(frame);
  if (!is_from_server(frame.type)) return "unknown type";
  if (frame.channel < first_id_ || frame.channel >= next_id_) {
    return "about a channel never offered";
  }
  return host_.frameArrives(frame);
}

const char* FakeCardPort::welcome(const lanecall_card_frame& frame) {
  const lanecall_card_greeting& greeting = frame.greeting;
  if (frame.type != LANECALL_CARD_WELCOME ||
      greeting.magic != LANECALL_CARD_MAGIC) {
    return "not a WELCOME";
  }
  if (greeting.version >> 16 != LANECALL_CARD_VERSION_MAJOR) {
    return "another version";
  }
  if (greeting.features != 0) return "features that were not offered";
  host_.setGreetingTimer(0);
  state_ = State::kLive;
  host_.sessionBegins();
  return nullptr;
}

}  // namespace lanecall::test
