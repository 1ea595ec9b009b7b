// SPDX-License-Identifier: Apache-2.0
#include "card_device.h"

#include <endian.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace lanecall::test {
namespace {

// Far longer than any machine needs: only a bug gets here.
constexpr int kPatienceMs = 60'000;

void ring(int eventfd) {
  const std::uint64_t one = 1;
  if (::write(eventfd, &one, sizeof one) < 0) ADD_FAILURE() << "eventfd";
}

Descriptor makeEvent() {
  return Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

}  // namespace

Descriptor makeMemory(std::uint64_t bytes, bool sealed) {
  Descriptor memory(::memfd_create("card", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (::ftruncate(memory.get(), static_cast<off_t>(bytes)) < 0 ||
      (sealed && ::fcntl(memory.get(), F_ADD_SEALS,
                         F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
    throw std::runtime_error("memfd");
  return memory;
}

// ---- CardClient

CardClient::CardClient(int memory, const lanecall_places& places,
                       std::uint32_t txBytes, std::uint32_t rxBytes,
                       int doorbell, int interrupt)
    : doorbell_(::dup(doorbell)),
      interrupt_(::dup(interrupt)),
      wake_(makeEvent()) {
  constexpr int kBoth = PROT_READ | PROT_WRITE;
  if (index_.map(memory, le64toh(places.index), LANECALL_INDEX_BYTES, kBoth) ||
      txBytes_.mapTwice(memory, le64toh(places.tx), txBytes, kBoth) ||
      rxBytes_.mapTwice(memory, le64toh(places.rx), rxBytes, kBoth))
    throw std::runtime_error("places");
  words_ = reinterpret_cast<lanecall_index_page*>(index_.data());
  lanecall_ring_init(&tx_.core, &words_->tx_producer, &words_->tx_consumer,
                     txBytes);
  tx_.bytes = txBytes_.data();
  lanecall_ring_init(&rx_.core, &words_->rx_producer, &words_->rx_consumer,
                     rxBytes);
  rx_.bytes = rxBytes_.data();
}

void CardClient::notify() {
  ++doorbells;
  ring(doorbell_.get());
}

void CardClient::interrupt() { setEnd(-ECANCELED); }

void CardClient::setEnd(int error) {
  end_ = error;
  ring(wake_.get());
}

int CardClient::interrupts() {
  std::uint64_t count;
  if (::read(interrupt_.get(), &count, sizeof count) > 0)
    interrupts_ += static_cast<int>(count);
  return interrupts_;
}

int CardClient::poll(short events, int timeoutMs) {
  pollfd waits[] = {{interrupt_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  int ready = ::poll(waits, 2, timeoutMs);
  if (ready < 0) return -errno;
  if (end_) return POLLHUP;
  if (waits[0].revents) interrupts();
  return ready ? events : 0;
}

// ---- CardDevice

CardDevice::CardDevice(const std::string& path, std::uint64_t cardBytes)
    : memory_(makeMemory(cardBytes)), cardBytes_(cardBytes) {
  connect(path);
}

void CardDevice::connect(const std::string& path) {
  socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  if (::connect(socket_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) < 0)
    throw std::runtime_error("connect: " + std::string(std::strerror(errno)));
}

lanecall_card_frame CardDevice::frame(std::uint32_t type, std::uint64_t id) {
  lanecall_card_frame frame{};
  frame.type = htole32(type);
  frame.channel = htole64(id);
  return frame;
}

lanecall_card_frame CardDevice::helloFrame() const {
  lanecall_card_frame hello = frame(LANECALL_CARD_HELLO);
  hello.greeting.magic = htole32(LANECALL_CARD_MAGIC);
  hello.greeting.version = htole32(LANECALL_CARD_VERSION);
  hello.greeting.card_bytes = htole64(cardBytes_);
  hello.greeting.channels = htole32(LANECALL_MAX_CHANNELS);
  std::memcpy(hello.greeting.device, "edu0", 4);
  if (dmaOperations)
    hello.greeting.features = htole64(LANECALL_CARD_FEATURE_DMA);
  hello.greeting.dma = htole32(dmaOperations);
  return hello;
}

lanecall_card_frame CardDevice::placeFrame(std::uint64_t id, std::uint32_t tx,
                                           std::uint32_t rx) const {
  lanecall_card_frame place = frame(LANECALL_CARD_PLACE, id);
  place.place.tx_bytes = htole32(tx);
  place.place.rx_bytes = htole32(rx);
  place.place.page_bytes = htole32(4096);
  return place;
}

void CardDevice::send(const lanecall_card_frame& frame,
                      const std::vector<int>& descriptors) {
  sendBytes(&frame, sizeof frame, descriptors);
}

void CardDevice::sendBytes(const void* bytes, std::size_t size,
                           const std::vector<int>& descriptors) {
  iovec part{const_cast<void*>(bytes), size};
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), descriptors.data(),
                descriptors.size() * sizeof(int));
  }
  // The server may have ended the session: the test sees that when receiving.
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) < 0 && errno != EPIPE &&
      errno != ECONNRESET)
    ADD_FAILURE() << "sendmsg: " << std::strerror(errno);
}

std::optional<lanecall_card_frame> CardDevice::receive() {
  pollfd wait{socket_.get(), POLLIN, 0};
  if (::poll(&wait, 1, kPatienceMs) != 1) {
    ADD_FAILURE() << "the server says nothing";
    return {};
  }
  lanecall_card_frame frame;
  ssize_t size = ::recv(socket_.get(), &frame, sizeof frame, MSG_TRUNC);
  if (size <= 0) return {};
  EXPECT_EQ(size, static_cast<ssize_t>(sizeof frame));
  return frame;
}

bool CardDevice::isReadable() const {
  pollfd look{socket_.get(), POLLIN, 0};
  return ::poll(&look, 1, 0) > 0;
}

std::optional<DmaPacket> CardDevice::receiveDma() {
  pollfd wait{socket_.get(), POLLIN, 0};
  if (::poll(&wait, 1, kPatienceMs) != 1) {
    ADD_FAILURE() << "the server says nothing";
    return {};
  }
  std::vector<std::uint8_t> bytes(LANECALL_CARD_PACKET_MAX + 1);
  const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
  if (size <= 0) return {};
  lanecall_card_frame frame;
  std::memcpy(&frame, bytes.data(), sizeof frame);
  EXPECT_EQ(le32toh(frame.type), unsigned{LANECALL_CARD_DMA});
  DmaPacket packet;
  packet.operations.resize(le32toh(frame.batch.operations));
  packet.extents.resize(le32toh(frame.batch.extents));
  const std::size_t operations =
      packet.operations.size() * sizeof(lanecall_dma_operation);
  const std::size_t extents =
      packet.extents.size() * sizeof(lanecall_dma_extent);
  if (static_cast<std::size_t>(size) != sizeof frame + operations + extents ||
      size > LANECALL_CARD_PACKET_MAX)
    throw std::runtime_error("a DMA packet of another length than it says");
  std::memcpy(packet.operations.data(), &bytes[sizeof frame], operations);
  std::memcpy(packet.extents.data(), &bytes[sizeof frame] + operations,
              extents);
  return packet;
}

void CardDevice::sendDone(const std::vector<lanecall_dma_done>& done) {
  lanecall_card_frame head = frame(LANECALL_CARD_DONE);
  head.batch.operations = htole32(static_cast<std::uint32_t>(done.size()));
  std::vector<std::uint8_t> bytes(sizeof head + done.size() * sizeof done[0]);
  std::memcpy(bytes.data(), &head, sizeof head);
  std::memcpy(&bytes[sizeof head], done.data(), done.size() * sizeof done[0]);
  sendBytes(bytes.data(), bytes.size());
}

lanecall_card_frame CardDevice::expect(std::uint32_t type, std::uint64_t id) {
  auto frame = receive();
  if (!frame) throw std::runtime_error("the server has ended the session");
  EXPECT_EQ(le32toh(frame->type), type);
  EXPECT_EQ(le64toh(frame->channel), id);
  return *frame;
}

void CardDevice::expectEnded() {
  auto frame = receive();
  EXPECT_FALSE(frame) << "type " << le32toh(frame->type);
}

void CardDevice::greet() {
  send(helloFrame(), {memory_.get()});
  auto welcome = expect(LANECALL_CARD_WELCOME);
  EXPECT_EQ(le32toh(welcome.greeting.magic), LANECALL_CARD_MAGIC);
  EXPECT_EQ(le32toh(welcome.greeting.version) >> 16,
            unsigned{LANECALL_CARD_VERSION_MAJOR});
  EXPECT_EQ(le64toh(welcome.greeting.features),
            dmaOperations ? LANECALL_CARD_FEATURE_DMA : 0u);
}

void CardDevice::sendOffer() {
  doorbell = makeEvent();
  interrupt = makeEvent();
  auto offered = frame(LANECALL_CARD_OFFER, ++lastId_);
  offered.offer = opener;
  send(offered, {doorbell.get(), interrupt.get()});
}

bool CardDevice::tryOffer() {
  sendOffer();
  const auto answer = receive();
  if (!answer) throw std::runtime_error("the server has ended the session");
  EXPECT_EQ(le64toh(answer->channel), lastId_);
  return le32toh(answer->type) == LANECALL_CARD_ACCEPT;
}

void CardDevice::offerDeclined(std::uint32_t error) {
  sendOffer();
  EXPECT_EQ(expect(LANECALL_CARD_DECLINE, lastId_).error, error);
}

std::uint64_t CardDevice::offer() {
  sendOffer();
  expect(LANECALL_CARD_ACCEPT, lastId_);
  return lastId_;
}

std::unique_ptr<CardClient> CardDevice::start(std::uint64_t id,
                                              std::uint32_t tx,
                                              std::uint32_t rx) {
  send(placeFrame(id, tx, rx));
  auto placed = expect(LANECALL_CARD_PLACED, id).placed;
  Mapping index;
  if (index.map(memory_.get(), le64toh(placed.index), LANECALL_INDEX_BYTES,
                PROT_READ | PROT_WRITE))
    throw std::runtime_error("index page");
  std::memset(index.data(), 0, LANECALL_INDEX_BYTES);
  auto client = std::make_unique<CardClient>(memory_.get(), placed, tx, rx,
                                             doorbell.get(), interrupt.get());
  send(LANECALL_CARD_START, id);
  return client;
}

}  // namespace lanecall::test
