// SPDX-License-Identifier: Apache-2.0
#include "card_ground.h"

#include <poll.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace lanecall::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

namespace {

void store(unsigned char* ring, const lanecall_ring& core, const Bytes& bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    ring[lanecall_ring_offset(&core, core.own + static_cast<uint32_t>(i))] =
        bytes[i];
  }
}

Bytes load(const unsigned char* ring, const lanecall_ring& core, size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) {
    bytes[i] =
        ring[lanecall_ring_offset(&core, core.own + static_cast<uint32_t>(i))];
  }
  return bytes;
}

// Moves bytes through a ring whose consumer sleeps until it is told.
template <typename Tell, typename Wait>
AssertionResult move(unsigned char* ring, lanecall_ring& producer,
                     lanecall_ring& consumer, const Bytes& bytes, Tell tell,
                     Wait wait) {
  const uint32_t n = static_cast<uint32_t>(bytes.size());
  if (lanecall_ring_arm(&consumer) != 0) {
    return AssertionFailure() << "the ring is not empty";
  }
  store(ring, producer, bytes);
  if (!lanecall_ring_publish(&producer, n)) {
    return AssertionFailure() << "the consumer did not ask to be told";
  }
  tell();
  if (!wait()) return AssertionFailure() << "the consumer was not told";
  if (lanecall_ring_look(&consumer) != n || load(ring, consumer, n) != bytes) {
    return AssertionFailure() << "other bytes came";
  }
  lanecall_ring_release(&consumer, n);
  return lanecall_ring_space(&producer) == producer.size
             ? AssertionSuccess()
             : AssertionFailure() << "the ring did not become empty";
}

}  // namespace

bool CardOffer::rung(const Deadline& deadline) {
  pollfd p{.fd = doorbell.get(), .events = POLLIN, .revents = 0};
  uint64_t count;
  return poll(&p, 1, deadline.remainingMs()) > 0 &&
         read(doorbell.get(), &count, sizeof count) == sizeof count;
}

void CardOffer::interruptDriver() {
  const uint64_t one = 1;
  if (write(interrupt.get(), &one, sizeof one) != sizeof one) {
    throw std::runtime_error("cannot write the interrupt eventfd");
  }
}

lanecall_places placesOf(unsigned n) {
  constexpr uint64_t kPlace = 64 << 10;
  return {(3 * n) * kPlace, (3 * n + 1) * kPlace, (3 * n + 2) * kPlace};
}

std::string CardGround::argument(const Options& options) {
  DeviceOptions device{.channels = options.channels,
                       .card = card_.card(),
                       .card_memory = options.card_memory};
  if (options.rpc) {
    listen();
    device.rpc = server().rpc();
  }
  return QemuDevice::argument(device);
}

QemuDevice& CardGround::start(const Options& options) {
  useQemuDevice(std::make_unique<QemuDevice>(std::make_shared<Qemu>(
      QemuOptions{{"-device", argument(options) + ",id=dut,addr=4.0"}})));
  enable();
  return dut();
}

PciFunction CardGround::startBelowRootPort(std::vector<std::string> more) {
  constexpr uint32_t kWindow = 0xc8000000;
  constexpr uint64_t kPrefetchable = 0xa00000000;
  more.insert(
      more.end(),
      {"-device",
       "pcie-root-port,id=rp,chassis=1,slot=1,addr=5.0,pref64-reserve=64M",
       "-device", argument({}) + ",id=dut,bus=rp"});
  auto qemu = std::make_shared<Qemu>(QemuOptions{std::move(more)});
  PciFunction port(*qemu, 0, 5);
  setUpRootPort(port, 1, kWindow, 128 << 20);
  setPrefetchableWindow(port, kPrefetchable, uint64_t{64} << 20);
  useQemuDevice(
      std::make_unique<QemuDevice>(qemu, PciPlace{.bus = 1,
                                                  .slot = 0,
                                                  .bars = kWindow,
                                                  .bar2 = kWindow + (64 << 20),
                                                  .bar4 = kPrefetchable}));
  enable();
  return port;
}

std::unique_ptr<VirtioIommu> CardGround::startBehindIommu() {
  useQemuDevice(std::make_unique<QemuDevice>(std::make_shared<Qemu>(
      QemuOptions{{"-device", VirtioIommu::argument(), "-device",
                   argument({}) + ",id=dut,addr=4.0"}})));
  enableEcam(qemu());
  enable();
  return std::make_unique<VirtioIommu>(qemu(), 4 << 3);
}

void CardGround::useQemuDevice(std::unique_ptr<QemuDevice> device) {
  dut_ = device.get();
  use(std::move(device));
}

void CardGround::enable() { enableEngine(device(), ~0u); }

CardSession& CardGround::session() {
  if (!session_) session_.emplace(card_.session(soon(), features_));
  return *session_;
}

