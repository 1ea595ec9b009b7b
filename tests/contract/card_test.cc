// SPDX-License-Identifier: Apache-2.0
// The card port and the direct plane, for what a good server never does: every
// move of the firmware is the test's. What both planes have in common is tested
// on both, in the files beside this one.
#include <fcntl.h>
#include <sys/eventfd.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "card_firmware.h"
#include "contract.h"

namespace lanecall::test {
namespace {

using test::PrintTo;  // gtest looks in this namespace only

constexpr uint64_t kSlot = uint64_t{256} << 10;

// Three places that no other n has, for rings of at most 64 KiB.
lanecall_places placesOf(unsigned n) {
  return {n * kSlot, n * kSlot + (64 << 10), n * kSlot + (128 << 10)};
}

// A channel whose rings are in card memory, and both its ends.
struct Direct {
  std::unique_ptr<UserChannel> channel;
  uint64_t id = 0;
  lanecall_places places{};
  std::unique_ptr<FirmwareChannel> firmware;
  UserChannel* operator->() { return channel.get(); }
  UserChannel& operator*() { return *channel; }
};

class Card : public Contract {
 protected:
  // A device with a card port, and rpc= if there is a server listening.
  void begin(bool rpc = false) {
    DeviceOptions options{.card = firmware_.card()};
    if (rpc) {
      listen();
      options.rpc = server().rpc();
    }
    use(makeDevice(options));
    enableEngine(device(), LANECALL_FEATURE_CARD_RINGS);
  }

  // The device's session, greeted; the next one after endSession().
  FirmwareSession& session() {
    if (!session_) {
      session_ = firmware_.accept(soon());
      if (!session_ || !session_->greet(soon())) {
        throw std::runtime_error("the device does not greet");
      }
    }
    return *session_;
  }
  void endSession() { session_.reset(); }
  bool send(uint32_t type, uint64_t id, uint32_t error = 0) {
    return session().send(firmwareFrame(type, id, error));
  }
  FirmwareFrame expect(uint32_t type, uint64_t id = 0) {
    auto got = session().receive(soon());
    if (!got) throw std::runtime_error("the device sends no frame");
    if (got->frame.type != type || (id && got->frame.channel != id)) {
      throw std::runtime_error("the device sends another frame: " +
                               std::to_string(got->frame.type));
    }
    return std::move(*got);
  }

  // Offered, and not answered yet; accepted; given ATTACH; RUNNING.
  Direct offered(ChannelOptions options = {}) {
    session();
    Direct d;
    d.channel = std::make_unique<UserChannel>(device(), options);
    d.channel->open();
    FirmwareFrame offer = expect(LANECALL_CARD_OFFER);
    d.id = offer.frame.channel;
    offer_ = offer.frame.offer;
    bells_ = std::move(offer.descriptors);
    if (bells_.size() != 2) throw std::runtime_error("an OFFER without bells");
    return d;
  }
  Direct accepted(ChannelOptions options = {}) {
    Direct d = offered(options);
    send(LANECALL_CARD_ACCEPT, d.id);
    if (d->waitWhile(LANECALL_CONNECTING, soon()) !=
        (LANECALL_READY | LANECALL_IN_CARD)) {
      throw std::runtime_error("the channel is not READY in the card");
    }
    return d;
  }
  Direct placing(ChannelOptions options = {}) {
    Direct d = accepted(options);
    d->attach();
    wanted_ = expect(LANECALL_CARD_PLACE, d.id).frame.place;
    return d;
  }
  Direct running(ChannelOptions options, const lanecall_places& places) {
    Direct d = placing(options);
    session().send(firmwarePlaced(d.id, places));
    start(d, places);
    return d;
  }
  Direct running(ChannelOptions options = {}) {
    return running(options, placesOf(options.channel));
  }
  void start(Direct& d, const lanecall_places& places) {
    expect(LANECALL_CARD_START, d.id);
    d.places = places;
    d.firmware = std::make_unique<FirmwareChannel>(session(), wanted_, places,
                                                   std::move(bells_.at(0)),
                                                   std::move(bells_.at(1)));
    if (d->waitWhile(LANECALL_READY, soon()) !=
        (LANECALL_RUNNING | LANECALL_IN_CARD)) {
      throw std::runtime_error("the channel is not RUNNING in the card");
    }
  }

