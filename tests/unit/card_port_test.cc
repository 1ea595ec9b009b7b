// SPDX-License-Identifier: Apache-2.0
//
// The card port against a device that keeps the protocol, and against one that
// does not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <lanecall/card_port.h>
#include <lanecall/card_transport.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <thrift/transport/TTransportException.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>

#include "card_device.h"

namespace lanecall {
namespace {

using apache::thrift::transport::TTransportException;
using test::CardClient;
using test::CardDevice;

constexpr int kPatienceMs = 60'000;

// As far as an eventfd can be written.
constexpr eventfd_t kFullEventfd = ~eventfd_t{0} - 1;

class CardPortTest : public ::testing::Test {
 protected:
  ~CardPortTest() override {
    port.reset();
    std::filesystem::remove_all(folder);
  }

  // The channel that the device has started.
  std::unique_ptr<CardChannel> accept() {
    pollfd wait{port->fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&wait, 1, kPatienceMs), 1) << "no channel";
    return port->accept();
  }

  // A device that has one channel open.
  void open() {
    device.greet();
    client = device.open();
    channel = accept();
  }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    return ::mkdtemp(pattern.data());
  }

  const std::string folder = makeFolder();
  const std::string path = folder + "/card";
  std::unique_ptr<CardPort> port = std::make_unique<CardPort>("unix:" + path);
  CardDevice device{path};
  std::unique_ptr<CardClient> client;
  std::unique_ptr<CardChannel> channel;
};

// Puts bytes into a ring, and tells if that is asked for.
void put(RingIo& io, const std::string& bytes) {
  RingIo::Ring& ring = io.outgoing();
  ASSERT_GE(lanecall_ring_space(&ring.core), static_cast<__s64>(bytes.size()));
  std::memcpy(ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own),
              bytes.data(), bytes.size());
  if (lanecall_ring_publish(&ring.core, bytes.size())) io.notify();
}

// Takes what is there, or waits for something.
std::string get(RingIo& io) {
  RingIo::Ring& ring = io.incoming();
  __s64 have;
  while ((have = lanecall_ring_arm(&ring.core)) == 0 && io.end() == 0)
    if (io.poll(POLLIN, kPatienceMs) == 0) return "nothing came";
  have = lanecall_ring_look(&ring.core);
  if (have < 0) return "an impossible index";
  std::string bytes(reinterpret_cast<char*>(ring.bytes) +
                        lanecall_ring_offset(&ring.core, ring.core.own),
                    have);
  if (lanecall_ring_release(&ring.core, have)) io.notify();
  return bytes;
}

TEST_F(CardPortTest, AnotherUsersDeviceIsSentAway) {
  for (bool isNamed : {false, true}) {
    port.reset();
    port = std::make_unique<CardPort>(
        "unix:" + path, nullptr,
        CardPortOptions{.access = {.uids = {::getuid() + !isNamed}}});
    device.connect(path);
    if (isNamed)
      device.greet();
    else
      device.expectEnded();
  }
}

TEST_F(CardPortTest, AChannelKnowsWhoOpenedIt) {
  device.opener.number = htole32(5);
  open();
  EXPECT_EQ(channel->caller(), (Caller{"edu0", 5, {}}));
  device.opener.flags = htole32(LANECALL_CARD_OFFER_USER);
  device.opener.user = htole32(1000);
  const auto other = device.open();
  EXPECT_EQ(accept()->caller(), (Caller{"edu0", 5, 1000}));
}

TEST_F(CardPortTest, WhomThePolicyDoesNotAllowIsDeclined) {
  Policy policy;
  policy.allow("uid=0");
  port.reset();
  port = std::make_unique<CardPort>("unix:" + path, nullptr,
                                    CardPortOptions{.policy = policy});
  device.connect(path);
  device.greet();
  device.offerDeclined(LANECALL_ERR_ACCESS);  // it does not say who
  device.opener.flags = htole32(LANECALL_CARD_OFFER_USER);
  device.opener.user = htole32(1000);
  device.offerDeclined(LANECALL_ERR_ACCESS);
  device.opener.user = 0;
  client = device.open();
  channel = accept();
  EXPECT_EQ(channel->caller().uid, 0u);
  device.opener.user = htole32(1000);
  device.offerDeclined(LANECALL_ERR_ACCESS);
}

