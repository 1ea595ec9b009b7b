// SPDX-License-Identifier: Apache-2.0
#include "hostile_servers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "hostile_guest.h"

namespace lanecall::test {
namespace {

constexpr int kPatienceMs = 60'000;
constexpr size_t kMostConnections = 16;
constexpr size_t kMostBytes = 20'000;
constexpr int kPacketsAtOnce = 16;
constexpr uint64_t kPage = 4096;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::vector<unsigned char> someBytes(Random& random, size_t size) {
  std::vector<unsigned char> bytes(size);
  random.fill(bytes);
  return bytes;
}

}  // namespace

// ---- HostileSocketServer ---------------------------------------------------

HostileSocketServer::HostileSocketServer(Family family, const TempDir& dir,
                                         Random& random)
    : random_(random),
      path_(family == Family::kUnix ? dir.file("rpc.sock") : "") {
  listen();
  rpc_ = path_.empty() ? "tcp:127.0.0.1:" + std::to_string(port_)
                       : "unix:" + path_;
}

void HostileSocketServer::listen() {
  if (path_.empty()) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port_);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return listenAt(reinterpret_cast<sockaddr*>(&at), sizeof at);
  }
  ::unlink(path_.c_str());
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path_.copy(at.sun_path, sizeof at.sun_path - 1);
  listenAt(reinterpret_cast<sockaddr*>(&at), sizeof at);
}

// A short queue, so that the device finds it full.
void HostileSocketServer::listenAt(const sockaddr* address, socklen_t bytes) {
  constexpr int kBacklog = 1;
  const int on = 1;
  listener_.reset();  // it has the address
  listener_.reset(::socket(address->sa_family,
                           SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener_.get(), address, bytes) < 0 ||
      ::listen(listener_.get(), kBacklog) < 0)
    fail("listen");
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  if (path_.empty() &&
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound),
                    &size) == 0)
    port_ = ntohs(bound.sin_port);
}

void HostileSocketServer::reset() {
  connections_.clear();
  listen();
}

