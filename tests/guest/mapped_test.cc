// SPDX-License-Identifier: Apache-2.0
// Mapped mode: what LANECALL_IOC_MAP and mmap allow and refuse, bytes through
// mapped rings, sleeping in poll, and every way in which mappings, files,
// programs and devices can go first. Written against the ABI alone: it does not
// matter whether the rings are host memory or the card's.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "mapping.h"

namespace lanecall::guest_tests {
namespace {

class Mapped : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!mapped_mode_is_there())
      GTEST_SKIP() << "this machine's memory cannot be shared with the device";
  }
};

int set_rings(int fd, std::uint32_t tx, std::uint32_t rx) {
  lanecall_ring_sizes sizes{tx, rx};
  return ::ioctl(fd, LANECALL_IOC_SET_RINGS, &sizes) == 0 ? 0 : errno;
}

MappedChannel with_rings(std::uint32_t tx, std::uint32_t rx) {
  Fd fd = open_channel();
  EXPECT_EQ(set_rings(fd.get(), tx, rx), 0);
  return MappedChannel(std::move(fd));
}

int errno_of_mmap(int fd, std::uint64_t offset, std::size_t bytes,
                  int protection = PROT_READ | PROT_WRITE,
                  int flags = MAP_SHARED) {
  void* data =
      ::mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return errno;
  ::munmap(data, bytes);
  return 0;
}

// ---- Choosing --------------------------------------------------------------

