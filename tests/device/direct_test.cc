// SPDX-License-Identifier: Apache-2.0
// Channels on the direct plane: from OPEN to CLOSED, by the driver's commands,
// the server's frames, resets and removal.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/pci_regs.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../seed.h"
#include "card_ground.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kReady = LANECALL_READY | LANECALL_IN_CARD;
constexpr uint32_t kRunning = LANECALL_RUNNING | LANECALL_IN_CARD;
constexpr uint32_t kDraining = LANECALL_DRAINING | LANECALL_IN_CARD;

class Direct : public CardGround {
 protected:
  void ignoreInterrupts(const UserChannel& channel) {
    while (device().interrupted(channel.vector())) {
    }
  }
};

// ---- Which plane -----------------------------------------------------------

TEST_F(Direct, ServerThatAcceptsHasTheChannel) {
  start();
  Accepted made = accepted({.channel = 7});
  EXPECT_EQ(made.offer.number, 7u);
  EXPECT_EQ(made.channel->statusRegister(), kReady);
}

TEST_F(Direct, ServerThatDeclinesLeavesItToTheSocket) {
  start({.rpc = true});
  auto channel = openInCard();
  session().send(
      cardFrame(LANECALL_CARD_DECLINE, offered().id, LANECALL_ERR_RESOURCES));
  ASSERT_TRUE(reaches(*channel, LANECALL_READY));
  channel->attach();
  ASSERT_TRUE(reaches(*channel, LANECALL_RUNNING));
  Call c{std::move(channel), *server().accept(soon())};
  EXPECT_TRUE(works(c));
}

TEST_F(Direct, ServerThatDeclinesRefusesWhereThereIsNoSocket) {
  start();
  for (uint32_t error : {LANECALL_ERR_NONE, LANECALL_ERR_RESOURCES}) {
    auto channel = openInCard();
    session().send(cardFrame(LANECALL_CARD_DECLINE, offered().id, error));
    EXPECT_TRUE(endsWith(*channel, error ? error : LANECALL_ERR_REFUSED));
  }
  EXPECT_TRUE(sessionLives());
}

TEST_F(Direct, WithNoCardServerItIsTheSocket) {
  card_.stopListening();
  start({.rpc = true});
  auto channel = openInCard();
  EXPECT_TRUE(reaches(*channel, LANECALL_READY));
}

TEST_F(Direct, WithNeitherServerOpenIsRefused) {
  card_.stopListening();
  start();
  auto channel = openInCard();
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_REFUSED));
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Direct, DriverThatDoesNotWantTheCardGetsTheSocket) {
  start({.rpc = true});
  session();
  for (uint32_t flags : {0, LANECALL_CHF_TX_IN_CARD, LANECALL_CHF_RX_IN_CARD}) {
    auto channel = openInCard({.flags = flags});
    EXPECT_TRUE(reaches(*channel, LANECALL_READY));
    ASSERT_TRUE(channel->close(soon()));
  }
  EXPECT_TRUE(sessionLives());  // whose first frame is the next offer
}

TEST_F(Direct, FlagsOfFeaturesNotAcceptedAreABreach) {
  start();
  device().write32(LANECALL_REG_CONTROL, 0);
  enableEngine(device());
  for (uint32_t flags = 1; flags < 16; ++flags) {
    auto channel = openInCard({.flags = flags});
    EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
    EXPECT_EQ(guestErrors(), flags);
  }
  device().write32(LANECALL_REG_CONTROL, 0);
  enable();
  auto channel = openInCard({.flags = LANECALL_CHF_CARD_CALLS});
  EXPECT_TRUE(endsWith(*channel, LANECALL_ERR_PROTOCOL));
}

// ---- ATTACH ----------------------------------------------------------------