TEST_F(CardPortTest, BytesCrossBothWays) {
  open();
  put(*client, "question");
  EXPECT_EQ(get(*channel), "question");
  put(*channel, "answer");
  EXPECT_EQ(get(*client), "answer");
}

TEST_F(CardPortTest, RingsWrapWithoutASeam) {
  open();
  for (int i = 0; i < 20; ++i) {
    const std::string sent = std::to_string(i) + std::string(999, 'x');
    put(*client, sent);
    ASSERT_EQ(get(*channel), sent);
    put(*channel, sent);
    ASSERT_EQ(get(*client), sent);
  }
}

TEST_F(CardPortTest, RingsMayHaveAnySizeAndPage) {
  device.greet();
  std::vector<std::unique_ptr<CardChannel>> kept;
  for (auto [tx, rx] : {std::pair{4096u, 8u << 20}, {1u << 20, 4096u}}) {
    client = device.open(tx, rx);
    kept.push_back(accept());
    ASSERT_EQ(kept.back()->incoming().core.size, tx);
    ASSERT_EQ(kept.back()->outgoing().core.size, rx);
    put(*client, "in place");
    EXPECT_EQ(get(*kept.back()), "in place");
  }
  const std::uint64_t id = device.offer();
  auto place = device.placeFrame(id);
  place.place.page_bytes = 65536;
  device.send(place);
  auto placed = device.expect(LANECALL_CARD_PLACED, id).placed;
  EXPECT_EQ(placed.index % 65536, 0u);
  EXPECT_EQ(placed.tx % 65536, 0u);
  EXPECT_EQ(placed.rx % 65536, 0u);
  EXPECT_FALSE(lanecall_card_overlap(placed.index, 65536, placed.tx, 65536));
  EXPECT_FALSE(lanecall_card_overlap(placed.tx, 65536, placed.rx, 65536));
}

TEST_F(CardPortTest, ChannelsSayWhoseTheyAre) {
  open();
  EXPECT_EQ(channel->name(), "card:edu0:0");
  EXPECT_EQ(port->address(), "card:unix:" + path);
}

TEST_F(CardPortTest, ServesManyDevices) {
  open();
  CardDevice other(path);
  other.greet();
  auto otherClient = other.open();
  auto otherChannel = accept();
  put(*otherClient, "other");
  put(*client, "first");
  EXPECT_EQ(get(*channel), "first");
  EXPECT_EQ(get(*otherChannel), "other");
  other.disconnect();
  EXPECT_EQ(get(*otherChannel), "");
  put(*client, "still there");
  EXPECT_EQ(get(*channel), "still there");
}

// ---- Ends

TEST_F(CardPortTest, DrainLeavesWhatWasWrittenAndEndsInOrder) {
  open();
  put(*client, "last words");
  device.send(LANECALL_CARD_DRAIN, device.lastId());
  while (!channel->end()) channel->poll(POLLIN, kPatienceMs);
  EXPECT_EQ(channel->end(), -ESHUTDOWN);
  EXPECT_EQ(get(*channel), "last words");
  channel->close();
  device.expect(LANECALL_CARD_RELEASED, device.lastId());
}

TEST_F(CardPortTest, CloseEndsAtOnce) {
  open();
  device.send(LANECALL_CARD_CLOSE, device.lastId());
  EXPECT_EQ(get(*channel), "");
  EXPECT_EQ(channel->end(), -ECONNRESET);
  EXPECT_EQ(channel->poll(POLLIN, kPatienceMs), POLLHUP);
  channel->close();
  // Nothing is said about it any more.
  device.offer();
}

