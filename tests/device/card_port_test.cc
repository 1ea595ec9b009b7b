// SPDX-License-Identifier: Apache-2.0
// The card port: greeting, frames that are wrong, servers that go, stay away,
// flood, or do not read.
#include <sys/stat.h>

#include <cstring>

#include "../seed.h"
#include "card_ground.h"

namespace lanecall::test {
namespace {

Bytes bytesOf(const lanecall_card_frame& frame) {
  Bytes bytes(sizeof frame);
  std::memcpy(bytes.data(), &frame, sizeof frame);
  return bytes;
}

class CardPort : public CardGround {};

TEST_F(CardPort, HelloSaysWhatTheDeviceIs) {
  start({.channels = 70});
  const lanecall_card_frame& hello = session().hello().frame;
  EXPECT_EQ(hello.channel, 0u);
  EXPECT_EQ(hello.error, 0u);
  EXPECT_EQ(hello.greeting.magic, LANECALL_CARD_MAGIC);
  EXPECT_EQ(hello.greeting.version, uint32_t{LANECALL_CARD_VERSION});
  EXPECT_EQ(hello.greeting.features, uint64_t{LANECALL_CARD_FEATURE_DMA});
  EXPECT_EQ(hello.greeting.dma, 1024u);
  EXPECT_EQ(hello.greeting.card_bytes, 64u << 20);
  EXPECT_EQ(hello.greeting.channels, 70u);
  EXPECT_STREQ(reinterpret_cast<const char*>(hello.greeting.device), "dut");
}

TEST_F(CardPort, TheDeviceConnectsAtItsStart) {
  useQemuDevice(std::make_unique<QemuDevice>(std::make_shared<Qemu>(
      QemuOptions{{"-device", argument({}) + ",id=dut,addr=4.0"}})));
  EXPECT_NO_THROW(session());  // nobody has enabled the engine
}

TEST_F(CardPort, TheDeviceConnectsWhenAChannelOpens) {
  card_.stopListening();
  start();
  card_.listen();
  auto channel = openInCard();
  const CardOffer offer = offered();
  EXPECT_EQ(offer.number, 0u);
}

TEST_F(CardPort, OneSessionIsEnough) {
  start();
  session();
  auto first = openInCard({.channel = 0}), second = openInCard({.channel = 1});
  const CardOffer one = offered(), two = offered();
  EXPECT_EQ(one.number, 0u);
  EXPECT_EQ(two.number, 1u);
  EXPECT_LT(one.id, two.id);
}

TEST_F(CardPort, IdsAreNeverUsedAgain) {
  start();
  uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    if (i == 5) endSession();
    auto channel = openInCard();
    const CardOffer offer = offered();
    EXPECT_GT(offer.id, last);
    last = offer.id;
    ASSERT_TRUE(channel->close(soon()));
    expectFrame(LANECALL_CARD_CLOSE, offer.id);
  }
}

// ---- Greetings that are wrong ----------------------------------------------

struct BadGreeting {
  const char* name;
  lanecall_card_frame frame;
  size_t bytes;
  bool descriptor;
  const char* said;
};

void PrintTo(const BadGreeting& greeting, std::ostream* out) {
  *out << greeting.name;
}

lanecall_card_frame welcomeWith(void (*change)(lanecall_card_frame&)) {
  lanecall_card_frame frame = cardWelcome();
  change(frame);
  return frame;
}

class GreetedBadly : public CardGround,
                     public ::testing::WithParamInterface<BadGreeting> {};

INSTANTIATE_TEST_SUITE_P(
    By, GreetedBadly,
    ::testing::Values(
        BadGreeting{"AnotherVersion",
                    welcomeWith([](auto& f) { f.greeting.version = 2 << 16; }),
                    64, false, "version"},
        BadGreeting{"AnotherMagic",
                    welcomeWith([](auto& f) { f.greeting.magic ^= 1; }), 64,
                    false, "WELCOME"},
        BadGreeting{"FeaturesNotOffered",
                    welcomeWith([](auto& f) { f.greeting.features = 4; }), 64,
                    false, "features"},
        BadGreeting{"AnotherFrame", cardFrame(LANECALL_CARD_ACCEPT, 1), 64,
                    false, "WELCOME"},
        BadGreeting{"AShortFrame", cardWelcome(), 63, false, "64 bytes"},
        BadGreeting{"ALongFrame", cardWelcome(), 65, false, "64 bytes"},
        BadGreeting{"ADescriptor", cardWelcome(), 64, true, "descriptors"}),
    [](const auto& info) { return info.param.name; });

TEST_P(GreetedBadly, TheServerIsDroppedAndMayTryAgain) {
  start();
  auto bad = card_.accept(soon());
  ASSERT_TRUE(bad && bad->takeHello(soon()));
  auto waiting = openInCard();
  Bytes packet = bytesOf(GetParam().frame);
  packet.resize(GetParam().bytes);
  const int fd = bad->memoryFd();
  ASSERT_TRUE(bad->sendPacket(packet, {&fd, GetParam().descriptor ? 1u : 0u}));
  EXPECT_TRUE(bad->waitEnd(soon()));
  EXPECT_TRUE(endsWith(*waiting, LANECALL_ERR_REFUSED));
  ASSERT_TRUE(qemu().alive());
  EXPECT_NE(qemu().said().find(GetParam().said), std::string::npos)
      << qemu().said();
  EXPECT_NE(qemu().said().find(card_.card()), std::string::npos);

  ASSERT_TRUE(waiting->close(soon()));
  DirectCall c = direct();
  EXPECT_TRUE(moves(c));
}

TEST_F(CardPort, AServerThatDoesNotGreetIsDroppedAfter5Seconds) {
  start({.rpc = true});
  auto silent = card_.accept(soon());
  ASSERT_TRUE(silent && silent->takeHello(soon()));
  auto waiting = openInCard();
  EXPECT_EQ(waiting->state(), uint32_t{LANECALL_CONNECTING});
  EXPECT_TRUE(silent->waitEnd(soon()));
  EXPECT_TRUE(reaches(*waiting, LANECALL_READY));  // by the socket
  EXPECT_NE(qemu().said().find("did not greet"), std::string::npos);
}

TEST_F(CardPort, AServerThatGoesInsteadOfGreetingIsNoNews) {
  start({.rpc = true});
  auto gone = card_.accept(soon());
  ASSERT_TRUE(gone && gone->takeHello(soon()));
  auto waiting = openInCard();
  gone->close();
  EXPECT_TRUE(reaches(*waiting, LANECALL_READY));
  EXPECT_EQ(qemu().said(), "");
}

TEST_F(CardPort, ChannelsThatWaitAreOfferedAfterTheGreeting) {
  start();
  auto slow = card_.accept(soon());
  ASSERT_TRUE(slow && slow->takeHello(soon()));
  auto one = openInCard({.channel = 3}), two = openInCard({.channel = 5});
  ASSERT_TRUE(slow->send(cardWelcome()));
  for (unsigned number : {3u, 5u}) {
    auto frame = slow->receive(soon());
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->type(), uint32_t{LANECALL_CARD_OFFER});
    EXPECT_EQ(frame->frame.offer.number, number);
  }
}

