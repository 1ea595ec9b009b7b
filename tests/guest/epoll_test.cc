// SPDX-License-Identifier: Apache-2.0
// Descriptors in epoll, level- and edge-triggered, of channels that are read
// and written and of mapped ones: every event comes, and none is lost.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "mapping.h"

namespace lanecall::guest_tests {
namespace {

class Epoll {
 public:
  Epoll(int fd, std::uint32_t events) : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = events;
    EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0)
        << std::strerror(errno);
  }

  // What has happened after at most `timeout`; 0: nothing.
  std::uint32_t wait(std::chrono::milliseconds timeout = kSoon) {
    epoll_event event{};
    const int count = ::epoll_wait(epoll_.get(), &event, 1,
                                   static_cast<int>(timeout.count()));
    EXPECT_GE(count, 0) << std::strerror(errno);
    return count == 1 ? event.events : 0;
  }

 private:
  Fd epoll_;
};

constexpr std::chrono::milliseconds kNow{0};
constexpr std::uint32_t kBoth = EPOLLIN | EPOLLOUT;
constexpr std::uint32_t kEdges = kBoth | EPOLLRDHUP | EPOLLET;

// One end of an echo, whichever way its bytes move. Both calls return 0 only
// when there is an edge to wait for.
class End {
 public:
  virtual ~End() = default;
  virtual int fd() const = 0;
  virtual std::size_t send(std::string_view data) = 0;
  virtual std::string receive() = 0;
};

class ReadWriteEnd : public End {
 public:
  explicit ReadWriteEnd(Fd fd) : fd_(std::move(fd)) {
    write_all(fd_.get(), "echo\n");
    EXPECT_EQ(::fcntl(fd_.get(), F_SETFL, O_NONBLOCK), 0);
  }
  int fd() const override { return fd_.get(); }

  std::size_t send(std::string_view data) override {
    const ssize_t n = ::write(fd_.get(), data.data(), data.size());
    return counted(n);
  }

  std::string receive() override {
    std::string data(65536, '\0');
    data.resize(counted(::read(fd_.get(), data.data(), data.size())));
    return data;
  }

 private:
  static std::size_t counted(ssize_t n) {
    EXPECT_TRUE(n > 0 || (n < 0 && errno == EAGAIN)) << n << ' ' << errno;
    return static_cast<std::size_t>(std::max<ssize_t>(n, 0));
  }

  Fd fd_;
};

// A program that has mapped asks to be told itself: epoll asks in its name
// only when it looks, which for an edge it does not do again.
class MappedEnd : public End {
 public:
  explicit MappedEnd(Fd fd) : channel_(std::move(fd)) {
    channel_.send("echo\n");
  }
  int fd() const override { return channel_.fd(); }

  std::size_t send(std::string_view data) override {
    const std::size_t n = channel_.put(data);
    if (n || lanecall_ring_arm_space(&channel_.tx(), 1) <= 0) return n;
    return channel_.put(data);
  }

  std::string receive() override {
    std::string data = channel_.take(65536);
    if (!data.empty() || lanecall_ring_arm(&channel_.rx()) <= 0) return data;
    return channel_.take(65536);
  }

 private:
  MappedChannel channel_;
};

struct Case {
  bool isMapped;
  std::uint32_t ring_bytes;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << (c.isMapped ? "mapped" : "rw") << ", rings of " << c.ring_bytes;
}

class Edges : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().isMapped && !mapped_mode_is_there())
      GTEST_SKIP() << "this machine's memory cannot be shared with the device";
    Fd fd = open_channel();
    lanecall_ring_sizes sizes{GetParam().ring_bytes, GetParam().ring_bytes};
    ASSERT_EQ(::ioctl(fd.get(), LANECALL_IOC_SET_RINGS, &sizes), 0);
    if (GetParam().isMapped)
      end_ = std::make_unique<MappedEnd>(std::move(fd));
    else
      end_ = std::make_unique<ReadWriteEnd>(std::move(fd));
  }

  std::unique_ptr<End> end_;
};

TEST_P(Edges, EachComes) {
  Epoll epoll(end_->fd(), EPOLLIN | EPOLLET);
  for (int i = 0; i < 500; i++) {
    EXPECT_EQ(end_->receive(), "");  // and asks
    EXPECT_EQ(epoll.wait(kNow), 0U) << i;
    ASSERT_EQ(end_->send("x"), 1U);
    ASSERT_EQ(epoll.wait(), unsigned{EPOLLIN}) << i;
    ASSERT_EQ(end_->receive(), "x") << i;
  }
}

TEST_P(Edges, CarryAStreamBothWays) {
  const std::string data = random_bytes(24 * GetParam().ring_bytes, 11);
  Epoll epoll(end_->fd(), kEdges);
  std::string back;
  std::size_t sent = 0;
  while (back.size() < data.size()) {
    const std::size_t n = sent < data.size()
                              ? end_->send(std::string_view(data).substr(sent))
                              : 0;
    const std::string part = end_->receive();
    sent += n;
    back += part;
    if (n || !part.empty()) continue;
    const std::uint32_t events = epoll.wait();
    ASSERT_TRUE(events & kBoth) << "lost after " << sent << ", " << back.size();
    ASSERT_FALSE(events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) << events;
  }
  EXPECT_TRUE(back == data);
}

