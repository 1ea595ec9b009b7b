// SPDX-License-Identifier: Apache-2.0
// Card memory: BAR 4, the sealed file behind it, and whose is what in it.
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>

#include "card_ground.h"

namespace lanecall::test {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class CardMemory : public CardGround {};

TEST_F(CardMemory, IsNotThereWithoutCard) {
  listen();
  QemuDevice device({.rpc = server().rpc()});
  EXPECT_EQ(device.function().barSize(LANECALL_BAR_CARD), 0u);
  EXPECT_EQ(device.read32(LANECALL_REG_FEATURES_LO),
            uint32_t{LANECALL_FEATURE_MODERATION | LANECALL_FEATURE_USERS});
}

TEST_F(CardMemory, IsAPrefetchable64BitBar) {
  start();
  EXPECT_EQ(dut().function().barSize(LANECALL_BAR_CARD), 64 * kMiB);
  const uint32_t bar = dut().function().config(PCI_BASE_ADDRESS_4);
  EXPECT_EQ(bar & 0xf, uint32_t{PCI_BASE_ADDRESS_MEM_TYPE_64 |
                                PCI_BASE_ADDRESS_MEM_PREFETCH});
  EXPECT_EQ(device().read32(LANECALL_REG_FEATURES_LO),
            uint32_t{LANECALL_FEATURE_CARD_RINGS | LANECALL_FEATURE_MODERATION |
                     LANECALL_FEATURE_REGIONS | LANECALL_FEATURE_USERS});
}

TEST_F(CardMemory, HasTheSizeOfTheProperty) {
  start({.card_memory = kMiB});
  EXPECT_EQ(dut().function().barSize(LANECALL_BAR_CARD), kMiB);
  EXPECT_EQ(session().hello().frame.greeting.card_bytes, kMiB);
}

TEST_F(CardMemory, OnAConventionalBusIsThereToo) {
  useQemuDevice(std::make_unique<QemuDevice>(std::make_shared<Qemu>(
      QemuOptions{.arguments = {"-device", argument({}) + ",id=dut,addr=4.0"},
                  .machine = "pc"})));
  enable();
  DirectCall c = direct();
  EXPECT_TRUE(moves(c));
}

TEST_F(CardMemory, LiesInTheWindowOfARootPort) {
  startBelowRootPort();
  DirectCall c = direct();
  EXPECT_TRUE(moves(c));
  dut().function().write(LANECALL_BAR_CARD, 64 * kMiB - 8, 8,
                         0x1122334455667788);
  EXPECT_EQ(session().memory()[64 * kMiB - 8], 0x88);
}

TEST_F(CardMemory, IsTheFileThatTheServerGets) {
  start();
  auto memory = session().memory();
  ASSERT_EQ(memory.size(), 64 * kMiB);
  dut().function().write(LANECALL_BAR_CARD, 0x12340, 4, 0x44434241);
  EXPECT_EQ(memory[0x12340], 'A');
  EXPECT_EQ(memory[0x12343], 'D');
  memory[memory.size() - 1] = 0x5a;
  EXPECT_EQ(dut().function().read(LANECALL_BAR_CARD, memory.size() - 1, 1),
            0x5au);
}

TEST_F(CardMemory, CannotBeMadeShorterOrLonger) {
  start();
  const int fd = session().memoryFd();
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  for (off_t size : {off_t{0}, off_t{64 * kMiB - 4096}, off_t{64 * kMiB + 1}}) {
    EXPECT_EQ(ftruncate(fd, size), -1);
    EXPECT_EQ(errno, EPERM);
  }
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  // What a server can do to it is give it back: then it reads as zero.
  session().memory()[4096] = 1;
  ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                      static_cast<off_t>(64 * kMiB)),
            0);
  EXPECT_EQ(dut().function().read(LANECALL_BAR_CARD, 4096, 4), 0u);
}

// ---- Clearing --------------------------------------------------------------