// ---- Frames that are wrong -------------------------------------------------

// Sent where one channel was offered and one was accepted.
struct BadFrame {
  const char* name;
  const char* said;
  lanecall_card_frame (*frame)(uint64_t offered, uint64_t accepted);
  size_t bytes = 64;
  bool descriptor = false;
};

void PrintTo(const BadFrame& frame, std::ostream* out) { *out << frame.name; }

class SentBadly : public CardGround,
                  public ::testing::WithParamInterface<BadFrame> {};

INSTANTIATE_TEST_SUITE_P(
    Was, SentBadly,
    ::testing::Values(
        BadFrame{"AnUnknownType", "unknown type",
                 [](auto, auto a) { return cardFrame(0x99, a); }},
        BadFrame{
            "ATypeOfTheDevice", "unknown type",
            [](auto, auto a) { return cardFrame(LANECALL_CARD_CLOSE, a); }},
        BadFrame{"WelcomeAgain", "unknown type",
                 [](auto, auto) { return cardWelcome(); }},
        BadFrame{"AboutNoChannel", "never offered",
                 [](auto, auto) { return cardFrame(LANECALL_CARD_END, 0); }},
        BadFrame{"AboutAChannelToCome", "never offered",
                 [](auto, auto a) {
                   return cardFrame(LANECALL_CARD_ACCEPT, a + 1);
                 }},
        BadFrame{
            "AcceptTwice", "twice",
            [](auto, auto a) { return cardFrame(LANECALL_CARD_ACCEPT, a); }},
        BadFrame{
            "DeclineAfterAccept", "twice",
            [](auto, auto a) { return cardFrame(LANECALL_CARD_DECLINE, a); }},
        BadFrame{"PlacedWithoutPlace", "PLACED",
                 [](auto, auto a) { return cardPlaced(a, placesOf(0)); }},
        BadFrame{"PlacedBeforeAccept", "PLACED",
                 [](auto o, auto) { return cardPlaced(o, placesOf(0)); }},
        BadFrame{
            "ReleasedWithoutDrain", "RELEASED",
            [](auto, auto a) { return cardFrame(LANECALL_CARD_RELEASED, a); }},
        BadFrame{"EndBeforeAccept", "END",
                 [](auto o, auto) { return cardFrame(LANECALL_CARD_END, o); }},
        BadFrame{
            "EndWithAnUnknownError", "END",
            [](auto, auto a) { return cardFrame(LANECALL_CARD_END, a, 10); }},
        BadFrame{"DeclineWithAnUnknownError", "DECLINE",
                 [](auto o, auto) {
                   return cardFrame(LANECALL_CARD_DECLINE, o, ~0u);
                 }},
        BadFrame{
            "AShortFrame", "64 bytes",
            [](auto o, auto) { return cardFrame(LANECALL_CARD_ACCEPT, o); },
            16},
        BadFrame{
            "ALongFrame", "64 bytes",
            [](auto o, auto) { return cardFrame(LANECALL_CARD_ACCEPT, o); },
            4096},
        BadFrame{
            "ADescriptor", "descriptors",
            [](auto o, auto) { return cardFrame(LANECALL_CARD_ACCEPT, o); }, 64,
            true}),
    [](const auto& info) { return info.param.name; });