TEST_F(Direct, PlaceTellsTheDriversSizes) {
  start();
  Accepted made = accepted({.tx_shift = 14,
                            .rx_shift = 20,
                            .page_shift = 13,
                            .moderate_bytes = 5000,
                            .moderate_us = 77});
  made.channel->attach();
  const auto frame = expectFrame(LANECALL_CARD_PLACE, made.offer.id).frame;
  EXPECT_EQ(frame.place.tx_bytes, 1u << 14);
  EXPECT_EQ(frame.place.rx_bytes, 1u << 20);
  EXPECT_EQ(frame.place.page_bytes, 1u << 13);
  EXPECT_EQ(frame.place.moderate_bytes, 5000u);
  EXPECT_EQ(frame.place.moderate_us, 77u);
}

TEST_F(Direct, IndexPageTellsThePlaces) {
  start();
  DirectCall c = direct({.channel = 4}, {0x30000, 0x100000, 0x200000});
  EXPECT_EQ(c->statusPage().card.index, 0x30000u);
  EXPECT_EQ(c->statusPage().card.tx, 0x100000u);
  EXPECT_EQ(c->statusPage().card.rx, 0x200000u);
}

TEST_F(Direct, AttachNeedsNoTables) {
  start();
  Accepted made = accepted();
  made.channel->writeControl(LANECALL_CH_TX_SHIFT, 12);
  made.channel->writeControl(LANECALL_CH_RX_SHIFT, 12);
  made.channel->writeControl(LANECALL_CH_PAGE_SHIFT, 12);
  made.channel->command(LANECALL_CMD_ATTACH);
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  session().send(cardPlaced(made.offer.id, placesOf(0)));
  EXPECT_TRUE(reaches(*made.channel, kRunning));
}

struct BadSize {
  uint32_t offset, value;
};

TEST_F(Direct, AttachWithSizesOutOfRangeIsABreach) {
  start();
  uint32_t errors = 0;
  for (const BadSize bad :
       {BadSize{LANECALL_CH_TX_SHIFT, 11}, BadSize{LANECALL_CH_TX_SHIFT, 24},
        BadSize{LANECALL_CH_RX_SHIFT, 0}, BadSize{LANECALL_CH_RX_SHIFT, ~0u},
        BadSize{LANECALL_CH_PAGE_SHIFT, 11},
        BadSize{LANECALL_CH_PAGE_SHIFT, 17},
        BadSize{LANECALL_CH_MODERATE_US, 1000001}}) {
    Accepted made = accepted();
    for (uint32_t offset :
         {LANECALL_CH_TX_SHIFT, LANECALL_CH_RX_SHIFT, LANECALL_CH_PAGE_SHIFT}) {
      made.channel->writeControl(offset, 12);
    }
    made.channel->writeControl(LANECALL_CH_MODERATE_US, 0);
    made.channel->writeControl(bad.offset, bad.value);
    made.channel->command(LANECALL_CMD_ATTACH);
    EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_PROTOCOL)) << bad.value;
    EXPECT_EQ(guestErrors(), ++errors);
    expectFrame(LANECALL_CARD_CLOSE, made.offer.id);
  }
}

TEST_F(Direct, AttachTwiceIsABreach) {
  start();
  Accepted made = accepted();
  made.channel->attach();
  made.channel->attach();
  EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_PROTOCOL));
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  expectFrame(LANECALL_CARD_CLOSE, made.offer.id);
  session().send(cardPlaced(made.offer.id, placesOf(0)));  // late
  EXPECT_TRUE(sessionLives());
}

// ---- Bells -----------------------------------------------------------------

TEST_F(Direct, BytesGoBothWaysAndEachSideIsTold) {
  start();
  DirectCall c = direct();
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(moves(c)) << i;
  EXPECT_EQ(c->status(), kRunning);
}

TEST_F(Direct, EveryChannelHasItsOwnBells) {
  start();
  DirectCall one = direct({.channel = 1}), two = direct({.channel = 2});
  ignoreInterrupts(*one);
  ignoreInterrupts(*two);
  one->doorbell();
  EXPECT_TRUE(one.offer.rung(soon()));
  EXPECT_FALSE(two.offer.rung(Deadline::in(1)));
  two.offer.interruptDriver();
  EXPECT_TRUE(device().waitInterrupt(two->vector(), soon()));
  EXPECT_FALSE(device().interrupted(one->vector()));
  EXPECT_TRUE(moves(one));
  EXPECT_TRUE(moves(two));
}