TEST_F(CardMemory, IsClearedBeforeAChannelHasIt) {
  start();
  auto memory = session().memory();
  std::fill(memory.begin(), memory.begin() + (1 << 20), 0xee);
  DirectCall c = direct({.channel = 1});
  const lanecall_places places = placesOf(1);
  const auto is_zero = [&](uint64_t at, size_t bytes) {
    return std::all_of(&memory[at], &memory[at] + bytes,
                       [](unsigned char b) { return b == 0; });
  };
  EXPECT_TRUE(is_zero(places.index, 4096));
  EXPECT_TRUE(is_zero(places.tx, 64 << 10));
  EXPECT_TRUE(is_zero(places.rx, 64 << 10));
  EXPECT_EQ(memory[places.index - 1], 0xee);
  EXPECT_EQ(memory[places.index + 4096], 0xee);
  EXPECT_EQ(memory[places.rx + (64 << 10)], 0xee);
}

constexpr uint64_t kLargeRing = 8 * kMiB;
constexpr lanecall_places kLarge{kMiB, 16 * kMiB, 32 * kMiB};
constexpr ChannelOptions kLargeChannel{
    .channel = 0, .tx_shift = 23, .rx_shift = 23};

class CardClearing : public CardMemory {
 protected:
  void SetUp() override {
    start();
    std::fill(memory().begin(), memory().end(), 0xee);
  }

  std::span<unsigned char> memory() { return session().memory(); }

  bool isAll(unsigned char byte, uint64_t at, uint64_t bytes) {
    return std::all_of(&memory()[at], &memory()[at] + bytes,
                       [&](unsigned char b) { return b == byte; });
  }

  // READY, and the server has been asked for places.
  Accepted placing(ChannelOptions options) {
    Accepted made = accepted(options);
    made.channel->attach();
    expectFrame(LANECALL_CARD_PLACE, made.offer.id);
    return made;
  }
};

TEST_F(CardClearing, LeavesNothingInLargeRings) {
  DirectCall c = direct(kLargeChannel, kLarge);
  EXPECT_TRUE(isAll(0, kLarge.index, 4096));
  EXPECT_TRUE(isAll(0, kLarge.tx, kLargeRing));
  EXPECT_TRUE(isAll(0, kLarge.rx, kLargeRing));
  for (uint64_t at : {kLarge.index, kLarge.tx, kLarge.rx}) {
    EXPECT_EQ(memory()[at - 1], 0xee);
  }
  EXPECT_EQ(memory()[kLarge.index + 4096], 0xee);
  EXPECT_EQ(memory()[kLarge.tx + kLargeRing], 0xee);
  EXPECT_EQ(memory()[kLarge.rx + kLargeRing], 0xee);
  EXPECT_TRUE(moves(c));
}

TEST_F(CardClearing, OfLargeRingsDoesNotHoldUpSmallOnes) {
  Accepted large = placing(kLargeChannel), small = placing({.channel = 1});
  whileStopped([&] {
    session().send(cardPlaced(large.offer.id, kLarge));
    session().send(cardPlaced(small.offer.id, placesOf(1)));
  });
  expectFrame(LANECALL_CARD_START, small.offer.id);
  expectFrame(LANECALL_CARD_START, large.offer.id);
  EXPECT_TRUE(isAll(0, kLarge.rx, kLargeRing));
}

TEST_F(CardClearing, HoldsThePlacesMeanwhile) {
  Accepted large = placing(kLargeChannel), other = placing({.channel = 1});
  whileStopped([&] {
    session().send(cardPlaced(large.offer.id, kLarge));
    session().send(cardPlaced(other.offer.id, kLarge));
  });
  expectFrame(LANECALL_CARD_BUSY, other.offer.id);
  expectFrame(LANECALL_CARD_START, large.offer.id);
}