Descriptor HostileSocketServer::accept() {
  pollfd wait{listener_.get(), POLLIN, 0};
  if (::poll(&wait, 1, kPatienceMs) != 1)
    throw std::runtime_error("the device does not connect");
  return Descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

void HostileSocketServer::acceptOne() {
  Descriptor one(::accept4(listener_.get(), nullptr, nullptr,
                           SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!one.valid()) return;
  connections_.push_back(std::move(one));
  if (connections_.size() > kMostConnections) connections_.pop_front();
}

void HostileSocketServer::act() {
  switch (random_.below(64)) {
    case 0:
      if (!listener_.valid()) return listen();
      return listener_.reset();
    case 1:
    case 2:
    case 3:
    case 4:
      return listener_.valid() ? acceptOne() : listen();
  }
  if (connections_.empty()) return acceptOne();
  auto connection = connections_.begin();
  std::advance(connection, random_.below(connections_.size()));
  talk(connection);
}

void HostileSocketServer::talk(std::list<Descriptor>::iterator connection) {
  std::array<unsigned char, kMostBytes> in;
  const int fd = connection->get();
  switch (random_.below(16)) {
    case 0: {
      const linger none{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
      connections_.erase(connection);
      break;
    }
    case 1:
      ::shutdown(fd, SHUT_WR);
      break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 7: {
      const auto out = someBytes(random_, 1 + random_.below(kMostBytes));
      if (::send(fd, out.data(), out.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
          errno != EAGAIN)
        connections_.erase(connection);
      break;
    }
    default:
      if (::recv(fd, in.data(), 1 + random_.below(in.size()), MSG_DONTWAIT) ==
          0)
        connections_.erase(connection);
  }
}

// ---- HostileCardServer -----------------------------------------------------

HostileCardServer::HostileCardServer(const TempDir& dir, Random& random)
    : random_(random), server_(dir) {}

void HostileCardServer::reset() {
  session_.reset();
  channels_.clear();
}

void HostileCardServer::act() {
  if (!session_) {
    if (!server_.isReadable()) return;
    session_ = server_.accept(atOnce());
    if (!session_ || !session_->takeHello(Deadline::in(kPatienceMs)))
      return reset();
    lanecall_card_frame welcome = cardWelcome(
        random_.below(8) ? LANECALL_CARD_FEATURE_DMA : random_.below(4));
    if (random_.below(64) == 0) welcome.greeting.version = 0;
    session_->send(welcome);
    return;
  }
  switch (random_.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return takePackets();
    case 4:
      return random_.below(8) ? takePackets() : sendAnything();
    case 5:
      return random_.below(512) ? kick() : reset();
    case 6:
      return kick();
    case 7:
    case 8:
    case 9:
    case 10:
      return sendDma();
    default:
      return lieInMemory();
  }
}

void HostileCardServer::takePackets() {
  if (deafFor_ > 0 && --deafFor_ > 0) return;
  if (random_.below(3000) == 0) deafFor_ = 5000;
  for (int i = 0; i < kPacketsAtOnce && session_; ++i) {
    if (!session_->isReadable()) return;
    const uint32_t type = session_->peekType(atOnce());
    if (type == LANECALL_CARD_DONE) {
      session_->receivePacket(atOnce());
    } else if (auto frame = session_->receive(atOnce())) {
      take(std::move(*frame));
    } else {
      reset();
    }
  }
}

void HostileCardServer::take(CardFrame frame) {
  const uint64_t id = frame.id();
  switch (frame.type()) {
    case LANECALL_CARD_OFFER: {
      Channel& channel = channels_[lastId_ = id];
      channel.doorbell = std::move(frame.descriptors.at(0));
      channel.interrupt = std::move(frame.descriptors.at(1));
      if (random_.below(16) == 0) return;
      session_->send(random_.below(8)
                         ? cardFrame(LANECALL_CARD_ACCEPT, id)
                         : cardFrame(LANECALL_CARD_DECLINE, id,
                                     static_cast<uint32_t>(random_.below(14))));
      return;
    }
    case LANECALL_CARD_PLACE:
    case LANECALL_CARD_BUSY:
      return answerPlace(id);
    case LANECALL_CARD_DRAIN:
      if (random_.below(4))
        session_->send(cardFrame(LANECALL_CARD_RELEASED, id));
      return;
    case LANECALL_CARD_CLOSE:
      channels_.erase(id);
      return;
  }
}

// Three places that no other channel has, or wherever.
void HostileCardServer::answerPlace(uint64_t id) {
  const uint64_t at = id % 16 * (uint64_t{1} << 20);
  lanecall_places places = {at, at + (256 << 10), at + (512 << 10)};
  const std::array<__le64*, 3> all = {&places.index, &places.tx, &places.rx};
  if (random_.below(16) == 0) *all[random_.below(all.size())] = somePlace();
  auto channel = channels_.find(id);
  if (channel != channels_.end()) {
    channel->second.places = places;
    channel->second.placed = true;
  }
  session_->send(cardPlaced(id, places));
}

uint64_t HostileCardServer::someId() {
  if (random_.below(8) == 0) return random_.below(~uint64_t{0});
  return lastId_ - random_.below(4);
}

uint64_t HostileCardServer::somePlace() {
  const uint64_t bytes = session_->memory().size();
  const std::array<uint64_t, 7> all = {0,
                                       bytes,
                                       bytes - kPage,
                                       ~uint64_t{0},
                                       ~uint64_t{0} - kPage + 1,
                                       1,
                                       random_.below(bytes / kPage) * kPage};
  return all[random_.below(all.size())];
}

// Any frame of any kind, out of turn, with anything in it.
void HostileCardServer::sendAnything() {
  constexpr std::array<uint32_t, 9> kTypes = {
      LANECALL_CARD_WELCOME, LANECALL_CARD_ACCEPT,   LANECALL_CARD_DECLINE,
      LANECALL_CARD_PLACED,  LANECALL_CARD_END,      LANECALL_CARD_END,
      LANECALL_CARD_END,     LANECALL_CARD_RELEASED, LANECALL_CARD_HELLO};
  lanecall_card_frame frame =
      cardFrame(kTypes[random_.below(kTypes.size())], someId(),
                static_cast<uint32_t>(random_.below(14)));
  if (random_.below(4) == 0) {
    const uint64_t words[] = {somePlace(), somePlace(), somePlace()};
    std::memcpy(frame.bytes, words, sizeof words);
  }
  auto* bytes = reinterpret_cast<unsigned char*>(&frame);
  if (random_.below(64) == 0)
    bytes[random_.below(sizeof frame)] =
        static_cast<unsigned char>(random_.below(256));
  const size_t size =
      random_.below(64) ? sizeof frame : random_.below(sizeof frame) + 1;
  session_->sendPacket({bytes, size});
}

void HostileCardServer::sendDma() {
  const auto operations = static_cast<uint32_t>(1 + random_.below(8));
  std::vector<lanecall_dma_operation> all(operations);
  std::vector<lanecall_dma_extent> extents;
  for (lanecall_dma_operation& one : all) {
    one.id = random_.below(~uint64_t{0});
    one.key = HostileGuest::key(
        static_cast<unsigned>(random_.below(HostileGuest::kRegions + 1)));
    one.type = static_cast<uint32_t>(random_.below(64) ? 1 + random_.below(3)
                                                       : random_.below(256));
    one.extents = static_cast<uint32_t>(1 + random_.below(8));
    const uint64_t most = random_.below(32) ? 9000 : 1 << 20;
    // Of a FILL it is a byte, not a place.
    const uint64_t cards = one.type == LANECALL_DMA_FILL ? 256 : 1 << 20;
    for (uint32_t i = 0; i < one.extents; ++i)
      extents.push_back(
          {random_.below(32) ? random_.below(20'000) : somePlace(),
           random_.below(32) ? random_.below(cards) : somePlace(),
           random_.below(32) ? 1 + random_.below(most) : somePlace()});
    if (random_.below(256) == 0) ++one.extents;
  }
  lanecall_card_frame frame = cardFrame(LANECALL_CARD_DMA, 0);
  frame.batch.operations = operations;
  frame.batch.extents = static_cast<uint32_t>(extents.size());
  if (random_.below(256) == 0)
    frame.batch.extents = static_cast<uint32_t>(random_.below(~0u));
  std::vector<unsigned char> packet;
  const auto add = [&](const void* from, size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(from);
    packet.insert(packet.end(), at, at + bytes);
  };
  add(&frame, sizeof frame);
  add(all.data(), all.size() * sizeof all[0]);
  add(extents.data(), extents.size() * sizeof extents[0]);
  if (random_.below(256) == 0) packet.resize(random_.below(packet.size()) + 1);
  // A device that takes no more is left alone until it has answered.
  if (session_->isWritable()) session_->sendPacket(packet);
  takePackets();
}

// Index words of the channels, and bytes anywhere.
void HostileCardServer::lieInMemory() {
  if (channels_.empty()) return takePackets();
  auto channel = channels_.begin();
  std::advance(channel, random_.below(channels_.size()));
  if (!channel->second.placed) return;
  const auto memory = session_->memory();
  const uint64_t at = channel->second.places.index;
  if (!lanecall_card_fits(at, kPage, kPage, memory.size())) return;
  auto* words = reinterpret_cast<__le32*>(&memory[at]);
  const bool wild = random_.below(4) == 0;
  constexpr std::array<unsigned, 8> kWords = {0, 1, 32, 33, 64, 65, 96, 97};
  __le32* const word = &words[kWords[random_.below(kWords.size())]];
  lanecall_put32(word, wild ? static_cast<uint32_t>(random_.below(~0u))
                            : lanecall_get32(word) +
                                  static_cast<uint32_t>(random_.below(5000)));
  kick();
}

// Rings the driver, or itself, once or as often as there are numbers.
void HostileCardServer::kick() {
  if (channels_.empty()) return;
  auto channel = channels_.begin();
  std::advance(channel, random_.below(channels_.size()));
  const uint64_t count = random_.below(8) ? 1 : ~uint64_t{0} - 1;
  const int fd = random_.below(4) ? channel->second.interrupt.get()
                                  : channel->second.doorbell.get();
  // One that is full already blocks: it was not made by us.
  pollfd room{fd, POLLOUT, 0};
  uint64_t taken;
  if (::poll(&room, 1, 0) == 1 && count == 1)
    static_cast<void>(!::write(fd, &count, sizeof count));
  else if (::poll(&room, 1, 0) == 0 || random_.below(2))
    if (pollfd held{fd, POLLIN, 0}; ::poll(&held, 1, 0) == 1)
      static_cast<void>(!::read(fd, &taken, sizeof taken));
}

}  // namespace lanecall::test