TEST_F(Direct, DoorbellsBeforeStartAreIgnored) {
  start();
  Accepted made = accepted();
  made.channel->doorbell();
  made.channel->attach();
  made.channel->doorbell();
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  EXPECT_FALSE(made.offer.rung(Deadline::in(1)));
}

TEST_F(Direct, InterruptsBeforeStartAndAfterTheEndAreIgnored) {
  start();
  Accepted made = accepted();
  ignoreInterrupts(*made.channel);
  made.offer.interruptDriver();
  DirectCall other = direct({.channel = 1});  // a few turns of the main loop
  EXPECT_FALSE(device().interrupted(made.channel->vector()));

  DirectCall closed = direct({.channel = 2});
  ASSERT_TRUE(closed->close(soon()));
  ignoreInterrupts(*closed);
  closed.offer.interruptDriver();
  EXPECT_TRUE(moves(other));
  EXPECT_FALSE(device().interrupted(closed->vector()));
}

// The eventfds are the server's, too.
TEST_F(Direct, EventfdsThatTheServerSpoilsHurtNobodyElse) {
  start();
  DirectCall c = direct({.channel = 0}), other = direct({.channel = 1});
  const uint64_t most = ~uint64_t{0} - 1;
  ASSERT_EQ(write(c.offer.doorbell.get(), &most, sizeof most), 8);
  ASSERT_EQ(write(c.offer.interrupt.get(), &most, sizeof most), 8);
  // Who writes one that is full, or reads an empty one, now waits for ever.
  for (int fd : {c.offer.doorbell.get(), c.offer.interrupt.get(),
                 other.offer.interrupt.get()}) {
    ASSERT_EQ(fcntl(fd, F_SETFL, 0), 0);
  }
  for (int i = 0; i < 10; ++i) c->doorbell();
  EXPECT_TRUE(device().waitInterrupt(c->vector(), soon()));
  uint64_t count;
  ASSERT_EQ(read(c.offer.interrupt.get(), &count, sizeof count), 8);
  EXPECT_TRUE(moves(other));
  EXPECT_TRUE(moves(other));
}

// From now on this thread and its children have no asynchronous I/O.
void forbidAsynchronousIo() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_submit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{.len = std::size(code), .filter = code};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST_F(Direct, ADoorbellThatIsLostIsTheEndOfItsChannel) {
  // QEMU is the child of a thread that goes when the test does.
  std::thread([this] {
    ASSERT_NO_FATAL_FAILURE(forbidAsynchronousIo());
    start();
    DirectCall c = direct({.channel = 0}), other = direct({.channel = 1});
    c->doorbell();
    EXPECT_TRUE(endsInCard(*c, LANECALL_ERR_RESOURCES));
    expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
    EXPECT_EQ(other->status(), kRunning);
    EXPECT_EQ(guestErrors(), 0u);
  }).join();
}

TEST_F(Direct, AnInterruptStormDoesNotKeepOthersFromWorking) {
  start({.rpc = true});
  DirectCall stormy = direct({.channel = 0}), calm = direct({.channel = 1});
  Call socket = call({.channel = 2, .flags = 0});
  std::atomic<bool> stop{false};
  std::thread storm([&] {
    while (!stop) stormy.offer.interruptDriver();
  });
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(moves(calm));
    EXPECT_TRUE(works(socket));
  }
  stop = true;
  storm.join();
}

// ---- Ends ------------------------------------------------------------------

TEST_F(Direct, DrainWaitsForReleased) {
  start();
  DirectCall c = direct();
  c->command(LANECALL_CMD_DRAIN);
  EXPECT_EQ(c->status(), kDraining);
  expectFrame(LANECALL_CARD_DRAIN, c.offer.id);
  c->doorbell();
  EXPECT_TRUE(c.offer.rung(soon()));
  c.offer.interruptDriver();
  EXPECT_EQ(c->status(), kDraining);
  session().send(cardFrame(LANECALL_CARD_RELEASED, c.offer.id));
  EXPECT_TRUE(isClosed(*c));
  EXPECT_TRUE(sessionLives());  // and no CLOSE comes before its offer
}