TEST_F(CardClearing, StopsAtTheEndOfTheChannel) {
  Accepted large = placing(kLargeChannel);
  whileStopped([&] {
    session().send(cardPlaced(large.offer.id, kLarge));
    session().send(cardFrame(LANECALL_CARD_END, large.offer.id));
  });
  EXPECT_TRUE(endsInCard(*large.channel, LANECALL_ERR_NONE));
  Accepted other = placing({.channel = 1});  // several turns
  EXPECT_TRUE(isAll(0xee, kLarge.rx, kLargeRing));
  session().send(cardPlaced(other.offer.id, kLarge));
  expectFrame(LANECALL_CARD_BUSY, other.offer.id);
  ASSERT_TRUE(large.channel->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, large.offer.id);
  session().send(cardPlaced(other.offer.id, kLarge));
  expectFrame(LANECALL_CARD_START, other.offer.id);
}

TEST_F(CardClearing, StopsAtTheEndOfTheSession) {
  Accepted large = placing(kLargeChannel);
  SharedMemory kept(session().memoryFd());
  whileStopped([&] {
    session().send(cardPlaced(large.offer.id, kLarge));
    endSession();
  });
  EXPECT_TRUE(endsInCard(*large.channel, LANECALL_ERR_RESET));
  ASSERT_TRUE(large.channel->close(soon()));
  DirectCall anew = direct({.channel = 1});
  EXPECT_TRUE(moves(anew));
  EXPECT_EQ(kept.bytes()[kLarge.tx], 0xee);
  EXPECT_EQ(kept.bytes()[kLarge.rx + kLargeRing - 1], 0xee);
}

TEST_F(CardClearing, StopsAtCloseAndReset) {
  for (int i = 0; i < 10; ++i) {
    Accepted large = placing(kLargeChannel);
    session().send(cardPlaced(large.offer.id, kLarge));
    if (i % 2) {
      ASSERT_TRUE(large.channel->close(soon()));
    } else {
      device().write32(LANECALL_REG_CONTROL, 0);
      enable();
    }
    // It may have been done before that.
    if (session().peekType(soon()) == LANECALL_CARD_START) {
      expectFrame(LANECALL_CARD_START, large.offer.id);
    }
    expectFrame(LANECALL_CARD_CLOSE, large.offer.id);
  }
  DirectCall c = direct(kLargeChannel, kLarge);
  EXPECT_TRUE(moves(c));
}

TEST_F(CardClearing, PlacedOnceMoreMeanwhileEndsTheSession) {
  Accepted large = placing(kLargeChannel);
  whileStopped([&] {
    session().send(cardPlaced(large.offer.id, kLarge));
    session().send(cardPlaced(large.offer.id, placesOf(0)));
  });
  EXPECT_TRUE(sessionEnds());
  EXPECT_TRUE(endsInCard(*large.channel, LANECALL_ERR_RESET));
}

TEST_F(CardClearing, AttachOnceMoreMeanwhileIsABreach) {
  Accepted large = placing(kLargeChannel);
  session().send(cardPlaced(large.offer.id, kLarge));
  large.channel->attach();
  EXPECT_TRUE(endsInCard(*large.channel, LANECALL_ERR_PROTOCOL));
}