  // Bytes go both ways, and each side is told.
  ::testing::AssertionResult moves(Direct& d) {
    const Bytes out = someBytes(300, 7), back = someBytes(500, 8);
    d.firmware->clearDoorbell();
    if (d.firmware->armReceive() != 0) {
      return ::testing::AssertionFailure() << "TX is not empty";
    }
    if (!d->write(out, soon())) {
      return ::testing::AssertionFailure() << "the driver cannot write";
    }
    Bytes got(out.size());
    if (!d.firmware->waitDoorbell(soon()) ||
        d.firmware->tryReceive(got) != static_cast<__s64>(got.size()) ||
        got != out) {
      return ::testing::AssertionFailure() << "the firmware is not told";
    }
    while (device().interrupted(d->vector())) {
    }
    if (lanecall_ring_arm(&d->rxIndices()) != 0 ||
        d.firmware->trySend(back) != static_cast<__s64>(back.size()) ||
        !device().waitInterrupt(d->vector(), soon())) {
      return ::testing::AssertionFailure() << "the driver is not told";
    }
    if (d->read(back.size(), soon()) != back) {
      return ::testing::AssertionFailure() << "the driver got other bytes";
    }
    return ::testing::AssertionSuccess();
  }
  ::testing::AssertionResult endsInCard(UserChannel& channel, uint32_t error) {
    const auto result = endsWith(channel, error);
    if (!result || (channel.status() & LANECALL_IN_CARD)) return result;
    return ::testing::AssertionFailure() << "the status is not IN_CARD";
  }