TEST_F(Mapped, DescribesTheParts) {
  Fd fd = open_channel();
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  EXPECT_EQ(map.page_bytes, static_cast<unsigned>(::getpagesize()));
  EXPECT_EQ(map.tx_bytes, 256U * 1024);
  EXPECT_EQ(map.rx_bytes, 256U * 1024);
  bool in_card = map.flags & LANECALL_MAPPING_IN_CARD;
  EXPECT_EQ(map.index_offset == map.status_offset, !in_card);
  EXPECT_FALSE(map.flags & ~LANECALL_MAPPING_IN_CARD);
  std::uint64_t features = info_of(fd.get()).features;
  EXPECT_TRUE(!in_card || features & LANECALL_FEATURE_CARD_RINGS);
  lanecall_mapping again{};
  EXPECT_EQ(choose_mapped(fd.get(), &again), 0);
  EXPECT_EQ(std::memcmp(&map, &again, sizeof(map)), 0);
  EXPECT_EQ(::ioctl(fd.get(), LANECALL_IOC_MAP, reinterpret_cast<void*>(8)),
            -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST_F(Mapped, IsTooLateOnceBytesWereWrittenOrRead) {
  Fd fd = open_with("echo");
  lanecall_mapping map{};
  EXPECT_EQ(choose_mapped(fd.get(), &map), EBUSY);
  write_all(fd.get(), "still works");
  EXPECT_EQ(read_count(fd.get(), 11), "still works");
}

TEST_F(Mapped, IsNotTooLateAfterPoll) {
  Fd fd = open_channel();
  EXPECT_EQ(poll_for(fd.get(), POLLOUT), POLLOUT);
  MappedChannel channel(std::move(fd));
  channel.send("echo\nhello");
  EXPECT_EQ(channel.receive(5), "hello");
}

TEST_F(Mapped, ReadAndWriteAreBusyFromThenOn) {
  MappedChannel channel = MappedChannel::with("echo");
  char byte = 'x';
  EXPECT_EQ(::read(channel.fd(), &byte, 1), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(::write(channel.fd(), &byte, 1), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(set_rings(channel.fd(), 4096, 4096), EBUSY);
  EXPECT_EQ(info_of(channel.fd()).tx_bytes, 256U * 1024);
  EXPECT_EQ(status_of(channel.fd()).state, unsigned{LANECALL_RUNNING});
}

TEST_F(Mapped, AReaderThatSleepsIsToldThatItIsBusy) {
  Fd fd = open_channel();
  std::atomic<pid_t> reader_id{0};
  std::thread reader([&] {
    reader_id = ::gettid();
    char byte = 0;
    EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
    EXPECT_EQ(errno, EBUSY);
  });
  ASSERT_TRUE(eventually([&] { return reader_id && is_asleep(reader_id); }));
  lanecall_mapping map{};
  EXPECT_EQ(choose_mapped(fd.get(), &map), 0);
  reader.join();
}

TEST_F(Mapped, NonblockingSaysTryAgainWhileConnecting) {
  Fd fd = open_channel(kNoAnswer, O_NONBLOCK);
  lanecall_mapping map{};
  EXPECT_EQ(choose_mapped(fd.get(), &map), EAGAIN);
}

TEST_F(Mapped, NonblockingIsThereWhenPollSaysSo) {
  Fd fd = open_channel(kPeer, O_NONBLOCK);
  EXPECT_EQ(poll_for(fd.get(), POLLOUT), POLLOUT);
  MappedChannel channel(std::move(fd));
  channel.send("echo\nhello");
  EXPECT_EQ(channel.receive(5), "hello");
}

TEST_F(Mapped, ARefusedOpenSaysWhy) {
  Fd fd = open_channel(kRefused, O_NONBLOCK);
  EXPECT_TRUE(poll_for(fd.get(), POLLOUT) & POLLERR);
  lanecall_mapping map{};
  EXPECT_EQ(choose_mapped(fd.get(), &map), ECONNREFUSED);
}

// ---- What can be mapped ----------------------------------------------------

TEST_F(Mapped, NothingBeforeItWasChosen) {
  Fd chosen = open_channel();
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(chosen.get(), &map), 0);
  Fd fd = open_channel();
  for (std::uint64_t offset :
       {map.status_offset, map.index_offset, map.doorbell_offset, map.tx_offset,
        map.rx_offset})
    EXPECT_EQ(errno_of_mmap(fd.get(), offset, map.page_bytes), EINVAL);
}

TEST_F(Mapped, OnlyThePartsAndOnlyWhole) {
  Fd fd = open_channel();
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  const std::size_t page = map.page_bytes;
  for (std::uint64_t offset :
       {map.status_offset, map.index_offset, map.doorbell_offset}) {
    EXPECT_EQ(errno_of_mmap(fd.get(), offset, page), 0) << offset;
    EXPECT_EQ(errno_of_mmap(fd.get(), offset, 2 * page), EINVAL) << offset;
    EXPECT_EQ(errno_of_mmap(fd.get(), offset + page, page), EINVAL) << offset;
  }
  for (std::uint64_t offset : {map.tx_offset, map.rx_offset}) {
    const std::size_t ring = map.tx_bytes;
    for (std::size_t bytes : {ring, 2 * ring})
      EXPECT_EQ(errno_of_mmap(fd.get(), offset, bytes), 0) << offset;
    for (std::size_t bytes : {page, ring - page, ring + page, 2 * ring - page,
                              2 * ring + page, 3 * ring, 4 * ring})
      EXPECT_EQ(errno_of_mmap(fd.get(), offset, bytes), EINVAL) << offset;
    EXPECT_EQ(errno_of_mmap(fd.get(), offset + page, ring), EINVAL) << offset;
    EXPECT_EQ(errno_of_mmap(fd.get(), offset + ring, ring), EINVAL) << offset;
  }
}

// Every page of the first gigabyte of offsets (on a debug kernel, some of
// them), and powers of two above.
TEST_F(Mapped, NothingElseIsReachable) {
  Fd fd = open_channel();
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  auto is_part = [&](std::uint64_t offset) {
    return offset == map.status_offset || offset == map.index_offset ||
           offset == map.doorbell_offset;
  };
  const std::uint64_t step = map.page_bytes * (is_debug_kernel() ? 61UL : 1UL);
  for (std::uint64_t offset = 0; offset < 1ULL << 30; offset += step)
    ASSERT_EQ(errno_of_mmap(fd.get(), offset, map.page_bytes),
              is_part(offset) ? 0 : EINVAL)
        << offset;
  for (int bit = 30; bit < 63; bit++)
    EXPECT_NE(errno_of_mmap(fd.get(), 1ULL << bit, map.page_bytes), 0) << bit;
}

TEST_F(Mapped, OnlySharedAndNeverToBeRun) {
  Fd fd = open_channel();
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  for (std::uint64_t offset :
       {map.status_offset, map.index_offset, map.doorbell_offset}) {
    EXPECT_EQ(
        errno_of_mmap(fd.get(), offset, map.page_bytes, PROT_READ, MAP_PRIVATE),
        EINVAL);
    EXPECT_EQ(
        errno_of_mmap(fd.get(), offset, map.page_bytes, PROT_READ | PROT_EXEC),
        EPERM);
    Mapping mapping(fd.get(), offset, map.page_bytes);
    EXPECT_EQ(
        ::mprotect(mapping.as<void>(), map.page_bytes, PROT_READ | PROT_EXEC),
        -1);
    EXPECT_EQ(errno, EACCES);
    EXPECT_EQ(::mremap(mapping.as<void>(), map.page_bytes, 2 * map.page_bytes,
                       MREMAP_MAYMOVE),
              MAP_FAILED);
  }
}

// ---- Bytes -----------------------------------------------------------------

TEST_F(Mapped, ARingIsTheSameBytesTwice) {
  MappedChannel channel = with_rings(8192, 4096);
  std::memcpy(channel.txBytes() + 8192 - 2, "echo", 4);
  EXPECT_EQ(std::memcmp(channel.txBytes(), "ho", 2), 0);
  channel.txBytes()[5000] = 'x';
  EXPECT_EQ(channel.txBytes()[8192 + 5000], 'x');
  channel.rxBytes()[4096 + 17] = 'y';
  EXPECT_EQ(channel.rxBytes()[17], 'y');
}

TEST_F(Mapped, MapsTheSamePartManyTimes) {
  MappedChannel channel = MappedChannel::with("echo");
  Mapping again(channel.fd(), channel.map().index_offset,
                channel.map().page_bytes);
  EXPECT_EQ(lanecall_get32(&again.as<lanecall_index_page>()->tx_producer.head),
            channel.tx().own);
}

TEST_F(Mapped, EchoesWhateverTheSizes) {
  for (std::uint32_t ring : {4096U, 65536U, 8U << 20}) {
    MappedChannel channel = with_rings(ring, ring);
    channel.send("echo\n");
    for (std::size_t bytes : {1, 2, 127, 4095, 4096, 4097, 70000}) {
      std::string data = random_bytes(bytes, static_cast<unsigned>(bytes));
      std::thread sender([&] { channel.send(data); });
      EXPECT_TRUE(channel.receive(bytes) == data) << bytes << " in " << ring;
      sender.join();
    }
  }
}

TEST_F(Mapped, TwoThreadsStreamThroughSmallRings) {
  MappedChannel channel = with_rings(4096, 4096);
  channel.send("echo\n");
  const std::string data = random_bytes(1 << 20, 5);
  std::thread sender([&] { channel.send(data); });
  EXPECT_TRUE(channel.receive(data.size()) == data);
  sender.join();
}

TEST_F(Mapped, FsyncWaitsUntilTheDeviceHasTakenAll) {
  MappedChannel channel = MappedChannel::with("collect fsynced");
  channel.send(random_bytes(200000, 6));
  EXPECT_EQ(::fsync(channel.fd()), 0) << std::strerror(errno);
  EXPECT_EQ(lanecall_ring_space(&channel.tx()), channel.map().tx_bytes);
}

// ---- Sleeping --------------------------------------------------------------

TEST_F(Mapped, PollSleepsUntilBytesCome) {
  MappedChannel channel = MappedChannel::with("echo");
  EXPECT_EQ(poll_for(channel.fd(), POLLIN, std::chrono::milliseconds(0)), 0);
  std::atomic<pid_t> sleeper{0};
  std::thread poller([&] {
    sleeper = ::gettid();
    EXPECT_EQ(poll_for(channel.fd(), POLLIN), POLLIN);
  });
  ASSERT_TRUE(eventually([&] { return sleeper && is_asleep(sleeper); }));
  channel.send("x");
  poller.join();
  EXPECT_EQ(channel.receive(1), "x");
}

TEST_F(Mapped, PollSleepsUntilThereIsRoom) {
  MappedChannel channel = MappedChannel::with("mute");
  const std::string block(65536, 'x');
  do {
    while (channel.put(block)) {
    }
  } while (poll_for(channel.fd(), POLLOUT, std::chrono::milliseconds(200)));
  std::atomic<pid_t> sleeper{0};
  std::thread poller([&] {
    sleeper = ::gettid();
    EXPECT_EQ(poll_for(channel.fd(), POLLOUT), POLLOUT);
  });
  ASSERT_TRUE(eventually([&] { return sleeper && is_asleep(sleeper); }));
  Fd release = open_with("release");
  EXPECT_EQ(read_count(release.get(), 9), "released\n");
  poller.join();
  EXPECT_GT(lanecall_ring_space(&channel.tx()), 0);
}

// ---- Ends ------------------------------------------------------------------

TEST_F(Mapped, TheServersEndComesAfterItsBytes) {
  MappedChannel channel = MappedChannel::with("send 700000");
  EXPECT_TRUE(channel.receiveToEnd() == pattern(0, 700000));
  EXPECT_EQ(channel.state(), unsigned{LANECALL_ENDED});
  short events = poll_for(channel.fd(), POLLIN | POLLOUT);
  EXPECT_TRUE(events & POLLHUP);
  EXPECT_FALSE(events & POLLERR);
}

std::string report(const std::string& token) {
  Fd fd = open_with("report " + token);
  return read_to_end(fd.get());
}

TEST_F(Mapped, CloseSendsWhatWasPublished) {
  const std::string data = random_bytes(250000, 11);
  {
    MappedChannel channel = MappedChannel::with("collect mapped");
    channel.send(data);
  }
  EXPECT_EQ(report("mapped"), std::to_string(data.size()) + " " +
                                  std::to_string(crc32(data)) + "\n");
  EXPECT_TRUE(all_channels_free());
}

TEST_F(Mapped, OutlivesItsDescriptor) {
  ASSERT_TRUE(all_channels_free());
  MappedChannel channel = MappedChannel::with("echo");
  channel.closeFile();
  EXPECT_EQ(sysfs_number("channels_in_use"), 1);
  channel.put("hello");
  std::string back;
  EXPECT_TRUE(eventually([&] {
    back += channel.take(5);
    return back.size() == 5;
  }));
  EXPECT_EQ(back, "hello");
}

TEST_F(Mapped, WorksThroughADuplicate) {
  Fd fd = open_channel();
  Fd duplicate(::dup(fd.get()));
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  fd.reset();
  MappedChannel channel(std::move(duplicate));
  channel.send("echo\nhello");
  EXPECT_EQ(channel.receive(5), "hello");
}

// Runs do_it in a child; its exit status, or minus the signal that killed it.
int in_child(const std::function<int()>& do_it) {
  pid_t child = ::fork();
  EXPECT_GE(child, 0);
  if (child == 0) ::_exit(do_it());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_F(Mapped, AChildOfForkHasNoneOfIt) {
  MappedChannel channel = MappedChannel::with("echo");
  EXPECT_EQ(in_child([&] { return int{channel.txBytes()[0]}; }), -SIGSEGV);
  EXPECT_EQ(in_child([&] {
              channel.ring();
              return 0;
            }),
            -SIGSEGV);
  EXPECT_EQ(in_child([&] { return static_cast<int>(channel.state()); }),
            -SIGSEGV);
  // It has the descriptor, and can map for itself.
  EXPECT_EQ(in_child([&] {
              Mapping status(channel.fd(), channel.map().status_offset,
                             channel.map().page_bytes);
              return static_cast<int>(LANECALL_STATE(
                  lanecall_get32(&status.as<lanecall_index_page>()->status)));
            }),
            LANECALL_RUNNING);
  channel.send("hello");
  EXPECT_EQ(channel.receive(5), "hello");
}

TEST_F(Mapped, UnmappingWhileAnotherThreadSleeps) {
  MappedChannel channel = MappedChannel::with("send 100");
  EXPECT_EQ(channel.receiveToEnd().size(), 100U);
  MappedChannel other = MappedChannel::with("echo");
  std::atomic<pid_t> sleeper{0};
  std::thread poller([&] {
    sleeper = ::gettid();
    EXPECT_EQ(poll_for(other.fd(), POLLIN), POLLIN);
  });
  ASSERT_TRUE(eventually([&] { return sleeper && is_asleep(sleeper); }));
  other.put("hello");
  other.unmapRings();
  poller.join();
}

TEST_F(Mapped, AThousandTimesInARow) {
  for (int i = 0; i < often(1000); i++) {
    MappedChannel channel = MappedChannel::with("echo");
    channel.send("hello");
    ASSERT_EQ(channel.receive(5), "hello") << i;
  }
  EXPECT_TRUE(all_channels_free());
}

// ---- A program that lies ---------------------------------------------------

// How often the driver has said in the log that it gives a channel up.
int times_given_up() {
  constexpr int kReadAll = 3;  // SYSLOG_ACTION_READ_ALL
  std::string text(1 << 20, '\0');
  int bytes = ::klogctl(kReadAll, text.data(), static_cast<int>(text.size()));
  EXPECT_GE(bytes, 0) << std::strerror(errno);
  text.resize(static_cast<std::size_t>(std::max(bytes, 0)));
  int times = 0;
  for (std::size_t at = 0; (at = text.find("closing it", at)) != text.npos;
       at++)
    times++;
  return times;
}

void expect_works() {
  Fd fd = open_with("echo");
  write_all(fd.get(), "again");
  EXPECT_EQ(read_count(fd.get(), 5), "again");
}

// What a program writes is not what the device says: no word of it in the log.
// Before the tests below, after which the log's limit would hide it.
TEST_F(Mapped, AFalseStatusIsNotTheDevicesInTheLog) {
  const int before = times_given_up();
  MappedChannel channel = MappedChannel::with("echo");
  lanecall_put32(&channel.status()->status, 0xffffffffU);
  EXPECT_EQ(status_of(channel.fd()).error, EIO);
  EXPECT_EQ(times_given_up(), before);
}

// Whatever a program writes as its status, the kernel neither frees what the
// device still uses nor loses the channel.
TEST_F(Mapped, AFalseStatusCostsOnlyThatChannel) {
  for (std::uint32_t word :
       {0x00000000U, 0x00000001U, 0x00000002U, 0x00000004U, 0x00000005U,
        0x00060005U, 0x00000103U, 0x00000105U, 0x00000006U, 0xffffffffU}) {
    for (const char* order : {"echo", "mute"}) {
      MappedChannel channel = MappedChannel::with(order);
      channel.put(std::string(200000, 'x'));
      lanecall_put32(&channel.status()->status, word);
      poll_for(channel.fd(), POLLIN | POLLOUT, std::chrono::milliseconds(0));
      [[maybe_unused]] int err = ::fsync(channel.fd());
      channel.ring();  // also when the kernel has closed the channel
      lanecall_put32(&channel.status()->status, word);
    }
    expect_works();
  }
  Fd release = open_with("release");
  EXPECT_EQ(read_count(release.get(), 9), "released\n");
  release.reset();
  EXPECT_TRUE(all_channels_free());
}

TEST_F(Mapped, ScribblingEverywhereCostsOnlyThatChannel) {
  for (unsigned seed = 0; seed < 50; seed++) {
    MappedChannel channel = MappedChannel::with("echo");
    std::string noise = random_bytes(channel.map().page_bytes, seed);
    std::memcpy(channel.txBytes(), noise.data(), noise.size());
    std::memcpy(channel.rxBytes(), noise.data(), noise.size());
    std::memcpy(static_cast<void*>(channel.index()), noise.data(),
                noise.size());
    if (seed % 2)
      std::memcpy(static_cast<void*>(channel.status()), noise.data(),
                  noise.size());
    channel.ring();
    poll_for(channel.fd(), POLLIN | POLLOUT, std::chrono::milliseconds(0));
  }
  expect_works();
  EXPECT_TRUE(all_channels_free());
}

// ---- The device goes away --------------------------------------------------

struct Pci {
  Pci() {
    Fd fd = open_channel();
    address = info_of(fd.get()).device;
  }
  void unbind() const {
    EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/unbind", address));
  }
  void bind() const {
    EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/bind", address));
  }
  void reset() const {
    EXPECT_TRUE(write_file("/sys/bus/pci/devices/" + address + "/reset", "1"));
  }
  void remove() const {
    EXPECT_TRUE(write_file("/sys/bus/pci/devices/" + address + "/remove", "1"));
  }
  void rescan() const { EXPECT_TRUE(write_file("/sys/bus/pci/rescan", "1")); }
  // As if someone had pulled it out: its slot's power goes, and reads are all
  // ones. The kernel takes no notice, because the power is off.
  void pull_out() const {
    namespace fs = std::filesystem;
    fs::path port = fs::canonical("/sys/bus/pci/devices/" + address + "/..");
    Fd config(::open((port / "config").c_str(), O_RDWR | O_CLOEXEC));
    std::uint8_t at = config_read<std::uint8_t>(config.get(), 0x34);
    while (at && config_read<std::uint8_t>(config.get(), at) != 0x10)
      at = config_read<std::uint8_t>(config.get(), at + 1);
    ASSERT_NE(at, 0) << "no PCIe capability: " << port;
    const int slot_control = at + 0x18;
    std::uint16_t word =
        config_read<std::uint16_t>(config.get(), slot_control) | 0x0700;
    EXPECT_EQ(::pwrite(config.get(), &word, sizeof word, slot_control),
              ssize_t{sizeof word});
  }
  template <typename T>
  static T config_read(int config, int offset) {
    T value{};
    EXPECT_EQ(::pread(config, &value, sizeof value, offset),
              ssize_t{sizeof value});
    return value;
  }

  std::string address;
};

// In use without a pause: doorbell, rings, index page. Until the device is
// gone; then once more all over.
void spin_until_gone(MappedChannel& channel,
                     const std::function<void()>& once) {
  std::uint32_t sum = 0;
  for (std::uint64_t round = 0; !channel.isGone(); round++) {
    channel.ring();
    channel.put("x");
    sum += channel.rxBytes()[round % channel.map().rx_bytes];
    lanecall_put32(&channel.index()->rx_consumer.tail,
                   lanecall_get32(&channel.index()->rx_producer.head));
    if (round == 1000) once();
  }
  channel.ring();
  for (std::size_t at = 0; at < 2UL * channel.map().rx_bytes; at += 512) {
    sum += channel.rxBytes()[at];
    channel.txBytes()[at] = 1;
  }
  lanecall_put32(&channel.index()->tx_producer.head, sum);
}

// The driver gives up a channel whose status cannot be. Whoever spins on it is
// told in memory, before the pages of BARs go.
TEST_F(Mapped, AChannelThatWasGivenUpIsGone) {
  MappedChannel channel = MappedChannel::with("echo");
  std::atomic<bool> spins{false};
  std::thread spinner([&] { spin_until_gone(channel, [&] { spins = true; }); });
  EXPECT_TRUE(eventually([&] { return spins.load(); }));
  EXPECT_FALSE(channel.isGone());
  lanecall_put32(&channel.status()->status, 0xffffffffU);
  EXPECT_EQ(status_of(channel.fd()).state, unsigned{LANECALL_ENDED});
  EXPECT_TRUE(channel.isGone());
  lanecall_put32(&channel.status()->gone, 1);  // the spinner's end, anyhow
  spinner.join();
  expect_works();
  EXPECT_EQ(poll_for(channel.fd(), POLLIN), POLLIN | POLLERR | POLLHUP);
}

void expect_dead(MappedChannel& channel) {
  EXPECT_TRUE(channel.isGone());
  short events = poll_for(channel.fd(), POLLIN | POLLOUT);
  EXPECT_TRUE(events & POLLERR);
  EXPECT_TRUE(events & POLLHUP);
  char byte = 0;
  EXPECT_EQ(::read(channel.fd(), &byte, 1), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(::fsync(channel.fd()), -1);
  EXPECT_EQ(errno, EIO);
  lanecall_mapping map{};
  EXPECT_EQ(choose_mapped(channel.fd(), &map), EIO);
  EXPECT_EQ(errno_of_mmap(channel.fd(), channel.map().doorbell_offset,
                          channel.map().page_bytes),
            EIO);
  EXPECT_EQ(errno_of_mmap(channel.fd(), channel.map().tx_offset,
                          channel.map().tx_bytes),
            EIO);
}

// A program and a thread that spin on all that is mapped, one that sleeps, and
// pages that nobody has touched yet, while `take_away` runs.
void expect_all_end(const std::function<void()>& take_away) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  Fd wait_end(pipe_ends[0]);
  Fd tell_end(pipe_ends[1]);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    MappedChannel channel = MappedChannel::with("echo");
    spin_until_gone(channel, [&] {
      if (::write(tell_end.get(), "x", 1) != 1) ::_exit(2);
    });
    ::_exit(poll_for(channel.fd(), POLLIN) & POLLERR ? 0 : 1);
  }
  MappedChannel spinning = MappedChannel::with("echo");
  MappedChannel sleeping = MappedChannel::with("echo");
  MappedChannel untouched;
  std::atomic<bool> spins{false};
  std::atomic<pid_t> sleeper{0};
  std::thread spinner(
      [&] { spin_until_gone(spinning, [&] { spins = true; }); });
  std::thread poller([&] {
    sleeper = ::gettid();
    short events = poll_for(sleeping.fd(), POLLIN);
    EXPECT_TRUE(events & POLLERR);
    EXPECT_TRUE(events & POLLHUP);
  });
  EXPECT_TRUE(poll_for(wait_end.get(), POLLIN) & POLLIN);
  EXPECT_TRUE(
      eventually([&] { return spins && sleeper && is_asleep(sleeper); }));
  take_away();
  spinner.join();
  poller.join();
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  for (MappedChannel* each : {&spinning, &sleeping, &untouched})
    expect_dead(*each);
  spin_until_gone(untouched, [] {});  // touches it all for the first time
}

TEST_F(Mapped, UnbindingLeavesMemoryButNoDevice) {
  Pci pci;
  expect_all_end([&] { pci.unbind(); });
  pci.bind();
  expect_works();
  MappedChannel channel = MappedChannel::with("echo");
  channel.send("hello");
  EXPECT_EQ(channel.receive(5), "hello");
}

TEST_F(Mapped, AFunctionResetLeavesMemoryButNoDevice) {
  Pci pci;
  long generation = sysfs_number("generation");
  expect_all_end([&] { pci.reset(); });
  EXPECT_GT(sysfs_number("generation"), generation);
  expect_works();
}

TEST_F(Mapped, RemovalLeavesMemoryButNoDevice) {
  Pci pci;
  expect_all_end([&] { pci.remove(); });
  pci.rescan();
  expect_works();
}

// In a guest of its own: the device does not come back (CMakeLists.txt).
TEST_F(Mapped, ASurpriseRemovalLeavesMemoryButNoDevice) {
  if (!is_booted_with("lanecall_test.removal"))
    GTEST_SKIP() << "the other tests need the device";
  Pci pci;
  expect_all_end([&] {
    pci.pull_out();
    pci.remove();
  });
  EXPECT_NE(::access(kPeer, F_OK), 0);
  Fd fd = open_with("echo", kTcpPeer);
  write_all(fd.get(), "hello");
  EXPECT_EQ(read_count(fd.get(), 5), "hello");
}

// An old doorbell is a page that keeps what is stored there; the device's reads
// as 0.
TEST_F(Mapped, OldMappingsDoNotReachTheDeviceThatCameBack) {
  ASSERT_TRUE(all_channels_free());
  Pci pci;
  MappedChannel old = MappedChannel::with("echo");
  Mapping doorbell(old.fd(), old.map().doorbell_offset, old.map().page_bytes);
  auto* word = doorbell.as<volatile std::uint32_t>();
  *word = 17;
  EXPECT_EQ(*word, 0U);
  const std::uint32_t channel = info_of(old.fd()).channel;
  pci.reset();
  MappedChannel fresh = MappedChannel::with("echo");
  EXPECT_EQ(info_of(fresh.fd()).channel, channel);
  *word = 17;
  EXPECT_EQ(*word, 17U);
  fresh.send("hello");
  EXPECT_EQ(fresh.receive(5), "hello");
}

TEST_F(Mapped, UnbindingWhileManyMapAndUnmap) {
  Pci pci;
  for (int round = 0; round < 10; round++) {
    std::vector<std::thread> users;
    std::atomic<int> busy{0};
    for (int i = 0; i < 3; i++) {
      users.emplace_back([&] {
        Fd fd = open_channel();
        lanecall_mapping map{};
        EXPECT_EQ(choose_mapped(fd.get(), &map), 0);
        bool counted = false;
        for (;;) {
          void* bell = ::mmap(nullptr, map.page_bytes, PROT_READ | PROT_WRITE,
                              MAP_SHARED, fd.get(),
                              static_cast<off_t>(map.doorbell_offset));
          if (bell == MAP_FAILED) break;
          *static_cast<volatile std::uint32_t*>(bell) = 1;
          ::munmap(bell, map.page_bytes);
          if (!counted) busy++;
          counted = true;
        }
        EXPECT_EQ(errno, EIO);
      });
    }
    EXPECT_TRUE(eventually([&] { return busy == 3; }));
    pci.unbind();
    for (std::thread& user : users) user.join();
    pci.bind();
  }
  expect_works();
}

// ---- Where it is offered, and where not ------------------------------------

// The guest was booted so that every transfer is bounced (CMakeLists.txt).
TEST(Bounced, MappedModeIsRefusedAndReadAndWriteServe) {
  if (!is_booted_with("swiotlb=force")) GTEST_SKIP() << "not such a machine";
  Fd fd = open_channel();
  lanecall_mapping map{};
  EXPECT_EQ(choose_mapped(fd.get(), &map), EOPNOTSUPP);
  EXPECT_EQ(set_rings(fd.get(), 8192, 8192), 0);  // it has touched nothing
  write_all(fd.get(), "echo\nhello");
  EXPECT_EQ(read_count(fd.get(), 5), "hello");
  EXPECT_EQ(choose_mapped(fd.get(), &map), EOPNOTSUPP);
}

TEST(Bounced, AnyOtherMachineHasMappedMode) {
  if (is_booted_with("swiotlb=force")) GTEST_SKIP() << "not such a machine";
  EXPECT_TRUE(mapped_mode_is_there());
}

// The guest was booted with an IOMMU (CMakeLists.txt), and all of these tests
// are about what it has translated.
TEST(Iommu, TranslatesForTheDevice) {
  if (!is_booted_with("intel_iommu=on")) GTEST_SKIP() << "not such a machine";
  std::ifstream type("/sys/bus/pci/devices/" + Pci().address +
                     "/iommu_group/type");
  std::string word;
  type >> word;
  EXPECT_EQ(word, "DMA");
}

}  // namespace
}  // namespace lanecall::guest_tests