TEST_F(Direct, CloseWhileDrainingIsAtOnce) {
  start();
  DirectCall c = direct();
  c->command(LANECALL_CMD_DRAIN);
  EXPECT_TRUE(c->close(soon()));
  expectFrame(LANECALL_CARD_DRAIN, c.offer.id);
  expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
  session().send(cardFrame(LANECALL_CARD_RELEASED, c.offer.id));  // late
  EXPECT_TRUE(sessionLives());
}

TEST_F(Direct, EndThatMeetsDrainIsFollowedByReleased) {
  start();
  DirectCall c = direct();
  session();
  c->command(LANECALL_CMD_DRAIN);
  session().send(cardFrame(LANECALL_CARD_END, c.offer.id));
  session().send(cardFrame(LANECALL_CARD_RELEASED, c.offer.id));
  EXPECT_TRUE(isClosed(*c));
  expectFrame(LANECALL_CARD_DRAIN, c.offer.id);
  EXPECT_TRUE(sessionLives());
}

TEST_F(Direct, CloseIsAtOnceInEveryState) {
  start();
  session();
  auto opened = openInCard({.channel = 0});
  const uint64_t id = offered().id;
  EXPECT_TRUE(opened->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, id);

  Accepted ready = accepted({.channel = 1});
  EXPECT_TRUE(ready.channel->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, ready.offer.id);

  Accepted placing = accepted({.channel = 2});
  placing.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, placing.offer.id);
  EXPECT_TRUE(placing.channel->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, placing.offer.id);

  DirectCall running = direct({.channel = 3});
  EXPECT_TRUE(running->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, running.offer.id);
}

TEST_F(Direct, DrainBeforeTheRingsAreThereCloses) {
  start();
  Accepted ready = accepted({.channel = 1});
  ready.channel->command(LANECALL_CMD_DRAIN);
  EXPECT_TRUE(isClosed(*ready.channel));
  expectFrame(LANECALL_CARD_CLOSE, ready.offer.id);
}

TEST_F(Direct, EndOfTheServerIsTheChannels) {
  start();
  for (uint32_t error : {LANECALL_ERR_NONE, LANECALL_ERR_RESET,
                         LANECALL_ERR_RESOURCES, LANECALL_ERR_IO}) {
    DirectCall c = direct({.channel = 3});
    session().send(cardFrame(LANECALL_CARD_END, c.offer.id, error));
    EXPECT_TRUE(endsInCard(*c, error));
    c->command(error % 2 ? LANECALL_CMD_DRAIN : LANECALL_CMD_CLOSE);
    EXPECT_TRUE(isClosed(*c));
    expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
  }
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Direct, EndThatBlamesTheDriverCounts) {
  start();
  uint32_t errors = 0;
  for (uint32_t error : {LANECALL_ERR_PROTOCOL, LANECALL_ERR_DMA}) {
    DirectCall c = direct({.channel = 3});
    session().send(cardFrame(LANECALL_CARD_END, c.offer.id, error));
    EXPECT_TRUE(endsInCard(*c, error));
    EXPECT_EQ(guestErrors(), ++errors);
    ASSERT_TRUE(c->close(soon()));
    expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
  }
}

TEST_F(Direct, EndBeforeTheRingsAreThereEnds) {
  start();
  Accepted ready = accepted({.channel = 1});
  session().send(cardFrame(LANECALL_CARD_END, ready.offer.id));
  EXPECT_TRUE(endsInCard(*ready.channel, LANECALL_ERR_NONE));
  Accepted placing = accepted({.channel = 2});
  placing.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, placing.offer.id);
  session().send(cardFrame(LANECALL_CARD_END, placing.offer.id));
  session().send(cardPlaced(placing.offer.id, placesOf(2)));  // late
  EXPECT_TRUE(endsInCard(*placing.channel, LANECALL_ERR_NONE));
  ASSERT_TRUE(placing.channel->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, placing.offer.id);
}