  FirmwareListener firmware_{dir_};
  std::unique_ptr<FirmwareSession> session_;
  std::vector<Descriptor> bells_;  // of the last OFFER
  lanecall_card_offer offer_{};    // likewise
  lanecall_card_place wanted_{};   // by the last PLACE
};

// ---- Greeting --------------------------------------------------------------

TEST_F(Card, HelloTellsOfTheDeviceAndItsMemory) {
  begin();
  const auto& hello = session().hello();
  EXPECT_EQ(hello.magic, LANECALL_CARD_MAGIC);
  EXPECT_EQ(hello.version, uint32_t{LANECALL_CARD_VERSION});
  EXPECT_EQ(hello.features & ~uint64_t{LANECALL_CARD_FEATURE_DMA}, 0u);
  EXPECT_EQ(hello.features != 0, hello.dma != 0);
  EXPECT_EQ(hello.channels, 64u);
  EXPECT_EQ(hello.card_bytes, uint64_t{64} << 20);
  EXPECT_EQ(hello.device[sizeof hello.device - 1], 0);
  EXPECT_EQ(
      fcntl(session().memoryFd(), F_GET_SEALS) & (F_SEAL_GROW | F_SEAL_SHRINK),
      F_SEAL_GROW | F_SEAL_SHRINK);
  ASSERT_EQ(device().cardMemory().size(), hello.card_bytes);
  session().memory()[12345] = 0x5a;
  EXPECT_EQ(device().cardMemory()[12345], 0x5a);
}

struct Greeting {
  const char* name;
  void (*send)(FirmwareSession&);
};

lanecall_card_frame welcomeBut(void (*change)(lanecall_card_frame&)) {
  lanecall_card_frame frame = firmwareWelcome();
  change(frame);
  return frame;
}

void sendSized(FirmwareSession& session, size_t size) {
  const lanecall_card_frame frame = firmwareWelcome();
  Bytes bytes(std::max(size, sizeof frame));
  std::memcpy(bytes.data(), &frame, sizeof frame);
  session.sendPacket(std::span(bytes).first(size));
}

class BadGreeting : public Card,
                    public ::testing::WithParamInterface<Greeting> {};

TEST_P(BadGreeting, EndsTheSessionAndTheNextOpenBeginsAnother) {
  begin();
  auto rude = firmware_.accept(soon());
  ASSERT_TRUE(rude && rude->takeHello(soon()));
  UserChannel waiting(device(), {.channel = 1});
  waiting.open();
  EXPECT_EQ(waiting.state(), uint32_t{LANECALL_CONNECTING});
  GetParam().send(*rude);
  EXPECT_TRUE(rude->waitEnd(soon()));
  EXPECT_TRUE(endsWith(waiting, LANECALL_ERR_REFUSED));
  // It connects again for the next, and this server is better.
  Direct d;
  d.channel = std::make_unique<UserChannel>(device());
  d.channel->open();
  session();
  EXPECT_NO_THROW(expect(LANECALL_CARD_OFFER));
  EXPECT_EQ(guestErrors(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    With, BadGreeting,
    ::testing::Values(
        Greeting{"AnotherMagic",
                 [](FirmwareSession& s) {
                   s.send(welcomeBut([](auto& f) { ++f.greeting.magic; }));
                 }},
        Greeting{"AnotherVersion",
                 [](FirmwareSession& s) {
                   s.send(welcomeBut(
                       [](auto& f) { f.greeting.version += 1 << 16; }));
                 }},
        Greeting{"FeaturesNotOffered",
                 [](FirmwareSession& s) {
                   s.send(welcomeBut([](auto& f) { f.greeting.features = 4; }));
                 }},
        Greeting{"AnotherFrame",
                 [](FirmwareSession& s) {
                   s.send(firmwareFrame(LANECALL_CARD_ACCEPT, 1));
                 }},
        Greeting{"AShortPacket", [](FirmwareSession& s) { sendSized(s, 63); }},
        Greeting{"ALongPacket", [](FirmwareSession& s) { sendSized(s, 65); }},
        Greeting{"AnEmptyPacket", [](FirmwareSession& s) { sendSized(s, 0); }},
        Greeting{"ItsDisappearance", [](FirmwareSession& s) { s.close(); }}),
    [](const auto& info) { return info.param.name; });

// A server that says another minor version is understood.
TEST_F(Card, NewerMinorVersionIsWelcome) {
  begin();
  session_ = firmware_.accept(soon());
  ASSERT_TRUE(session_ && session_->takeHello(soon()));
  session_->send(welcomeBut([](auto& f) { f.greeting.version += 7; }));
  EXPECT_NO_THROW(offered());
}

// ---- Which plane -----------------------------------------------------------

TEST_F(Card, ChannelThatIsAcceptedIsOnTheDirectPlane) {
  begin(true);
  Direct d = running();
  EXPECT_TRUE(moves(d));
  EXPECT_FALSE(server().accept(atOnce()));
}

TEST_F(Card, ChannelThatIsDeclinedIsOnTheSocketPlane) {
  begin(true);
  Direct d = offered();
  send(LANECALL_CARD_DECLINE, d.id);
  EXPECT_EQ(d->waitWhile(LANECALL_CONNECTING, soon()),
            uint32_t{LANECALL_READY});
  d->attach();
  ASSERT_TRUE(d->waitFor(LANECALL_RUNNING, soon()));
  Call c{std::move(d.channel), *server().accept(soon())};
  EXPECT_TRUE(works(c));
}

TEST_F(Card, DeclineWithNoSocketServerIsTheEndWithItsError) {
  begin();
  for (const auto& [said, error] : {std::pair{0, LANECALL_ERR_REFUSED},
                                    std::pair{8, LANECALL_ERR_RESOURCES}}) {
    Direct d = offered();
    send(LANECALL_CARD_DECLINE, d.id, said);
    EXPECT_TRUE(endsWith(*d, error));
    EXPECT_EQ(d->status() & LANECALL_IN_CARD, 0u);
  }
}

TEST_F(Card, WithoutItsServerChannelsAreOnTheSocketPlane) {
  firmware_.stop();
  begin(true);
  Call c = call();
  EXPECT_TRUE(works(c));
  EXPECT_EQ(c->status() & LANECALL_IN_CARD, 0u);
}

TEST_F(Card, WithNeitherServerOpenIsRefused) {
  firmware_.stop();
  begin();
  EXPECT_TRUE(endsWith(*opened(), LANECALL_ERR_REFUSED));
}

TEST_F(Card, DriverThatDoesNotAskGetsTheSocketPlane) {
  begin(true);
  session();
  Call c = call({.flags = 0});
  EXPECT_TRUE(works(c));
}

// ---- Frames ----------------------------------------------------------------

// Channels 0 (running), 1 (offered) and 2 (accepted) are there.
struct BadFrame {
  const char* name;
  lanecall_card_frame (*make)(const std::array<uint64_t, 3>& id);
};

class Breach : public Card, public ::testing::WithParamInterface<BadFrame> {};

TEST_P(Breach, EndsTheSessionAndItsChannels) {
  begin();
  Direct first = running({.channel = 0});
  Direct ready = accepted({.channel = 2});
  Direct last = offered({.channel = 1});
  session().send(GetParam().make({first.id, last.id, ready.id}));
  EXPECT_TRUE(session().waitEnd(soon()));
  EXPECT_TRUE(endsInCard(*first, LANECALL_ERR_RESET));
  EXPECT_TRUE(endsInCard(*ready, LANECALL_ERR_RESET));
  EXPECT_TRUE(endsWith(*last, LANECALL_ERR_REFUSED));
  // Its server may try again, and does better.
  endSession();
  UserChannel again(device(), {.channel = 3});
  again.open();
  EXPECT_NO_THROW(expect(LANECALL_CARD_OFFER));
  EXPECT_EQ(guestErrors(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    With, Breach,
    ::testing::Values(
        BadFrame{"UnknownType",
                 [](const auto& id) { return firmwareFrame(0x87, id[0]); }},
        BadFrame{"ATypeOfTheDevices",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_CLOSE, id[0]);
                 }},
        BadFrame{"ASecondWelcome",
                 [](const auto&) { return firmwareWelcome(); }},
        BadFrame{"AnIdNotOffered",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_END, id[1] + 100);
                 }},
        BadFrame{
            "IdZero",
            [](const auto&) { return firmwareFrame(LANECALL_CARD_END, 0); }},
        BadFrame{"AcceptTwice",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_ACCEPT, id[0]);
                 }},
        BadFrame{"DeclineAfterAccept",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_DECLINE, id[2]);
                 }},
        BadFrame{"DeclineOfAnUnknownError",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_DECLINE, id[1], 10);
                 }},
        BadFrame{
            "PlacedBeforePlace",
            [](const auto& id) { return firmwarePlaced(id[2], placesOf(5)); }},
        BadFrame{
            "PlacedTwice",
            [](const auto& id) { return firmwarePlaced(id[0], placesOf(5)); }},
        BadFrame{"EndBeforeAccept",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_END, id[1]);
                 }},
        BadFrame{"EndOfAnUnknownError",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_END, id[0], ~0u);
                 }},
        BadFrame{"ReleasedWithoutDrain",
                 [](const auto& id) {
                   return firmwareFrame(LANECALL_CARD_RELEASED, id[0]);
                 }}),
    [](const auto& info) { return info.param.name; });

