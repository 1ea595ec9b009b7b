// SPDX-License-Identifier: Apache-2.0
#include "card_peers.h"

#include <endian.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <vector>

namespace lanecall::test {
namespace {

// Far longer than any machine needs: only a bug gets here.
constexpr int kPatienceMs = 60'000;

// Packets of a hostile device, at most.
constexpr int kMostPackets = 24;

Descriptor makeEvent() {
  return Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

// Takes what the server has answered, whatever it is, and asks to be told of
// more.
void drain(CardClient& client) {
  lanecall_ring& in = client.incoming().core;
  __s64 held;
  while ((held = lanecall_ring_arm(&in)) > 0)
    if (lanecall_ring_release(&in, static_cast<__u32>(held))) client.notify();
  if (held < 0) throw std::runtime_error("the server's index is impossible");
}

// As much as fits; how much that was.
std::size_t put(CardClient& client, const char* bytes, std::size_t size) {
  RingIo::Ring& ring = client.outgoing();
  const __s64 space = lanecall_ring_arm_space(&ring.core, 1);
  if (space < 0) throw std::runtime_error("the server's index is impossible");
  const std::size_t n = std::min<std::size_t>(size, space);
  std::memcpy(ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own),
              bytes, n);
  if (n > 0 && lanecall_ring_publish(&ring.core, static_cast<__u32>(n)))
    client.notify();
  return n;
}

bool isAllTaken(CardClient& client) {
  lanecall_ring& out = client.outgoing().core;
  return lanecall_ring_arm_space(&out, out.size) == out.size;
}

}  // namespace

// ---- HonestCard

HonestCard::HonestCard(const std::string& path) : device_(path) {
  device_.greet();
}

// Of the channels that were closed there may still be news.
lanecall_card_frame HonestCard::await(std::uint32_t type, std::uint64_t id) {
  for (;;) {
    const auto frame = device_.receive();
    if (!frame) throw std::runtime_error("the server has ended the session");
    if (le64toh(frame->channel) != id) continue;
    if (le32toh(frame->type) == type) return *frame;
    throw std::runtime_error("frame " + std::to_string(le32toh(frame->type)) +
                             " instead of " + std::to_string(type));
  }
}

HonestCard::Channel HonestCard::open(std::uint32_t ringBytes) {
  const std::uint64_t id = ++lastId_;
  const Descriptor doorbell = makeEvent(), interrupt = makeEvent();
  device_.send(CardDevice::frame(LANECALL_CARD_OFFER, id),
               {doorbell.get(), interrupt.get()});
  await(LANECALL_CARD_ACCEPT, id);
  device_.send(device_.placeFrame(id, ringBytes, ringBytes));
  const lanecall_places placed = await(LANECALL_CARD_PLACED, id).placed;
  // As the device does before anyone may use it.
  Mapping index;
  if (index.map(device_.memory(), le64toh(placed.index), LANECALL_INDEX_BYTES,
                PROT_READ | PROT_WRITE))
    throw std::runtime_error("the index page cannot be mapped");
  std::memset(index.data(), 0, LANECALL_INDEX_BYTES);
  auto client =
      std::make_unique<CardClient>(device_.memory(), placed, ringBytes,
                                   ringBytes, doorbell.get(), interrupt.get());
  device_.send(LANECALL_CARD_START, id);
  return {id, std::move(client)};
}

void HonestCard::close(const Channel& channel) {
  device_.send(LANECALL_CARD_CLOSE, channel.id);
}

// Whether the server has ended this channel.
bool HonestCard::takeFrames(std::uint64_t id) {
  while (device_.isReadable()) {
    const auto frame = device_.receive();
    if (!frame) throw std::runtime_error("the server has ended the session");
    if (le64toh(frame->channel) == id) return true;
  }
  return false;
}

// Sleeps until the server has moved an index, or said something; false if it
// has ended the channel.
bool HonestCard::awaitNews(const Channel& channel) {
  pollfd waits[] = {{channel.client->interruptFd(), POLLIN, 0},
                    {device_.fd(), POLLIN, 0}};
  if (::poll(waits, 2, kPatienceMs) <= 0)
    throw std::runtime_error("the server neither takes nor ends a channel");
  channel.client->interrupts();
  return !takeFrames(channel.id);
}

void HonestCard::sendStream(const std::string& bytes, Random& random) {
  const Channel channel = open(4096u << random.below(3));
  CardClient& client = *channel.client;
  // Some take no answer, and are gone when no more fits.
  const bool takes = random.below(32) != 0;
  for (std::size_t sent = 0; sent < bytes.size();) {
    if (takes) drain(client);
    const std::size_t n = put(client, &bytes[sent], bytes.size() - sent);
    sent += n;
    if (n == 0 && !(takes && awaitNews(channel))) return close(channel);
  }
  if (!takes) return close(channel);
  // A client that dies at once is not to matter either.
  while (random.below(16) != 0 && !isAllTaken(client)) {
    drain(client);
    if (!awaitNews(channel)) break;
  }
  close(channel);
}

void HonestCard::lieAboutIndex(Random& random) {
  const Channel channel = open(4096);
  CardClient& client = *channel.client;
  lanecall_index_page& words = client.words();
  // Not in the ring, wherever the server has got to.
  const auto wild =
      static_cast<std::uint32_t>(4098 + random.below(0xffffffffu - 2 * 4098));
  const std::uint32_t before = lanecall_get32(&words.tx_producer.head);
  lanecall_put32(&words.tx_producer.head, before + wild);
  lanecall_put32(&words.tx_producer.want_tail,
                 static_cast<std::uint32_t>(random.below(1u << 31)));
  lanecall_put32(&words.rx_consumer.want_head,
                 static_cast<std::uint32_t>(random.below(1u << 31)));
  client.notify();
  const auto end = await(LANECALL_CARD_END, channel.id);
  if (le32toh(end.error) != LANECALL_ERR_PROTOCOL)
    throw std::runtime_error(
        "a lie about an index ended a channel with error " +
        std::to_string(le32toh(end.error)));
  close(channel);
}

// ---- Hostile devices

namespace {

std::uint32_t someType(Random& random) {
  constexpr std::array<std::uint32_t, 10> kTypes = {
      LANECALL_CARD_HELLO, LANECALL_CARD_OFFER, LANECALL_CARD_PLACE,
      LANECALL_CARD_START, LANECALL_CARD_BUSY,  LANECALL_CARD_DRAIN,
      LANECALL_CARD_CLOSE, LANECALL_CARD_DONE,  LANECALL_CARD_WELCOME,
      0xffffffff};
  return kTypes[random.below(kTypes.size())];
}

std::uint64_t someNumber(Random& random) {
  constexpr std::array<std::uint64_t, 8> kNumbers = {0,
                                                     1,
                                                     4095,
                                                     4096,
                                                     CardDevice::kCardBytes,
                                                     1u << 23,
                                                     1u << 24,
                                                     ~std::uint64_t{0}};
  if (random.below(4) == 0) return random.below(~std::uint64_t{0});
  return kNumbers[random.below(kNumbers.size())] + random.below(3) - 1;
}

class HostileDevice {
 public:
  HostileDevice(const std::string& path, Random& random)
      : random_(random), device_(path) {
    if (random.below(2)) device_.dmaOperations = 1 + random.below(64);
  }