// Who holds a file's inode lock for as long as this lives: by a write to the
// file, of a page whose fault nobody answers.
class HeldInode {
 public:
  explicit HeldInode(int fd) {
    faults_ = Descriptor(
        static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
    if (!faults_.valid() || ioctl(faults_.get(), UFFDIO_API, &api) != 0) return;
    page_ = mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uffdio_register range{
        .range = {.start = reinterpret_cast<uintptr_t>(page_), .len = kPage},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
        .ioctls = 0};
    if (page_ == MAP_FAILED ||
        ioctl(faults_.get(), UFFDIO_REGISTER, &range) != 0) {
      return;
    }
    writer_ = std::thread([this, fd] { written_ = pwrite(fd, page_, 1, 0); });
    pollfd p{.fd = faults_.get(), .events = POLLIN, .revents = 0};
    held_ = poll(&p, 1, soon().remainingMs()) > 0;
  }
  ~HeldInode() {
    faults_.reset();  // the page is one of zeros now
    if (writer_.joinable()) writer_.join();
    if (page_ != MAP_FAILED) munmap(page_, kPage);
  }
  bool held() const { return held_; }

 private:
  static constexpr size_t kPage = 4096;

  Descriptor faults_;
  void* page_ = MAP_FAILED;
  std::thread writer_;
  ssize_t written_ = 0;
  bool held_ = false;
};

TEST_F(CardClearing, DoesNotWaitForALockThatTheServerHolds) {
  DirectCall other = direct({.channel = 5});
  HeldInode inode(session().memoryFd());
  if (!inode.held()) GTEST_SKIP() << "userfaultfd is not permitted here";
  DirectCall c = direct({.channel = 1});
  EXPECT_EQ(device().read32(LANECALL_REG_MAGIC), LANECALL_MAGIC);
  EXPECT_TRUE(moves(c));
  EXPECT_TRUE(moves(other));
}

// ---- Places that are wrong, or in use --------------------------------------

struct BadPlaces {
  const char* name;
  lanecall_places places;
};

class PlacedBadly : public CardGround,
                    public ::testing::WithParamInterface<BadPlaces> {};

constexpr uint64_t kEnd = 64 * kMiB;
constexpr uint64_t kRing = 64 << 10;

INSTANTIATE_TEST_SUITE_P(
    By, PlacedBadly,
    ::testing::Values(
        BadPlaces{"IndexNotAligned", {8, kRing, 2 * kRing}},
        BadPlaces{"TxNotAligned", {0, kRing + 4095, 4 * kRing}},
        BadPlaces{"RxNotAligned", {0, kRing, 2 * kRing + 1}},
        BadPlaces{"IndexAtTheEnd", {kEnd, kRing, 2 * kRing}},
        BadPlaces{"TxBeyondTheEnd", {0, kEnd - kRing + 4096, kRing}},
        BadPlaces{"RxFarBeyond", {0, kRing, uint64_t{1} << 40}},
        BadPlaces{"TxThatWraps", {0, ~uint64_t{4095}, kRing}},
        BadPlaces{"RingsThatOverlap", {0, kRing, 2 * kRing - 4096}},
        BadPlaces{"OnePlaceForBothRings", {0, kRing, kRing}},
        BadPlaces{"IndexInARing", {2 * kRing - 4096, kRing, 4 * kRing}}),
    [](const auto& info) { return info.param.name; });

TEST_P(PlacedBadly, EndsTheChannelAndNoOther) {
  start();
  DirectCall other = direct({.channel = 9});
  Accepted made = accepted({.channel = 2});
  made.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  session().send(cardPlaced(made.offer.id, GetParam().places));
  EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_IO));
  expectFrame(LANECALL_CARD_CLOSE, made.offer.id);
  EXPECT_TRUE(moves(other));
  EXPECT_EQ(guestErrors(), 0u);
  ASSERT_TRUE(made.channel->close(soon()));
  EXPECT_TRUE(sessionLives());
}

// The last byte of card memory is as good as any.
TEST_F(CardMemory, CanBeUsedToItsEnd) {
  start();
  DirectCall c = direct({}, {kEnd - 4096, kEnd - 2 * kRing, 0});
  EXPECT_TRUE(moves(c));
}

TEST_F(CardMemory, PlacesHaveWholePagesToThemselves) {
  start();
  // 4 KiB rings in pages of 64 KiB: the device counts a page for each.
  Accepted made = accepted({.tx_shift = 12, .rx_shift = 12, .page_shift = 16});
  made.channel->attach();
  const CardFrame place = expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  EXPECT_EQ(place.frame.place.page_bytes, 64u << 10);
  EXPECT_EQ(place.frame.place.tx_bytes, 4096u);
  session().send(cardPlaced(made.offer.id, {0, kRing, kRing + 4096}));
  EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_IO));
}