TEST_F(Card, PacketsOfAnotherSizeEndTheSession) {
  begin();
  for (size_t size : {0, 1, 63, 65, 4096}) {
    Direct d = running();
    sendSized(session(), size);
    EXPECT_TRUE(session().waitEnd(soon())) << size;
    EXPECT_TRUE(endsInCard(*d, LANECALL_ERR_RESET)) << size;
    endSession();
    // The next open connects.
    ASSERT_TRUE(d->close(soon()));
    d->clear();
    d->open();
    EXPECT_NO_THROW(expect(LANECALL_CARD_OFFER)) << size;
    d.channel.reset();
    expect(LANECALL_CARD_CLOSE);
  }
}

TEST_F(Card, DescriptorsFromTheServerEndTheSession) {
  begin();
  Direct d = running();
  const lanecall_card_frame frame = firmwareFrame(LANECALL_CARD_END, d.id);
  Bytes bytes(sizeof frame);
  std::memcpy(bytes.data(), &frame, sizeof frame);
  const int fd = session().memoryFd();
  session().sendPacket(bytes, {&fd, 1});
  EXPECT_TRUE(session().waitEnd(soon()));
  EXPECT_TRUE(endsInCard(*d, LANECALL_ERR_RESET));
}

TEST_F(Card, LateFramesAreIgnored) {
  begin();
  Direct closed = running({.channel = 0});
  ASSERT_TRUE(closed->close(soon()));
  expect(LANECALL_CARD_CLOSE, closed.id);
  Direct ended = running({.channel = 1});
  send(LANECALL_CARD_END, ended.id);
  ASSERT_TRUE(endsInCard(*ended, LANECALL_ERR_NONE));
  for (uint64_t id : {closed.id, ended.id}) {
    for (uint32_t type : {LANECALL_CARD_ACCEPT, LANECALL_CARD_DECLINE,
                          LANECALL_CARD_PLACED, LANECALL_CARD_END}) {
      send(type, id);
    }
  }
  send(LANECALL_CARD_RELEASED, closed.id);
  Direct other = running({.channel = 2});
  EXPECT_TRUE(moves(other));
  EXPECT_TRUE(endsInCard(*ended, LANECALL_ERR_NONE));
}