TEST_F(CardPortTest, OurEndIsToldAndItsPlaceKeptUntilClose) {
  open();
  put(*channel, "last words");
  const std::uint64_t first = device.lastId();
  channel.reset();
  EXPECT_EQ(device.expect(LANECALL_CARD_END, first).error, 0u);
  EXPECT_EQ(get(*client), "last words");

  const std::uint64_t second = device.offer();
  device.send(device.placeFrame(second));
  EXPECT_NE(device.expect(LANECALL_CARD_PLACED, second).placed.index, 0u);
  device.send(LANECALL_CARD_CLOSE, first);
  const std::uint64_t third = device.offer();
  device.send(device.placeFrame(third));
  EXPECT_EQ(device.expect(LANECALL_CARD_PLACED, third).placed.index, 0u);
}

TEST_F(CardPortTest, AnImpossibleIndexIsABreachOfTheProtocol) {
  for (bool reading : {true, false}) {
    device = CardDevice(path);
    open();
    lanecall_index_page& words = client->words();
    lanecall_put32(reading ? &words.tx_producer.head : &words.rx_consumer.tail,
                   0x40000000);
    CardTransport transport(std::move(channel));
    std::uint8_t byte = 0;
    if (reading)
      EXPECT_THROW(transport.read(&byte, 1), TTransportException);
    else
      EXPECT_THROW((transport.write(&byte, 1), transport.flush()),
                   TTransportException);
    EXPECT_EQ(device.expect(LANECALL_CARD_END, device.lastId()).error,
              unsigned{LANECALL_ERR_PROTOCOL});
  }
}

TEST_F(CardPortTest, APlaceIsKeptWhileSomebodyUsesIt) {
  open();
  device.send(LANECALL_CARD_CLOSE, device.lastId());
  const std::uint64_t next = device.offer();
  device.send(device.placeFrame(next));
  EXPECT_NE(device.expect(LANECALL_CARD_PLACED, next).placed.index, 0u)
      << "in the hands of two";
  device.send(LANECALL_CARD_CLOSE, next);
  channel.reset();
  const std::uint64_t last = device.offer();
  device.send(device.placeFrame(last));
  EXPECT_EQ(device.expect(LANECALL_CARD_PLACED, last).placed.index, 0u);
}

TEST_F(CardPortTest, APlaceIsKeptOverSessionsToo) {
  open();
  device.connect(path);
  device.greet();
  const std::uint64_t next = device.offer();
  device.send(device.placeFrame(next));
  EXPECT_NE(device.expect(LANECALL_CARD_PLACED, next).placed.index, 0u)
      << "in the hands of two";
}

TEST_F(CardPortTest, ADrainThatMeetsOurEndIsAnswered) {
  open();
  channel.reset();
  device.expect(LANECALL_CARD_END, device.lastId());
  device.send(LANECALL_CARD_DRAIN, device.lastId());
  device.expect(LANECALL_CARD_RELEASED, device.lastId());
  device.send(LANECALL_CARD_CLOSE, device.lastId());  // late
  device.offer();
}

TEST_F(CardPortTest, LosingTheDeviceEndsItsChannelsAndLeavesTheirMemory) {
  open();
  put(*client, "last words");
  device.disconnect();
  while (!channel->end()) channel->poll(POLLIN, kPatienceMs);
  EXPECT_EQ(channel->end(), -ECONNRESET);
  EXPECT_EQ(get(*channel), "last words");
  put(*channel, "to nobody");
  channel->close();
}

TEST_F(CardPortTest, AChannelOutlivesThePort) {
  open();
  port.reset();
  put(*client, "last words");
  EXPECT_EQ(get(*channel), "last words");
  EXPECT_EQ(channel->end(), -ECONNRESET);
  channel->close();
}

TEST_F(CardPortTest, InterruptEndsEveryWait) {
  open();
  channel->interrupt();
  EXPECT_EQ(channel->poll(POLLIN, kPatienceMs), -ECANCELED);
  EXPECT_EQ(channel->poll(POLLOUT, kPatienceMs), -ECANCELED);
}

TEST_F(CardPortTest, AStoppedPortDeclinesAndGoesOn) {
  open();
  port->stopListening();
  // Until the socket is gone, in the port's thread.
  for (;;) try {
      CardDevice late(path);
      late.expectEnded();
    } catch (const std::runtime_error&) {
      break;
    }
  device.send(device.frame(LANECALL_CARD_OFFER, 77),
              {device.doorbell.get(), device.interrupt.get()});
  EXPECT_EQ(device.expect(LANECALL_CARD_DECLINE, 77).error,
            unsigned{LANECALL_ERR_REFUSED});
  put(*client, "still there");
  EXPECT_EQ(get(*channel), "still there");
}