TEST_F(Direct, ABadCommandEndsTheChannelForBoth) {
  start();
  DirectCall c = direct();
  c->command(LANECALL_CMD_OPEN);
  EXPECT_TRUE(endsInCard(*c, LANECALL_ERR_PROTOCOL));
  expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
}

TEST_F(Direct, WithoutBusMasteringOnlyTheRegisterTells) {
  start();
  DirectCall c = direct();
  dut().function().setConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
  session().send(cardFrame(LANECALL_CARD_END, c.offer.id));
  const uint32_t dma =
      LANECALL_STATUS_WORD(LANECALL_ENDED, LANECALL_ERR_DMA) | LANECALL_IN_CARD;
  EXPECT_TRUE(eventually([&] { return c->statusRegister() == dma; }));
  EXPECT_EQ(c->status(), kRunning);
  expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
  dut().function().enable();
  ASSERT_TRUE(c->close(soon()));
}

// ---- Resets and removal ----------------------------------------------------

class DirectReset : public Direct,
                    public ::testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(By, DirectReset, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Bus" : "Control";
                         });

TEST_P(DirectReset, ClosesChannelsAndKeepsTheSession) {
  start();
  DirectCall running = direct({.channel = 0});
  Accepted ready = accepted({.channel = 1});
  auto offered_channel = openInCard({.channel = 2});
  const CardOffer offer = offered();
  // In flight while the reset comes.
  session().send(cardFrame(LANECALL_CARD_ACCEPT, offer.id));
  session().send(cardFrame(LANECALL_CARD_END, running.offer.id));
  if (GetParam()) {
    device().busReset();
  } else {
    device().write32(LANECALL_REG_CONTROL, 0);
  }
  session().send(cardFrame(LANECALL_CARD_END, ready.offer.id));  // late
  for (uint64_t id : {running.offer.id, ready.offer.id, offer.id}) {
    expectFrame(LANECALL_CARD_CLOSE, id);
  }
  EXPECT_EQ(running->statusRegister(), 0u);
  enable();
  DirectCall anew = direct({.channel = 0});
  EXPECT_TRUE(moves(anew));
  EXPECT_TRUE(sessionLives());
}