TEST_F(Card, IdsGrowOverTheSessionsOfADevice) {
  begin();
  uint64_t last = 0;
  for (int i = 0; i < 5; ++i) {
    Direct d = running();
    EXPECT_GT(d.id, last);
    last = d.id;
    ASSERT_TRUE(d->close(soon()));
    expect(LANECALL_CARD_CLOSE, d.id);
  }
}

// ---- Places ----------------------------------------------------------------

struct BadPlaces {
  const char* name;
  lanecall_places places;
};

class Misplaced : public Card,
                  public ::testing::WithParamInterface<BadPlaces> {};

TEST_P(Misplaced, EndsTheChannelAndNoOther) {
  begin();
  Direct other = running({.channel = 1});
  Direct d = placing({.channel = 0});
  session().send(firmwarePlaced(d.id, GetParam().places));
  EXPECT_TRUE(endsInCard(*d, LANECALL_ERR_IO));
  EXPECT_NO_THROW(expect(LANECALL_CARD_CLOSE, d.id));
  EXPECT_TRUE(moves(other));
  EXPECT_EQ(guestErrors(), 0u);
}

constexpr uint64_t kCard = uint64_t{64} << 20;

INSTANTIATE_TEST_SUITE_P(
    At, Misplaced,
    ::testing::Values(BadPlaces{"IndexNotAligned", {0x800, 0x10000, 0x20000}},
                      BadPlaces{"TxNotAligned", {0, 0x10001, 0x20000}},
                      BadPlaces{"RxNotAligned", {0, 0x10000, 0x20fff}},
                      BadPlaces{"IndexOutside", {kCard, 0x10000, 0x20000}},
                      BadPlaces{"TxReachesOut", {0, kCard - 0xf000, 0x20000}},
                      BadPlaces{"RxFarOutside", {0, 0x10000, ~uint64_t{0xfff}}},
                      BadPlaces{"IndexInTx", {0x1f000, 0x10000, 0x20000}},
                      BadPlaces{"TxInRx", {0, 0x10000, 0x1f000}},
                      BadPlaces{"AllTheSame", {0, 0, 0}}),
    [](const auto& info) { return info.param.name; });

TEST_F(Card, OfferTellsWhoOpens) {
  use(makeDevice({.card = firmware_.card()}));
  enableEngine(device(), LANECALL_FEATURE_CARD_RINGS | LANECALL_FEATURE_USERS);
  for (uint32_t user : {0u, 1000u, 0xfffffffeu}) {
    offered({.channel = 2, .user = user});
    EXPECT_EQ(offer_.number, 2u);
    EXPECT_EQ(offer_.flags, uint32_t{LANECALL_CARD_OFFER_USER});
    EXPECT_EQ(offer_.user, user);
    expect(LANECALL_CARD_CLOSE);
  }
}

// What the register has means nothing then.
TEST_F(Card, OfferTellsNoUserThatTheDriverDidNotTell) {
  use(makeDevice({.card = firmware_.card()}));
  enableEngine(device(), LANECALL_FEATURE_CARD_RINGS);
  offered({.channel = 1, .user = 1000});
  EXPECT_EQ(offer_.number, 1u);
  EXPECT_EQ(offer_.flags, 0u);
  EXPECT_EQ(offer_.user, 0u);
}

// As it was at OPEN, though the session began after that.
TEST_F(Card, OfferTellsTheUserAtOpen) {
  use(makeDevice({.card = firmware_.card()}));
  enableEngine(device(), LANECALL_FEATURE_CARD_RINGS | LANECALL_FEATURE_USERS);
  UserChannel channel(device(), {.user = 7});
  channel.open();
  channel.writeControl(LANECALL_CH_USER, 8);
  session();
  EXPECT_EQ(expect(LANECALL_CARD_OFFER).frame.offer.user, 7u);
}