TEST_F(CardPortTest, ChannelsBeyondTheLimitAreDeclined) {
  port.reset();
  port = std::make_unique<CardPort>("unix:" + path, nullptr,
                                    CardPortOptions{.maxChannels = 1});
  device.connect(path);
  open();
  device.send(device.frame(LANECALL_CARD_OFFER, 9),
              {device.doorbell.get(), device.interrupt.get()});
  EXPECT_EQ(device.expect(LANECALL_CARD_DECLINE, 9).error,
            unsigned{LANECALL_ERR_RESOURCES});
  channel.reset();
  device.expect(LANECALL_CARD_END, 1);
  device.send(device.frame(LANECALL_CARD_OFFER, 10),
              {device.doorbell.get(), device.interrupt.get()});
  device.expect(LANECALL_CARD_ACCEPT, 10);
}

TEST_F(CardPortTest, ChannelsCountUntilNobodyServesThem) {
  port.reset();
  port = std::make_unique<CardPort>("unix:" + path, nullptr,
                                    CardPortOptions{.maxChannels = 2});
  device.connect(path);
  open();
  device.send(LANECALL_CARD_CLOSE, device.lastId());
  device.open();  // waits to be accepted, for ever
  device.send(LANECALL_CARD_CLOSE, device.lastId());
  device.offerDeclined(LANECALL_ERR_RESOURCES);
  device.disconnect();
  CardDevice other(path);
  other.greet();
  other.offerDeclined(LANECALL_ERR_RESOURCES);
  channel.reset();
  other.offer();
  other.offerDeclined(LANECALL_ERR_RESOURCES);
}

// As long as it lives this process can have only so many descriptors more.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t more) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit limit = before_;
    limit.rlim_cur = Descriptor(::dup(STDERR_FILENO)).get() + more;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(CardPortTest, WithoutRoomForDescriptorsItDeclinesAndGoesOn) {
  open();
  std::uint64_t id = device.lastId();
  for (rlim_t more : {0, 1}) {
    DescriptorLimit limit(more);
    device.send(device.frame(LANECALL_CARD_OFFER, ++id),
                {device.doorbell.get(), device.interrupt.get()});
    EXPECT_EQ(device.expect(LANECALL_CARD_DECLINE, id).error,
              unsigned{LANECALL_ERR_RESOURCES});
  }
  device.send(device.frame(LANECALL_CARD_OFFER, ++id),
              {device.doorbell.get(), device.interrupt.get()});
  device.expect(LANECALL_CARD_ACCEPT, id);
  put(*client, "still there");
  EXPECT_EQ(get(*channel), "still there");
}

// ---- Places

TEST_F(CardPortTest, AnswersBusyWithAnotherPlace) {
  device.greet();
  const std::uint64_t id = device.offer();
  device.send(device.placeFrame(id));
  auto first = device.expect(LANECALL_CARD_PLACED, id).placed;
  auto busy = device.frame(LANECALL_CARD_BUSY, id);
  busy.busy.offset = first.tx;
  busy.busy.bytes = 4096;
  device.send(busy);
  auto second = device.expect(LANECALL_CARD_PLACED, id).placed;
  for (auto offset : {second.index, second.tx, second.rx})
    EXPECT_FALSE(lanecall_card_overlap(offset, 4096, first.tx, 4096));
}

TEST_F(CardPortTest, GivesUpWhenAllIsBusy) {
  device.greet();
  const std::uint64_t id = device.offer();
  device.send(device.placeFrame(id));
  auto busy = device.frame(LANECALL_CARD_BUSY, id);
  busy.busy.bytes = CardDevice::kCardBytes;
  int tries = 0;
  for (;;) {
    auto frame = device.receive();
    ASSERT_TRUE(frame);
    if (frame->type == LANECALL_CARD_END) {
      EXPECT_EQ(frame->error, unsigned{LANECALL_ERR_RESOURCES});
      break;
    }
    ASSERT_LE(++tries, LANECALL_CARD_BUSY_MAX + 1);
    device.send(busy);
  }
  device.send(LANECALL_CARD_CLOSE, id);
  device.open();  // the session goes on
  accept();
}