TEST_F(CardMemory, APlaceInUseIsAnsweredByBusy) {
  start();
  DirectCall other = direct({.channel = 0}, placesOf(0));
  Accepted made = accepted({.channel = 1});
  made.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  lanecall_places places = placesOf(1);
  places.rx = placesOf(0).tx;
  session().send(cardPlaced(made.offer.id, places));
  const CardFrame busy = expectFrame(LANECALL_CARD_BUSY, made.offer.id);
  EXPECT_EQ(busy.frame.busy.offset, placesOf(0).tx);
  EXPECT_EQ(busy.frame.busy.bytes, kRing);
  EXPECT_EQ(made.channel->status(),
            uint32_t{LANECALL_READY | LANECALL_IN_CARD});
  session().send(cardPlaced(made.offer.id, placesOf(1)));
  expectFrame(LANECALL_CARD_START, made.offer.id);
  EXPECT_TRUE(reaches(*made.channel, LANECALL_RUNNING | LANECALL_IN_CARD));
  EXPECT_TRUE(moves(other));
}

TEST_F(CardMemory, BusyHasAnEnd) {
  start();
  DirectCall other = direct({.channel = 0}, placesOf(0));
  Accepted made = accepted({.channel = 1});
  made.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, made.offer.id);
  for (int i = 0; i < LANECALL_CARD_BUSY_MAX; ++i) {
    session().send(cardPlaced(made.offer.id, placesOf(0)));
    expectFrame(LANECALL_CARD_BUSY, made.offer.id);
  }
  session().send(cardPlaced(made.offer.id, placesOf(0)));
  EXPECT_TRUE(endsInCard(*made.channel, LANECALL_ERR_IO));
  expectFrame(LANECALL_CARD_CLOSE, made.offer.id);
}

TEST_F(CardMemory, IsFreeAgainAtClosedAndNotBefore) {
  start();
  DirectCall first = direct({.channel = 0}, placesOf(0));
  session().send(cardFrame(LANECALL_CARD_END, first.offer.id));
  ASSERT_TRUE(endsInCard(*first, LANECALL_ERR_NONE));

  Accepted second = accepted({.channel = 1});
  second.channel->attach();
  expectFrame(LANECALL_CARD_PLACE, second.offer.id);
  session().send(cardPlaced(second.offer.id, placesOf(0)));
  expectFrame(LANECALL_CARD_BUSY, second.offer.id);
  ASSERT_TRUE(first->close(soon()));
  expectFrame(LANECALL_CARD_CLOSE, first.offer.id);
  session().send(cardPlaced(second.offer.id, placesOf(0)));
  expectFrame(LANECALL_CARD_START, second.offer.id);
}

TEST_F(CardMemory, IsHeldOverTheEndOfASession) {
  start();
  DirectCall first = direct({.channel = 0}, placesOf(0));
  endSession();
  ASSERT_TRUE(endsInCard(*first, LANECALL_ERR_RESET));
  const auto opened = openInCard({.channel = 1});
  const CardOffer offer = offered();
  session().send(cardFrame(LANECALL_CARD_ACCEPT, offer.id));
  ASSERT_TRUE(reaches(*opened, LANECALL_READY | LANECALL_IN_CARD));
  opened->attach();
  expectFrame(LANECALL_CARD_PLACE, offer.id);
  session().send(cardPlaced(offer.id, placesOf(0)));
  expectFrame(LANECALL_CARD_BUSY, offer.id);
  ASSERT_TRUE(first->close(soon()));
  session().send(cardPlaced(offer.id, placesOf(0)));
  expectFrame(LANECALL_CARD_START, offer.id);
}

TEST_F(CardMemory, IsFreeAgainAfterAReset) {
  start();
  DirectCall first = direct({.channel = 0}, placesOf(0));
  device().write32(LANECALL_REG_CONTROL, 0);
  expectFrame(LANECALL_CARD_CLOSE, first.offer.id);
  enable();
  DirectCall second = direct({.channel = 1}, placesOf(0));
  EXPECT_TRUE(moves(second));
}

}  // namespace
}  // namespace lanecall::test