TEST_F(Card, PlaceTellsSizesAndModeration) {
  use(makeDevice({.card = firmware_.card()}));
  enableEngine(device(),
               LANECALL_FEATURE_CARD_RINGS | LANECALL_FEATURE_MODERATION);
  placing({.tx_shift = 12,
           .rx_shift = 17,
           .page_shift = 14,
           .moderate_bytes = 1000,
           .moderate_us = 77});
  EXPECT_EQ(wanted_.tx_bytes, 1u << 12);
  EXPECT_EQ(wanted_.rx_bytes, 1u << 17);
  EXPECT_EQ(wanted_.page_bytes, 1u << 14);
  EXPECT_EQ(wanted_.moderate_bytes, 1000u);
  EXPECT_EQ(wanted_.moderate_us, 77u);
}

TEST_F(Card, PlaceInUseIsAnsweredByBusyUntilAnotherIsGiven) {
  begin();
  Direct holder = running({.channel = 0});
  Direct d = placing({.channel = 1});
  lanecall_places places = placesOf(1);
  places.rx = holder.places.tx;
  session().send(firmwarePlaced(d.id, places));
  const auto busy = expect(LANECALL_CARD_BUSY, d.id).frame.busy;
  EXPECT_EQ(busy.offset, holder.places.tx);
  EXPECT_EQ(busy.bytes, 1u << 16);
  session().send(firmwarePlaced(d.id, placesOf(1)));
  start(d, placesOf(1));
  EXPECT_TRUE(moves(d));
  EXPECT_TRUE(moves(holder));
}

TEST_F(Card, BusyHasABound) {
  begin();
  Direct holder = running({.channel = 0});
  Direct d = placing({.channel = 1});
  for (int i = 0; i < LANECALL_CARD_BUSY_MAX; ++i) {
    session().send(firmwarePlaced(d.id, holder.places));
    ASSERT_NO_THROW(expect(LANECALL_CARD_BUSY, d.id)) << i;
  }
  session().send(firmwarePlaced(d.id, holder.places));
  EXPECT_TRUE(endsInCard(*d, LANECALL_ERR_IO));
  EXPECT_TRUE(moves(holder));
}

TEST_F(Card, MemoryIsClearedBeforeTheNextOwnerSeesIt) {
  begin();
  Direct before = running();
  const auto memory = session().memory();
  const auto paint = [&] {
    for (uint64_t at :
         {before.places.index, before.places.tx, before.places.rx}) {
      std::memset(&memory[at], 0xa5, 4096);
    }
  };
  paint();
  ASSERT_TRUE(before->close(soon()));
  expect(LANECALL_CARD_CLOSE, before.id);
  paint();  // in between, too
  Direct after = running({.channel = 1}, before.places);
  for (uint64_t at : {after.places.index, after.places.tx, after.places.rx}) {
    EXPECT_EQ(Bytes(&memory[at], &memory[at] + 4096), Bytes(4096)) << at;
  }
  EXPECT_TRUE(moves(after));
}

// ---- The end of a channel --------------------------------------------------

TEST_F(Card, EndOfTheServerLeavesRxToBeReadAndIsAnsweredByClose) {
  begin();
  Direct d = running();
  const Bytes bytes = someBytes(1000);
  ASSERT_EQ(d.firmware->trySend(bytes), 1000);
  send(LANECALL_CARD_END, d.id);
  ASSERT_TRUE(endsInCard(*d, LANECALL_ERR_NONE));
  EXPECT_EQ(d->read(2000, soon()), bytes);
  ASSERT_TRUE(d->drain(soon()));
  EXPECT_NO_THROW(expect(LANECALL_CARD_CLOSE, d.id));
}

TEST_F(Card, DrainWaitsForTheServer) {
  begin();
  Direct d = running();
  const Bytes bytes = someBytes(1000);
  ASSERT_EQ(d->tryWrite(bytes), 1000);
  d->command(LANECALL_CMD_DRAIN);
  expect(LANECALL_CARD_DRAIN, d.id);
  EXPECT_EQ(d->status(), uint32_t{LANECALL_DRAINING | LANECALL_IN_CARD});
  Bytes got(1000);
  EXPECT_EQ(d.firmware->tryReceive(got), 1000);
  EXPECT_EQ(got, bytes);
  send(LANECALL_CARD_RELEASED, d.id);
  EXPECT_TRUE(isClosed(*d));
}