TEST_P(SentBadly, EndsTheSession) {
  start();
  DirectCall running = direct({.channel = 0});
  auto offered_channel = openInCard({.channel = 1});
  const CardOffer offer = offered();
  Accepted made = accepted({.channel = 2});
  Bytes packet = bytesOf(GetParam().frame(offer.id, made.offer.id));
  packet.resize(GetParam().bytes);
  const int fd = session().memoryFd();
  ASSERT_TRUE(
      session().sendPacket(packet, {&fd, GetParam().descriptor ? 1u : 0u}));
  EXPECT_TRUE(sessionEnds());
  EXPECT_TRUE(endsInCard(*running, LANECALL_ERR_RESET));
  EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_RESET));
  EXPECT_TRUE(endsWith(*offered_channel, LANECALL_ERR_REFUSED));
  EXPECT_NE(qemu().said().find(GetParam().said), std::string::npos)
      << qemu().said();
  EXPECT_EQ(guestErrors(), 0u);

  ASSERT_TRUE(running->close(soon()));
  endSession();
  DirectCall anew = direct({.channel = 0});
  EXPECT_TRUE(moves(anew));
}

TEST_F(CardPort, LateFramesAreIgnored) {
  start();
  DirectCall closed = direct({.channel = 0});
  ASSERT_TRUE(closed->close(soon()));
  auto declined = openInCard({.channel = 1});
  expectFrame(LANECALL_CARD_CLOSE, closed.offer.id);
  const CardOffer other = offered();
  session().send(cardFrame(LANECALL_CARD_DECLINE, other.id));
  for (uint64_t id : {closed.offer.id, other.id}) {
    for (uint32_t type = LANECALL_CARD_ACCEPT; type <= LANECALL_CARD_RELEASED;
         ++type) {
      session().send(cardFrame(type, id, 99));
    }
  }
  EXPECT_TRUE(sessionLives());
  EXPECT_EQ(qemu().said(), "");
}