TEST_F(Direct, RemovalEndsTheSession) {
  constexpr uint32_t kWindow = 0xc8000000;
  auto qemu = std::make_shared<Qemu>(QemuOptions{
      {"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
       "-device", "pcie-root-port,id=rp,chassis=1,slot=1,addr=5.0", "-device",
       argument({}) + ",id=dut,bus=rp"}});
  PciFunction port(*qemu, 0, 5);
  setUpRootPort(port, 1, kWindow, 128 << 20);
  setPrefetchableWindow(port, 0xa00000000, 64 << 20);
  useQemuDevice(std::make_unique<QemuDevice>(
      qemu,
      PciPlace{
          .bus = 1, .slot = 0, .bars = kWindow, .bar2 = kWindow + (64 << 20)}));
  enable();
  DirectCall running = direct({.channel = 0});
  Accepted ready = accepted({.channel = 1});
  auto offered_channel = openInCard({.channel = 2});
  const CardOffer offer = offered();
  session().send(cardFrame(LANECALL_CARD_ACCEPT, offer.id));
  running.offer.interruptDriver();
  port.setConfig(*port.capability(PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL, 2,
                 PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC);
  EXPECT_TRUE(qemu->waitEvent("DEVICE_DELETED", soon()));
  EXPECT_TRUE(session().waitEnd(soon()));
  EXPECT_TRUE(qemu->alive()) << qemu->said();
  running.offer.interruptDriver();
  session().memory()[0] = 1;  // the server's own mapping stays good
  qemu->turn();
  EXPECT_TRUE(qemu->alive()) << qemu->said();
}

TEST_F(Direct, ManyChannelsAtOnce) {
  start({.channels = 256});
  std::vector<DirectCall> calls;
  for (unsigned n = 0; n < 256; ++n) {
    calls.push_back(direct({.channel = n}));
  }
  for (auto& c : calls) EXPECT_TRUE(moves(c)) << c->channel();
  device().write32(LANECALL_REG_CONTROL, 0);
  for (auto& c : calls) expectFrame(LANECALL_CARD_CLOSE, c.offer.id);
}

// ---- Floods ----------------------------------------------------------------

// A server that answers in good form what comes, in one of the ways it may, and
// sometimes goes away.
class FickleServer {
 public:
  FickleServer(CardServer& server, unsigned seed)
      : server_(server), random_(seed), thread_([this] { run(); }) {}
  ~FickleServer() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  bool oneOf(unsigned n) { return random_() % n == 0; }

  void run() {
    while (!stop_) {
      auto session = server_.accept(Deadline::in(50));
      if (session && session->greet(Deadline::in(50))) serve(*session);
      offers_.clear();
    }
  }

  void serve(CardSession& session) {
    while (!stop_ && !oneOf(500)) {
      auto frame = session.receive(Deadline::in(50));
      if (frame) {
        answer(session, *frame);
      } else if (session.ended()) {
        return;
      }
    }
  }

  void answer(CardSession& session, CardFrame& frame) {
    const uint64_t id = frame.id();
    switch (frame.type()) {
      case LANECALL_CARD_OFFER:
        session.send(cardFrame(
            oneOf(8) ? LANECALL_CARD_DECLINE : LANECALL_CARD_ACCEPT, id));
        offers_.push_back(CardOffer{id, 0, std::move(frame.descriptors[0]),
                                    std::move(frame.descriptors[1])});
        break;
      case LANECALL_CARD_PLACE:
      case LANECALL_CARD_BUSY:
        session.send(cardPlaced(id, placesOf(random_() % 16)));
        break;
      case LANECALL_CARD_START:
        if (oneOf(3)) session.send(cardFrame(LANECALL_CARD_END, id));
        break;
      case LANECALL_CARD_DRAIN:
        session.send(cardFrame(LANECALL_CARD_RELEASED, id));
        break;
    }
    if (!offers_.empty()) {
      offers_[random_() % offers_.size()].interruptDriver();
    }
  }

  CardServer& server_;
  std::mt19937 random_;
  std::vector<CardOffer> offers_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(Direct, RandomCommandsAndAFickleServerDoNotKillQemu) {
  start({.rpc = true, .channels = 8});
  const auto seed = static_cast<unsigned>(announcedSeed());
  std::mt19937 random(seed);
  const size_t before = descriptorsOfQemu();
  {
    FickleServer fickle(card_, seed);
    std::vector<std::unique_ptr<UserChannel>> channels;
    for (unsigned n = 0; n < 8; ++n) {
      channels.push_back(std::make_unique<UserChannel>(
          device(), ChannelOptions{.channel = n, .tx_shift = 12}));
    }
    for (int i = 0; i < 20000; ++i) {
      UserChannel& channel = *channels[random() % channels.size()];
      switch (random() % 8) {
        case 0:
        case 1:
          channel.open();
          break;
        case 2:
        case 3:
          channel.attach();
          break;
        case 4:
          channel.command(LANECALL_CMD_DRAIN);
          break;
        case 5:
          channel.command(LANECALL_CMD_CLOSE);
          break;
        default:
          channel.doorbell();
      }
      if (random() % 300 == 0) {
        device().write32(LANECALL_REG_CONTROL, 0);
        enable();
      }
      if (i % 100 == 0) server().discardPending();
    }
    device().write32(LANECALL_REG_CONTROL, 0);
  }
  server().discardPending();
  ASSERT_TRUE(qemu().alive()) << qemu().said();
  enable();
  DirectCall c = direct();
  EXPECT_TRUE(moves(c));
  ASSERT_TRUE(c->close(soon()));
  EXPECT_EQ(descriptorsOfQemu(), before);
}

}  // namespace
}  // namespace lanecall::test