TEST_F(CardPortTest, DeclinesWhileThereIsNoRoomForUsualRings) {
  CardDevice small(path, 1 << 20);
  small.greet();
  client = small.open(256 << 10, 256 << 10);
  channel = accept();
  const std::uint64_t first = small.lastId();
  small.offerDeclined(LANECALL_ERR_RESOURCES);
  put(*client, "still there");
  EXPECT_EQ(get(*channel), "still there");

  channel.reset();
  small.expect(LANECALL_CARD_END, first);
  small.send(LANECALL_CARD_CLOSE, first);
  small.open(256 << 10, 256 << 10);
  accept();
}

TEST_F(CardPortTest, HasRoomForEveryChannelItAccepts) {
  CardDevice small(path, 1 << 20);
  small.greet();
  const std::uint64_t first = small.offer();
  small.offerDeclined(LANECALL_ERR_RESOURCES);
  small.start(first, 256 << 10, 256 << 10);
  accept();
}

TEST_F(CardPortTest, OneThatAsksForMoreThanItsShareLeavesHalf) {
  device.greet();
  device.start(device.offer(), 8 << 20, 8 << 20);
  auto greedy = accept();
  const std::uint64_t second = device.offer();
  device.send(device.placeFrame(second, 8 << 20, 8 << 20));
  EXPECT_EQ(device.expect(LANECALL_CARD_END, second).error,
            unsigned{LANECALL_ERR_RESOURCES});
  // Its share is there for each of the others.
  std::vector<std::unique_ptr<CardChannel>> others;
  for (int i = 0; i < 90; ++i) {
    device.open(256 << 10, 256 << 10);
    others.push_back(accept());
  }
}

TEST_F(CardPortTest, TheShareIsLargeOnADeviceOfFewChannels) {
  auto hello = device.helloFrame();
  hello.greeting.channels = htole32(2);
  device.send(hello, {device.memory()});
  device.expect(LANECALL_CARD_WELCOME);
  device.open(8 << 20, 8 << 20);
  auto first = accept();
  device.open(8 << 20, 8 << 20);
  auto second = accept();
}

// ---- Telling

TEST_F(CardPortTest, TheDoorbellWakesASleeper) {
  open();
  int naps = 0;
  channel->setBeforeSleep([&] {
    if (++naps == 1) put(*client, "woken");
  });
  lanecall_ring_arm(&channel->incoming().core);
  EXPECT_EQ(channel->poll(POLLIN, kPatienceMs), POLLIN);
  EXPECT_EQ(get(*channel), "woken");
  EXPECT_EQ(naps, 1);
}

TEST_F(CardPortTest, OneDoorbellWakesReaderAndWriter) {
  open();
  // Both have slept before, so that nothing is left over.
  EXPECT_EQ(channel->poll(POLLIN, 0), 0);
  EXPECT_EQ(channel->poll(POLLOUT, 0), 0);
  client->notify();
  EXPECT_EQ(channel->poll(POLLIN, kPatienceMs), POLLIN);
  EXPECT_EQ(channel->poll(POLLOUT, kPatienceMs), POLLOUT);
  EXPECT_EQ(channel->poll(POLLIN, 0), 0) << "told twice";
}

TEST_F(CardPortTest, InterruptsComeAtOnceWithoutModeration) {
  open();
  lanecall_ring_arm(&client->incoming().core);
  put(*channel, "x");
  EXPECT_EQ(client->interrupts(), 1);
}