TEST_F(Card, DrainAndEndMayMeet) {
  begin();
  Direct d = running();
  d->command(LANECALL_CMD_DRAIN);
  send(LANECALL_CARD_END, d.id);
  expect(LANECALL_CARD_DRAIN, d.id);
  send(LANECALL_CARD_RELEASED, d.id);
  EXPECT_TRUE(isClosed(*d));
}

// ---- Firmware that goes, and comes back ------------------------------------

TEST_F(Card, KilledServerEndsItsChannelsAndIsFoundAgain) {
  begin();
  Direct before = running({.channel = 0});
  Direct draining = running({.channel = 1});
  draining->tryWrite(someBytes(10));
  draining->command(LANECALL_CMD_DRAIN);
  const Bytes bytes = someBytes(1000);
  ASSERT_EQ(before.firmware->trySend(bytes), 1000);
  firmware_.stop();
  before.firmware.reset();
  endSession();
  EXPECT_TRUE(endsInCard(*before, LANECALL_ERR_RESET));
  EXPECT_TRUE(isClosed(*draining));
  EXPECT_EQ(before->read(2000, soon()), bytes);
  EXPECT_TRUE(endsWith(*opened({.channel = 2}), LANECALL_ERR_REFUSED));

  firmware_.listen();
  UserChannel channel(device(), {.channel = 3});
  channel.open();
  session();
  const uint64_t id = expect(LANECALL_CARD_OFFER).frame.channel;
  send(LANECALL_CARD_DECLINE, id);
  EXPECT_TRUE(endsWith(channel, LANECALL_ERR_REFUSED));
  // What the old session's channel may still have mapped is not given away.
  Direct d = placing({.channel = 4});
  session().send(firmwarePlaced(d.id, before.places));
  EXPECT_NO_THROW(expect(LANECALL_CARD_BUSY, d.id));
  ASSERT_TRUE(before->close(soon()));
  session().send(firmwarePlaced(d.id, before.places));
  start(d, before.places);
  EXPECT_TRUE(moves(d));
}

// ---- Firmware that spoils what it has --------------------------------------

TEST_F(Card, ScribblingServerHarmsItsChannelsOnly) {
  begin(true);
  Call socket = call({.channel = 9, .flags = 0});
  Direct honest = running({.channel = 0});
  Direct spoiled = running({.channel = 1});
  const Bytes noise = someBytes(1 << 16);
  const auto memory = session().memory();
  std::memcpy(&memory[spoiled.places.index], noise.data(),
              LANECALL_INDEX_BYTES);
  std::memcpy(&memory[spoiled.places.rx], noise.data(), noise.size());
  std::memcpy(&memory[spoiled.places.tx], noise.data(), noise.size());
  spoiled->doorbell();
  spoiled.firmware->interruptDriver();
  unsigned char byte;
  EXPECT_EQ(spoiled->tryRead({&byte, 1}), -1);  // its driver notices
  EXPECT_TRUE(moves(honest));
  EXPECT_TRUE(works(socket));
  ASSERT_TRUE(spoiled->close(soon()));
  EXPECT_NO_THROW(expect(LANECALL_CARD_CLOSE, spoiled.id));
  EXPECT_TRUE(moves(honest));
  EXPECT_EQ(guestErrors(), 0u);
}

// The server shares the doorbell's file, and with it its flags and its count.
TEST_F(Card, DoorbellThatTheServerHasFilledDoesNotBlockTheDevice) {
  begin();
  Direct d = running();
  const int doorbell = d.firmware->doorbell();
  ASSERT_EQ(fcntl(doorbell, F_SETFL, 0), 0);  // not O_NONBLOCK any more
  ASSERT_EQ(eventfd_write(doorbell, ~uint64_t{0} - 1), 0);
  d->doorbell();
  EXPECT_EQ(device().read32(LANECALL_REG_MAGIC), uint32_t{LANECALL_MAGIC});
  ASSERT_TRUE(d->close(soon()));
}

}  // namespace
}  // namespace lanecall::test