TEST_F(CardPort, RandomFramesDoNotKillQemu) {
  start();
  const auto seed = static_cast<unsigned>(announcedSeed());
  std::mt19937_64 random(seed);
  for (int round = 0; round < 30; ++round) {
    auto running = openInCard({.channel = 0});
    auto waiting = openInCard({.channel = 1});
    const CardOffer one = offered(), two = offered();
    session().send(cardFrame(LANECALL_CARD_ACCEPT, one.id));
    running->waitWhile(LANECALL_CONNECTING, soon());
    running->attach();
    for (int i = 0; i < 20; ++i) {
      lanecall_card_frame frame = cardFrame(
          static_cast<uint32_t>(0x81 + random() % 7),
          random() % 2 ? one.id : two.id, static_cast<uint32_t>(random() % 12));
      frame.placed = {random() % 64 << 12, random() % 64 << 12,
                      random() % 64 << 12};
      Bytes packet = bytesOf(frame);
      if (random() % 8 == 0) packet[random() % 64] ^= 1 << random() % 8;
      if (random() % 32 == 0) packet.resize(random() % 128);
      if (!session().sendPacket(packet)) break;
    }
    running->close(soon());
    waiting->close(soon());
    ASSERT_TRUE(qemu().alive()) << qemu().said();
    endSession();
  }
  DirectCall c = direct();
  EXPECT_TRUE(moves(c));
}

// ---- Servers that go -------------------------------------------------------

TEST_F(CardPort, AServerThatIsKilledEndsItsChannels) {
  start({.rpc = true});
  DirectCall running = direct({.channel = 0});
  DirectCall draining = direct({.channel = 1});
  DirectCall ended = direct({.channel = 2});
  Accepted ready = accepted({.channel = 3});
  Accepted placing = accepted({.channel = 4});
  placing.channel->attach();
  auto offered_channel = openInCard({.channel = 5});
  Call socket = call({.channel = 6, .flags = 0});
  draining->command(LANECALL_CMD_DRAIN);
  session().send(cardFrame(LANECALL_CARD_END, ended.offer.id));
  ASSERT_TRUE(endsInCard(*ended, LANECALL_ERR_NONE));
  expectFrame(LANECALL_CARD_PLACE, placing.offer.id);
  offered();
  expectFrame(LANECALL_CARD_DRAIN, draining.offer.id);
  endSession();

  EXPECT_TRUE(endsInCard(*running, LANECALL_ERR_RESET));
  EXPECT_TRUE(isClosed(*draining));
  EXPECT_TRUE(endsInCard(*ended, LANECALL_ERR_NONE));
  EXPECT_TRUE(endsInCard(*ready.channel, LANECALL_ERR_RESET));
  EXPECT_TRUE(endsInCard(*placing.channel, LANECALL_ERR_RESET));
  EXPECT_TRUE(reaches(*offered_channel, LANECALL_READY));
  EXPECT_TRUE(works(socket));
  EXPECT_EQ(qemu().said(), "");
  ASSERT_TRUE(running->close(soon()));
  ASSERT_TRUE(ended->close(soon()));
  DirectCall anew = direct({.channel = 7});
  EXPECT_TRUE(moves(anew));
}