TEST_F(CardPortTest, AnInterruptThatIsFullAndBlocksStopsNobody) {
  open();
  lanecall_ring_arm(&client->incoming().core);
  const int interrupt = device.interrupt.get();
  ASSERT_EQ(::fcntl(interrupt, F_SETFL, 0), 0);
  ASSERT_EQ(::eventfd_write(interrupt, kFullEventfd), 0);
  auto told = std::async(std::launch::async, [&] { put(*channel, "x"); });
  EXPECT_EQ(told.wait_for(std::chrono::milliseconds(kPatienceMs)),
            std::future_status::ready)
      << "blocked";
  eventfd_t count;
  ASSERT_EQ(::eventfd_read(interrupt, &count), 0);  // so that the test ends
  told.get();
  EXPECT_EQ(get(*client), "x");
}

class ModerationTest : public CardPortTest {
 protected:
  void open(std::uint32_t bytes, std::uint32_t microseconds) {
    device.greet();
    const std::uint64_t id = device.offer();
    auto place = device.placeFrame(id);
    place.place.moderate_bytes = bytes;
    place.place.moderate_us = microseconds;
    device.send(place);
    auto placed = device.expect(LANECALL_CARD_PLACED, id).placed;
    client = std::make_unique<CardClient>(device.memory(), placed, 4096, 4096,
                                          device.doorbell.get(),
                                          device.interrupt.get());
    device.send(LANECALL_CARD_START, id);
    channel = accept();
    lanecall_ring_arm(&client->incoming().core);
  }
};

TEST_F(ModerationTest, HoldsAFewBytesBackAndTellsInTime) {
  open(1000, LANECALL_MODERATE_US_MAX);
  put(*channel, "x");
  EXPECT_EQ(client->interrupts(), 0);
  EXPECT_EQ(client->poll(POLLIN, kPatienceMs), POLLIN);
  EXPECT_EQ(client->interrupts(), 1);
}

TEST_F(ModerationTest, TellsOfManyBytesAtOnce) {
  open(1000, LANECALL_MODERATE_US_MAX);
  put(*channel, std::string(1000, 'x'));
  EXPECT_EQ(client->interrupts(), 1);
}

TEST_F(ModerationTest, TellsOnceSmallMessagesAreManyBytesTogether) {
  open(1000, LANECALL_MODERATE_US_MAX);
  CardTransport transport(std::move(channel));
  const std::vector<std::uint8_t> message(100);
  for (int i = 1; i <= 15; ++i) {
    transport.write(message.data(), message.size());
    transport.flush();
    EXPECT_EQ(client->interrupts(), i < 10 ? 0 : 1) << i;
  }
}