  void run() {
    if (random_.below(8)) greet();
    for (int i = static_cast<int>(random_.below(kMostPackets)); i > 0; --i) {
      device_.drop();
      if (device_.isOver()) return;
      send();
    }
  }

 private:
  class Device : public CardDevice {
   public:
    using CardDevice::CardDevice;
    bool isOver() const { return over_; }
    void drop() {
      while (!over_ && isReadable()) over_ = !receive();
    }

   private:
    bool over_ = false;
  };

  void greet() {
    lanecall_card_frame hello = device_.helloFrame();
    if (random_.below(4) == 0) spoil(&hello);
    if (random_.below(8) == 0)
      hello.greeting.card_bytes = htole64(someNumber(random_));
    device_.send(hello, {device_.memory()});
  }

  // Right for its turn, or not, with anything in it.
  void send() {
    const std::uint64_t id =
        random_.below(8) ? 1 + random_.below(4) : someNumber(random_);
    lanecall_card_frame frame = CardDevice::frame(someType(random_), id);
    switch (random_.below(4)) {
      case 0:
        frame = CardDevice::frame(LANECALL_CARD_OFFER, ++offered_);
        break;
      case 1:
        frame = device_.placeFrame(offered_, 4096u << random_.below(3));
        break;
      case 2:
        frame = CardDevice::frame(LANECALL_CARD_START, offered_);
        break;
      default:
        for (unsigned i = 0; i < 6; ++i) {
          const std::uint64_t word = htole64(someNumber(random_));
          std::memcpy(frame.bytes + 8 * i, &word, sizeof word);
        }
    }
    if (random_.below(8) == 0) spoil(&frame);
    std::string packet(reinterpret_cast<const char*>(&frame), sizeof frame);
    if (random_.below(8) == 0) packet.resize(random_.below(sizeof frame) + 1);
    if (le32toh(frame.type) == LANECALL_CARD_DONE)
      packet += random_.bytes(24 * random_.below(40) + random_.below(2));
    device_.sendBytes(packet.data(), packet.size(), descriptors(frame));
  }

  std::vector<int> descriptors(const lanecall_card_frame& frame) {
    events_.clear();
    std::vector<int> all;
    std::uint64_t count = le32toh(frame.type) == LANECALL_CARD_OFFER ? 2 : 0;
    if (random_.below(16) == 0) count = random_.below(8);
    for (; count > 0; --count) {
      events_.push_back(makeEvent());
      all.push_back(random_.below(16) ? events_.back().get()
                                      : device_.memory());
    }
    return all;
  }

  void spoil(lanecall_card_frame* frame) {
    reinterpret_cast<std::uint8_t*>(frame)[random_.below(sizeof *frame)] =
        static_cast<std::uint8_t>(random_.below(256));
  }

  Random& random_;
  Device device_;
  std::uint64_t offered_ = 0;
  std::vector<Descriptor> events_;
};

}  // namespace

void attachHostileDevice(const std::string& path, Random& random) {
  HostileDevice(path, random).run();
}

}  // namespace lanecall::test