CardFrame CardGround::expectFrame(uint32_t type, uint64_t id) {
  auto frame = session().receive(soon());
  if (!frame) throw std::runtime_error("the device sends no frame");
  if (frame->type() != type || (id && frame->id() != id)) {
    throw std::runtime_error("the device sends frame " +
                             std::to_string(frame->type()) + " about " +
                             std::to_string(frame->id()));
  }
  return std::move(*frame);
}

AssertionResult CardGround::sessionEnds() {
  if (!session().waitEnd(soon())) {
    return AssertionFailure() << "the session goes on";
  }
  if (!qemu().alive()) return AssertionFailure() << qemu().said();
  return AssertionSuccess();
}

// A channel can be offered, declined and closed.
AssertionResult CardGround::sessionLives() {
  try {
    auto channel = openInCard({.channel = 63});
    const CardOffer offer = offered();
    session().send(cardFrame(LANECALL_CARD_DECLINE, offer.id));
    channel->waitWhile(LANECALL_CONNECTING, soon());
    if (!channel->close(soon())) return AssertionFailure() << "not closed";
  } catch (const std::exception& e) {
    return AssertionFailure() << e.what();
  }
  return AssertionSuccess();
}

std::unique_ptr<UserChannel> CardGround::openInCard(ChannelOptions options) {
  auto channel = std::make_unique<UserChannel>(device(), options);
  channel->open();
  return channel;
}

CardOffer CardGround::offered() {
  CardFrame frame = expectFrame(LANECALL_CARD_OFFER);
  if (frame.descriptors.size() != 2) {
    throw std::runtime_error("an OFFER without two descriptors");
  }
  return {frame.id(), frame.frame.offer.number, std::move(frame.descriptors[0]),
          std::move(frame.descriptors[1])};
}

CardGround::Accepted CardGround::accepted(ChannelOptions options) {
  Accepted made{openInCard(options), offered()};
  session().send(cardFrame(LANECALL_CARD_ACCEPT, made.offer.id));
  if (made.channel->waitWhile(LANECALL_CONNECTING, soon()) !=
      (LANECALL_READY | LANECALL_IN_CARD)) {
    throw std::runtime_error("the channel did not become ready in the card");
  }
  return made;
}

DirectCall CardGround::direct(ChannelOptions options) {
  return direct(options, placesOf(options.channel));
}

DirectCall CardGround::direct(ChannelOptions options,
                              const lanecall_places& places) {
  Accepted made = accepted(options);
  const uint64_t id = made.offer.id;
  made.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, id);
  session().send(cardPlaced(id, places));
  expectFrame(LANECALL_CARD_START, id);
  if (made.channel->waitWhile(LANECALL_READY, soon()) !=
      (LANECALL_RUNNING | LANECALL_IN_CARD)) {
    throw std::runtime_error("the channel does not run in the card");
  }
  DirectCall call{std::move(made.channel), std::move(made.offer), places,
                  session().memory().data()};
  auto& index = session().index(places.index);
  lanecall_ring_init(&call.tx, &index.tx_producer, &index.tx_consumer,
                     1u << options.tx_shift);
  lanecall_ring_init(&call.rx, &index.rx_producer, &index.rx_consumer,
                     1u << options.rx_shift);
  return call;
}

AssertionResult CardGround::moves(DirectCall& call) {
  while (device().interrupted(call->vector())) {
  }
  const AssertionResult there = move(
      call.memory + call.places.tx, call->txIndices(), call.tx,
      someBytes(300, 7), [&] { call->doorbell(); },
      [&] { return call.offer.rung(soon()); });
  if (!there) return there;
  return move(
      call.memory + call.places.rx, call.rx, call->rxIndices(),
      someBytes(500, 8), [&] { call.offer.interruptDriver(); },
      [&] { return device().waitInterrupt(call->vector(), soon()); });
}

AssertionResult CardGround::reaches(UserChannel& channel, uint32_t word) {
  if (!channel.waitFor(LANECALL_STATE(word), soon()) ||
      channel.status() != word || channel.statusRegister() != word) {
    return AssertionFailure()
           << std::hex << "status " << channel.status() << ", register "
           << channel.statusRegister() << ", expected " << word;
  }
  return AssertionSuccess();
}

AssertionResult CardGround::endsInCard(UserChannel& channel, uint32_t error) {
  return reaches(
      channel, LANECALL_STATUS_WORD(LANECALL_ENDED, error) | LANECALL_IN_CARD);
}

size_t CardGround::descriptorsOfQemu() {
  qemu().turn();
  size_t count = 0;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator(
           "/proc/" + std::to_string(qemu().pid()) + "/fd")) {
    ++count;
  }
  return count;
}

}  // namespace lanecall::test