TEST_F(ModerationTest, TellsWhenThereIsNoRoomForMore) {
  open(100'000, LANECALL_MODERATE_US_MAX);
  put(*channel, "held back");
  put(*channel, std::string(4000, 'x'));
  EXPECT_EQ(client->interrupts(), 0);
  EXPECT_EQ(channel->poll(POLLOUT, 0), 0);
  EXPECT_EQ(client->interrupts(), 1);
}

TEST_F(ModerationTest, TellsBeforeItSpinsForRoom) {
  open(100'000, LANECALL_MODERATE_US_MAX);
  CardTransport transport(std::move(channel));
  transport.setSpin(Spin::always());
  transport.setSendTimeout(50);
  const std::vector<std::uint8_t> message(5000);
  EXPECT_THROW(transport.write(message.data(), message.size()),
               TTransportException);
  EXPECT_EQ(client->interrupts(), 1);
}

TEST_F(ModerationTest, TellsOfRoomAtOnce) {
  open(1000, LANECALL_MODERATE_US_MAX);
  put(*client, std::string(4096, 'x'));
  lanecall_ring_arm_space(&client->outgoing().core, 4096);
  EXPECT_EQ(get(*channel).size(), 4096u);
  EXPECT_EQ(client->interrupts(), 1);
}

// ---- Breaches: each ends the session, and leaves a port that serves.

class CardBreachTest : public CardPortTest {
 protected:
  void expectServesAnother() {
    CardDevice good(path);
    good.greet();
    client = good.open();
    channel = accept();
    put(*client, "question");
    EXPECT_EQ(get(*channel), "question");
  }
  void expectRefused(const lanecall_card_frame& frame,
                     const std::vector<int>& descriptors = {}) {
    device.send(frame, descriptors);
    device.expectEnded();
    expectServesAnother();
  }
  using Change = std::function<void(lanecall_card_frame&)>;
  void expectHelloRefused(const Change& change) {
    auto hello = device.helloFrame();
    change(hello);
    expectRefused(hello, {device.memory()});
  }
  void expectPlaceRefused(const Change& change) {
    device.greet();
    auto place = device.placeFrame(device.offer());
    change(place);
    expectRefused(place);
  }
};

TEST_F(CardBreachTest, AnotherFrameFirst) {
  expectRefused(device.frame(LANECALL_CARD_CLOSE, 1));
}
TEST_F(CardBreachTest, AnotherMagic) {
  expectHelloRefused([](auto& f) { f.greeting.magic = 1; });
}
TEST_F(CardBreachTest, AnotherVersion) {
  expectHelloRefused([](auto& f) { f.greeting.version = 2 << 16; });
}
TEST_F(CardBreachTest, NoChannels) {
  expectHelloRefused([](auto& f) { f.greeting.channels = 0; });
}
TEST_F(CardBreachTest, TooManyChannels) {
  expectHelloRefused([](auto& f) { f.greeting.channels = 257; });
}
TEST_F(CardBreachTest, MemoryThatIsSmallerThanItsWord) {
  expectHelloRefused([](auto& f) { f.greeting.card_bytes += 1; });
}
TEST_F(CardBreachTest, NoMemory) {
  expectHelloRefused([](auto& f) { f.greeting.card_bytes = 0; });
}
TEST_F(CardBreachTest, MemoryThatMayShrink) {
  Descriptor memory = test::makeMemory(CardDevice::kCardBytes, false);
  expectRefused(device.helloFrame(), {memory.get()});
}
TEST_F(CardBreachTest, MemoryThatIsNoMemfd) {
  expectRefused(device.helloFrame(), {STDERR_FILENO});
}
TEST_F(CardBreachTest, HelloWithoutMemory) {
  expectRefused(device.helloFrame());
}
TEST_F(CardBreachTest, HelloTwice) {
  device.greet();
  expectRefused(device.helloFrame(), {device.memory()});
}
TEST_F(CardBreachTest, ATruncatedFrame) {
  auto hello = device.helloFrame();
  device.sendBytes(&hello, sizeof hello - 1, {device.memory()});
  device.expectEnded();
  expectServesAnother();
}
TEST_F(CardBreachTest, AFrameThatIsTooLong) {
  char bytes[65] = {};
  auto hello = device.helloFrame();
  std::memcpy(bytes, &hello, sizeof hello);
  device.sendBytes(bytes, sizeof bytes, {device.memory()});
  device.expectEnded();
  expectServesAnother();
}
TEST_F(CardBreachTest, AnUnknownType) {
  device.greet();
  expectRefused(device.frame(8));
}
TEST_F(CardBreachTest, AFrameOfTheServers) {
  device.greet();
  expectRefused(device.frame(LANECALL_CARD_ACCEPT));
}
TEST_F(CardBreachTest, AnOfferWithoutEvents) {
  device.greet();
  expectRefused(device.frame(LANECALL_CARD_OFFER, 1));
}
TEST_F(CardBreachTest, AnOfferWithTooManyEvents) {
  device.greet();
  device.doorbell.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  expectRefused(device.frame(LANECALL_CARD_OFFER, 1),
                std::vector<int>(3, device.doorbell.get()));
}
TEST_F(CardBreachTest, AnOfferWithOtherDescriptors) {
  device.greet();
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  Descriptor reader(pipe[0]), writer(pipe[1]);
  expectRefused(device.frame(LANECALL_CARD_OFFER, 1),
                {reader.get(), writer.get()});
}
TEST_F(CardBreachTest, AnIdTwice) {
  open();
  expectRefused(device.frame(LANECALL_CARD_OFFER, device.lastId()),
                {device.doorbell.get(), device.interrupt.get()});
  // It was the session of this channel, which a good one has replaced.
}
TEST_F(CardBreachTest, AChannelNeverOffered) {
  device.greet();
  expectRefused(device.frame(LANECALL_CARD_CLOSE, 1));
}
TEST_F(CardBreachTest, MoreChannelsThanTheDeviceHas) {
  auto hello = device.helloFrame();
  hello.greeting.channels = 2;
  device.send(hello, {device.memory()});
  device.expect(LANECALL_CARD_WELCOME);
  device.offer();
  const std::uint64_t last = device.offer();
  expectRefused(device.frame(LANECALL_CARD_OFFER, last + 1),
                {device.doorbell.get(), device.interrupt.get()});
}
TEST_F(CardBreachTest, ARingOfNoPowerOfTwo) {
  expectPlaceRefused([](auto& f) { f.place.tx_bytes = 5000; });
}
TEST_F(CardBreachTest, ARingTooSmall) {
  expectPlaceRefused([](auto& f) { f.place.rx_bytes = 2048; });
}
TEST_F(CardBreachTest, ARingTooLarge) {
  expectPlaceRefused([](auto& f) { f.place.rx_bytes = 16 << 20; });
}
TEST_F(CardBreachTest, APageOfAnImpossibleSize) {
  expectPlaceRefused([](auto& f) { f.place.page_bytes = 0; });
}
TEST_F(CardBreachTest, ImpossibleModeration) {
  expectPlaceRefused(
      [](auto& f) { f.place.moderate_us = LANECALL_MODERATE_US_MAX + 1; });
}
TEST_F(CardBreachTest, StartBeforePlace) {
  device.greet();
  expectRefused(device.frame(LANECALL_CARD_START, device.offer()));
}
TEST_F(CardBreachTest, BusyBeforePlace) {
  device.greet();
  expectRefused(device.frame(LANECALL_CARD_BUSY, device.offer()));
}
TEST_F(CardBreachTest, BusyAboutAPlaceThatWasNotProposed) {
  device.greet();
  const std::uint64_t id = device.offer();
  device.send(device.placeFrame(id));
  device.expect(LANECALL_CARD_PLACED, id);
  auto busy = device.frame(LANECALL_CARD_BUSY, id);
  busy.busy.offset = htole64(CardDevice::kCardBytes - 4096);
  busy.busy.bytes = htole64(4096);
  expectRefused(busy);
}
TEST_F(CardBreachTest, PlaceTwice) {
  device.greet();
  const std::uint64_t id = device.offer();
  device.send(device.placeFrame(id));
  device.expect(LANECALL_CARD_PLACED, id);
  expectRefused(device.placeFrame(id));
}
TEST_F(CardBreachTest, DrainBeforeStart) {
  device.greet();
  expectRefused(device.frame(LANECALL_CARD_DRAIN, device.offer()));
}
TEST_F(CardBreachTest, DrainTwice) {
  open();
  device.send(LANECALL_CARD_DRAIN, device.lastId());
  expectRefused(device.frame(LANECALL_CARD_DRAIN, device.lastId()));
}

TEST_F(CardBreachTest, DescriptorsThatDoNotBelongAreClosed) {
  device.greet();
  auto descriptorsOpen = [] {
    int count = 0;
    for ([[maybe_unused]] auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd"))
      ++count;
    return count;
  };
  const int before = descriptorsOpen();
  const int fd = device.memory();
  for (int i = 0; i < 20; ++i) {
    CardDevice rude(path);
    rude.send(rude.helloFrame(), std::vector<int>(1 + i, fd));
    if (i == 0)
      rude.expect(LANECALL_CARD_WELCOME);
    else
      rude.expectEnded();
    if (i == 0) {
      rude.send(rude.frame(LANECALL_CARD_CLOSE), std::vector<int>(9, fd));
      rude.expectEnded();
    }
  }
  EXPECT_EQ(descriptorsOpen(), before);
}

TEST_F(CardBreachTest, ADeviceThatTakesNoFramesLosesItsSession) {
  device.greet();
  // Every offer makes a frame for us, which we never take.
  Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  for (std::uint64_t id = 1; id < 20'000; ++id) {
    device.send(device.frame(LANECALL_CARD_OFFER, id),
                {event.get(), event.get()});
    device.send(LANECALL_CARD_CLOSE, id);
  }
  while (device.receive())
    ;
  expectServesAnother();
}

}  // namespace
}  // namespace lanecall