// What a server said before it went counts, also when it had not read all.
TEST_F(CardPort, WhatAServerSaidLastIsHeard) {
  start();
  DirectCall one = direct({.channel = 0}), two = direct({.channel = 1});
  auto unread = openInCard({.channel = 2});
  session().send(cardFrame(LANECALL_CARD_END, one.offer.id));
  session().send(
      cardFrame(LANECALL_CARD_END, two.offer.id, LANECALL_ERR_RESOURCES));
  endSession();
  EXPECT_TRUE(endsInCard(*one, LANECALL_ERR_NONE));
  EXPECT_TRUE(endsInCard(*two, LANECALL_ERR_RESOURCES));
  EXPECT_TRUE(endsWith(*unread, LANECALL_ERR_REFUSED));
}

TEST_F(CardPort, AServerThatIsBackIsAttachedAgain) {
  start();
  for (int i = 0; i < 10; ++i) {
    DirectCall c = direct();
    ASSERT_TRUE(moves(c));
    endSession();
    ASSERT_TRUE(endsInCard(*c, LANECALL_ERR_RESET));
  }
}

// ---- Servers that flood, or do not read ------------------------------------

TEST_F(CardPort, AFloodOfFramesDoesNotKeepOthersFromWorking) {
  start({.rpc = true});
  Call socket = call({.channel = 1, .flags = 0});
  DirectCall closed = direct({.channel = 0});
  ASSERT_TRUE(closed->close(soon()));
  std::atomic<bool> stop{false};
  std::thread flood([&] {
    const auto late = cardFrame(LANECALL_CARD_END, closed.offer.id);
    while (!stop && session().send(late)) {
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(works(socket));
  stop = true;
  flood.join();
  EXPECT_TRUE(qemu().alive());
}

class UnreadCardPort : public CardPort {
 protected:
  // Opens and closes a channel, again and again, while the server does not
  // read.
  void cycle(unsigned channel, int times = 2000) {
    for (int i = 0; i < times; ++i) {
      ASSERT_TRUE(openInCard({.channel = channel})->close(soon()));
    }
  }
};

TEST_F(UnreadCardPort, OneChannelCannotEndOthers) {
  start();
  DirectCall running = direct({.channel = 0});
  DirectCall draining = direct({.channel = 1});
  Accepted ready = accepted({.channel = 2});
  cycle(9);
  EXPECT_TRUE(endsWith(*openInCard({.channel = 10}), LANECALL_ERR_RESOURCES));
  draining->command(LANECALL_CMD_DRAIN);
  ready.channel->attach();
  EXPECT_EQ(running->statusRegister(),
            uint32_t{LANECALL_RUNNING | LANECALL_IN_CARD});
  EXPECT_TRUE(moves(running));

  // It reads again: all is told in order, and nothing of those refused.
  uint64_t id;
  for (;;) {
    const CardFrame frame = expectFrame(LANECALL_CARD_OFFER);
    id = frame.id();
    expectFrame(LANECALL_CARD_CLOSE, id);
    if (session().peekType(soon()) != LANECALL_CARD_OFFER) break;
  }
  EXPECT_LT(id, ready.offer.id + 2000);
  expectFrame(LANECALL_CARD_DRAIN, draining.offer.id);
  expectFrame(LANECALL_CARD_PLACE, ready.offer.id);
  session().send(cardFrame(LANECALL_CARD_RELEASED, draining.offer.id));
  EXPECT_TRUE(isClosed(*draining));
  session().send(cardPlaced(ready.offer.id, placesOf(2)));
  EXPECT_TRUE(reaches(*ready.channel, LANECALL_RUNNING | LANECALL_IN_CARD));
  expectFrame(LANECALL_CARD_START, ready.offer.id);
  EXPECT_TRUE(moves(running));
  EXPECT_TRUE(sessionLives());
  EXPECT_EQ(qemu().said(), "");
}

TEST_F(UnreadCardPort, NewChannelsUseTheSocket) {
  start({.rpc = true});
  DirectCall running = direct({.channel = 0});
  cycle(9);
  server().discardPending();
  Call socket = call({.channel = 10});
  EXPECT_TRUE(works(socket));
  EXPECT_TRUE(moves(running));
}

TEST_F(UnreadCardPort, HasRoomForTheLastFramesOfEveryChannel) {
  start({.channels = 256});
  std::vector<DirectCall> calls;
  for (unsigned n = 0; n < 255; ++n) calls.push_back(direct({.channel = n}));
  cycle(255);
  for (auto& c : calls) c->command(LANECALL_CMD_DRAIN);
  for (auto& c : calls) ASSERT_TRUE(c->close(soon()));
  cycle(0, 10);
  while (session().peekType(soon()) != LANECALL_CARD_DRAIN) {
    ASSERT_TRUE(session().receive(soon()));
  }
  for (auto& c : calls) expectFrame(LANECALL_CARD_DRAIN, c.offer.id);
  for (auto& c : calls) expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
  EXPECT_TRUE(sessionLives());
}

TEST_F(UnreadCardPort, AServerThatAsksWithoutReadingTheAnswersIsDropped) {
  start({.channels = 3});
  DirectCall holder = direct({.channel = 0}, placesOf(0));
  Accepted made = accepted({.channel = 1});
  made.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  cycle(2);
  for (int i = 0; i < 20; ++i) {  // more than the frames of three channels
    session().send(cardPlaced(made.offer.id, placesOf(0)));
  }
  EXPECT_TRUE(sessionEnds());
  EXPECT_NE(qemu().said().find("does not read"), std::string::npos)
      << qemu().said();
  EXPECT_TRUE(endsInCard(*holder, LANECALL_ERR_RESET));
  EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_RESET));
}

TEST_F(CardPort, TheLogOfBadServersIsBounded) {
  start();
  for (int i = 0; i < 100; ++i) {
    auto channel = openInCard();
    session().send(cardFrame(0x99, 1));
    EXPECT_TRUE(sessionEnds());
    endSession();
    ASSERT_TRUE(channel->close(soon()));
  }
  const std::string said = qemu().said();
  EXPECT_LT(std::count(said.begin(), said.end(), '\n'), 100);
  EXPECT_GT(std::count(said.begin(), said.end(), '\n'), 0);
}

TEST_F(CardPort, NothingIsLeakedByAnyEnd) {
  start();
  const auto all_ends = [&] {
    DirectCall killed = direct({.channel = 0});
    DirectCall drained = direct({.channel = 1});
    drained->command(LANECALL_CMD_DRAIN);
    expectFrame(LANECALL_CARD_DRAIN, drained.offer.id);
    session().send(cardFrame(LANECALL_CARD_RELEASED, drained.offer.id));
    EXPECT_TRUE(isClosed(*drained));
    DirectCall ended = direct({.channel = 2});
    session().send(cardFrame(LANECALL_CARD_END, ended.offer.id));
    EXPECT_TRUE(endsInCard(*ended, LANECALL_ERR_NONE));
    auto closed = openInCard({.channel = 3});
    const CardOffer offer = offered();
    ASSERT_TRUE(closed->close(soon()));
    auto declined = openInCard({.channel = 4});
    expectFrame(LANECALL_CARD_CLOSE, offer.id);
    session().send(cardFrame(LANECALL_CARD_DECLINE, offered().id));
    EXPECT_TRUE(endsWith(*declined, LANECALL_ERR_REFUSED));
    endSession();
    EXPECT_TRUE(endsInCard(*killed, LANECALL_ERR_RESET));
  };
  ASSERT_NO_FATAL_FAILURE(all_ends());
  const size_t before = descriptorsOfQemu();
  for (int i = 0; i < 5; ++i) ASSERT_NO_FATAL_FAILURE(all_ends());
  EXPECT_EQ(descriptorsOfQemu(), before);
}

}  // namespace
}  // namespace lanecall::test