INSTANTIATE_TEST_SUITE_P(Epoll, Edges,
                         testing::Values(Case{false, 4096}, Case{false, 262144},
                                         Case{true, 4096}, Case{true, 262144}));

// ---- Levels ----------------------------------------------------------------

TEST(Epoll, ALevelIsToldUntilItIsGone) {
  Fd fd = open_with("echo");
  Epoll epoll(fd.get(), EPOLLIN);
  EXPECT_EQ(epoll.wait(kNow), 0U);
  write_all(fd.get(), "ab");
  EXPECT_EQ(epoll.wait(), unsigned{EPOLLIN});
  EXPECT_EQ(read_count(fd.get(), 1), "a");
  EXPECT_EQ(epoll.wait(), unsigned{EPOLLIN});
  EXPECT_EQ(read_count(fd.get(), 1), "b");
  EXPECT_EQ(epoll.wait(kNow), 0U);
}

// ---- Opening ---------------------------------------------------------------

TEST(Epoll, AnOpenThatDidNotBlockBecomesWritable) {
  Fd fd = open_channel(kPeer, O_NONBLOCK);
  Epoll epoll(fd.get(), kEdges);
  EXPECT_EQ(epoll.wait(), unsigned{EPOLLOUT});
  ASSERT_EQ(::write(fd.get(), "echo\nx", 6), 6);
  std::uint32_t events = EPOLLOUT;
  while (events && !(events & EPOLLIN)) events = epoll.wait();
  ASSERT_TRUE(events & EPOLLIN);
  EXPECT_EQ(read_count(fd.get(), 1), "x");
}

TEST(Epoll, ARefusedOpenIsAnErrorAndAHangUp) {
  Fd fd = open_channel(kRefused, O_NONBLOCK);
  Epoll epoll(fd.get(), kEdges);
  const std::uint32_t events = epoll.wait();
  EXPECT_TRUE(events & EPOLLERR) << events;
  EXPECT_TRUE(events & EPOLLHUP) << events;
  EXPECT_EQ(status_of(fd.get()).error, ECONNREFUSED);
}

TEST(Epoll, NothingHappensWhileItConnects) {
  Fd fd = open_channel(kNoAnswer, O_NONBLOCK);
  Epoll epoll(fd.get(), kEdges);
  EXPECT_EQ(epoll.wait(kNow), 0U);
}

// ---- Ends ------------------------------------------------------------------

// What is told of an end that comes while nobody looks at the channel.
std::uint32_t end_seen(int fd) {
  Epoll epoll(fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
  EXPECT_EQ(epoll.wait(kNow), 0U);
  EXPECT_EQ(::write(fd, "x", 1), 1);  // which the peer waits for
  std::uint32_t events = 0;
  do {
    events = epoll.wait();
    EXPECT_NE(events, 0U) << "the end was not told";
  } while (events && !(events & EPOLLHUP));
  return events;
}

TEST(Epoll, TheServersCloseIsAHangUp) {
  Fd fd = open_with("hangup");
  EXPECT_EQ(end_seen(fd.get()), EPOLLIN | EPOLLHUP | EPOLLRDHUP);
}

TEST(Epoll, ABrokenConnectionIsAnError) {
  Fd fd = open_with("reset", kTcpPeer);
  EXPECT_EQ(end_seen(fd.get()), EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
}

TEST(Epoll, AMappedChannelsEndIsAHangUp) {
  if (!mapped_mode_is_there()) GTEST_SKIP() << "no mapped mode here";
  MappedChannel channel = MappedChannel::with("hangup");
  Epoll epoll(channel.fd(), EPOLLIN | EPOLLRDHUP | EPOLLET);
  EXPECT_EQ(epoll.wait(kNow), 0U);
  channel.send("x");
  EXPECT_EQ(epoll.wait(), EPOLLIN | EPOLLHUP | EPOLLRDHUP);
}

TEST(Epoll, ALostDeviceIsAnErrorForChannelsOfEitherMode) {
  const std::string pci = std::string("/sys/bus/pci/devices/") +
                          info_of(open_channel().get()).device;
  Fd fd = open_with("echo");
  Epoll reading(fd.get(), EPOLLIN | EPOLLET);
  EXPECT_EQ(reading.wait(kNow), 0U);
  if (mapped_mode_is_there()) {
    MappedChannel channel = MappedChannel::with("echo");
    Epoll mapped(channel.fd(), EPOLLIN | EPOLLET);
    EXPECT_EQ(mapped.wait(kNow), 0U);
    ASSERT_TRUE(write_file(pci + "/reset", "1"));
    EXPECT_EQ(mapped.wait(), EPOLLIN | EPOLLERR | EPOLLHUP);
  } else {
    ASSERT_TRUE(write_file(pci + "/reset", "1"));
  }
  EXPECT_EQ(reading.wait(), EPOLLIN | EPOLLERR | EPOLLHUP);
}

}  // namespace
}  // namespace lanecall::guest_tests
