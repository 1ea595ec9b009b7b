// SPDX-License-Identifier: Apache-2.0
// The node and sysfs: mode, version, whose channel it is, counters that count.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <thread>

#include "mapping.h"

namespace lanecall::guest_tests {
namespace {

TEST(Sysfs, TheNodeIsForOwnerAndGroup) {
  struct stat status {};
  ASSERT_EQ(::stat(kPeer, &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0660U);
}

TEST(Sysfs, VersionAndChannelsAreTheDevices) {
  EXPECT_EQ(sysfs("version"), "1.0");
  EXPECT_EQ(sysfs("channels"), "64");
  EXPECT_TRUE(all_channels_free());
  EXPECT_GE(sysfs_number("generation"), 1);
}

// A channel's counter, or the device's; -1: no such file.
long count(const std::string& name, const std::string& of = "channel0") {
  const std::string value = sysfs(of + "/" + name);
  return value.empty() ? -1 : std::atol(value.c_str());
}

const std::vector<std::string> kCounted = {
    "tx_bytes", "rx_bytes",   "flushes",   "doorbells",
    "sleeps",   "interrupts", "full_waits"};

const std::vector<std::string> kUsersWord = {
    "user_tx_bytes", "user_rx_bytes", "user_flushes",   "user_doorbells",
    "user_spins",    "user_sleeps",   "user_full_waits"};

TEST(Sysfs, CountersAgreeWithTheTraffic) {
  ASSERT_TRUE(all_channels_free());
  EXPECT_EQ(sysfs("channel0/state"), "closed");
  std::map<std::string, long> before;
  for (const std::string& name : kCounted) before[name] = count(name, "total");
  Fd fd = open_channel();
  EXPECT_EQ(info_of(fd.get()).channel, 0U);
  EXPECT_EQ(sysfs("channel0/state"), "ready");
  EXPECT_EQ(sysfs_number("channels_in_use"), 1);
  EXPECT_EQ(count("tx_bytes"), 0);
  write_all(fd.get(), "echo\n");
  write_all(fd.get(), std::string(1000, 'x'));
  read_count(fd.get(), 1000);
  EXPECT_EQ(sysfs("channel0/state"), "running");
  EXPECT_EQ(count("tx_bytes"), 1005);
  EXPECT_EQ(count("rx_bytes"), 1000);
  EXPECT_EQ(count("flushes"), 2);
  EXPECT_GE(count("doorbells"), 1);
  EXPECT_LE(count("doorbells"), 4);  // a write, and its bytes taken: at most
  EXPECT_TRUE(eventually([] { return count("interrupts") >= 1; }));
  EXPECT_EQ(count("full_waits"), 0);
  for (const std::string& name : kUsersWord) EXPECT_EQ(count(name), 0) << name;
  for (const char* name : {"tx_bytes", "rx_bytes", "flushes"})
    EXPECT_EQ(count(name, "total") - before[name], count(name)) << name;
  // Once, although slots that nobody uses share the vector.
  fd.reset();
  ASSERT_TRUE(all_channels_free());
  EXPECT_EQ(count("interrupts", "total") - before["interrupts"],
            count("interrupts"));
}

TEST(Sysfs, ASleepIsCountedOnce) {
  ASSERT_TRUE(all_channels_free());
  Fd fd = open_with("echo");
  ASSERT_EQ(count("sleeps"), 0);
  std::atomic<pid_t> sleeper{0};
  std::thread reader([&] {
    sleeper = ::gettid();
    EXPECT_EQ(read_count(fd.get(), 1), "x");
  });
  EXPECT_TRUE(eventually([&] { return sleeper && is_asleep(sleeper); }));
  EXPECT_TRUE(eventually([] { return count("sleeps") == 1; }));
  write_all(fd.get(), "x");
  reader.join();
  EXPECT_EQ(count("sleeps"), 1);
}

TEST(Sysfs, AFullRingIsCounted) {
  ASSERT_TRUE(all_channels_free());
  Fd fd = open_with("mute");
  ASSERT_EQ(count("full_waits"), 0);
  ASSERT_EQ(::fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
  const std::string block(1 << 20, 'x');  // more than a ring holds
  EXPECT_LT(::write(fd.get(), block.data(), block.size()),
            static_cast<ssize_t>(block.size()));
  EXPECT_EQ(count("full_waits"), 1);
}

TEST(Sysfs, CountersStayUntilTheNextOpenAndThenInTheTotal) {
  ASSERT_TRUE(all_channels_free());
  const long before = count("tx_bytes", "total");
  { Fd fd = open_with("echo"); }
  ASSERT_TRUE(all_channels_free());
  EXPECT_EQ(count("tx_bytes"), 5);
  EXPECT_EQ(count("tx_bytes", "total"), before + 5);
  Fd fd = open_channel();
  EXPECT_EQ(count("tx_bytes"), 0);
  EXPECT_EQ(count("tx_bytes", "total"), before + 5);
}

// ---- What a program says of its mapped channel
// -------------------------------

lanecall_user_counters* user_counters(MappedChannel& channel, int offset) {
  return reinterpret_cast<lanecall_user_counters*>(
      reinterpret_cast<char*>(channel.status()) + offset);
}

class SysfsMapped : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!mapped_mode_is_there())
      GTEST_SKIP() << "this machine's memory cannot be shared with the device";
    ASSERT_TRUE(all_channels_free());
  }
};

TEST_F(SysfsMapped, TheKernelCountsInterruptsOnly) {
  MappedChannel channel = MappedChannel::with("echo");
  channel.send("hello");
  EXPECT_EQ(channel.receive(5), "hello");
  for (const std::string& name : kCounted)
    EXPECT_TRUE(count(name) == 0 || name == "interrupts") << name;
  // Of the open, if no other. It may be on its way to another processor yet:
  // memory had the news first, and nobody here had to sleep.
  EXPECT_TRUE(eventually([] { return count("interrupts") >= 1; }));
}

TEST_F(SysfsMapped, TheProgramsWordIsShownAsSuch) {
  std::map<std::string, long> before;
  for (const std::string& name : kUsersWord)
    before[name] = count(name, "total");
  {
    MappedChannel channel = MappedChannel::with("echo");
    for (const std::string& name : kUsersWord)
      EXPECT_EQ(count(name), 0) << name;
    *user_counters(channel, LANECALL_USER_COUNTERS_TX) = {.bytes = 1,
                                                          .doorbells = 20,
                                                          .spins = 300,
                                                          .sleeps = 4000,
                                                          .flushes = 50000,
                                                          .full_waits = 600000,
                                                          .reserved = {}};
    *user_counters(channel, LANECALL_USER_COUNTERS_RX) = {.bytes = 7,
                                                          .doorbells = 80,
                                                          .spins = 900,
                                                          .sleeps = 1000,
                                                          .flushes = 5,
                                                          .full_waits = 5,
                                                          .reserved = {}};
    EXPECT_EQ(count("user_flushes"), 50000);
    channel.send("hello");  // the words are in nobody's way
    EXPECT_EQ(channel.receive(5), "hello");
  }
  ASSERT_TRUE(all_channels_free());
  const std::map<std::string, long> said = {
      {"user_tx_bytes", 1},       {"user_rx_bytes", 7}, {"user_flushes", 50000},
      {"user_doorbells", 100},    {"user_spins", 1200}, {"user_sleeps", 5000},
      {"user_full_waits", 600000}};
  for (const auto& [name, value] : said) {
    EXPECT_EQ(count(name), value) << name;
    EXPECT_EQ(count(name, "total"), before[name] + value) << name;
  }
}

TEST_F(SysfsMapped, AReaderOfFilesCannotTellHowChannelsComeAndGo) {
  std::atomic<bool> done{false};
  long reads = 0;
  std::thread reader([&] {
    do {
      for (const std::string& name : kUsersWord) EXPECT_GE(count(name), 0);
      for (const char* name : {"state", "plane", "mode", "pid"})
        EXPECT_FALSE(sysfs(std::string("channel0/") + name).empty()) << name;
      reads++;
    } while (!done);
  });
  for (int i = 0; i < 100; i++) MappedChannel channel;
  done = true;
  reader.join();
  EXPECT_GT(reads, 0);
}

// ---- Whose it is
// -------------------------------------------------------------

TEST_F(SysfsMapped, ModeAndPlaneAreTheChannels) {
  bool in_card = false;
  {
    MappedChannel channel;
    in_card = channel.isInCard();
    EXPECT_EQ(sysfs("channel0/mode"), "mapped");
    EXPECT_EQ(sysfs("channel0/plane"), in_card ? "direct" : "socket");
  }
  ASSERT_TRUE(all_channels_free());
  EXPECT_EQ(sysfs("channel0/mode"), "none");
  Fd fd = open_channel();
  EXPECT_EQ(sysfs("channel0/mode"), "none");
  EXPECT_EQ(sysfs("channel0/plane"), "none");
  write_all(fd.get(), "echo\n");
  EXPECT_EQ(sysfs("channel0/mode"), "rw");
  EXPECT_EQ(sysfs("channel0/plane"), in_card ? "direct" : "socket");
}

TEST(Sysfs, TheOwnerIsWhoOpenedIt) {
  ASSERT_TRUE(all_channels_free());
  EXPECT_EQ(sysfs("channel0/pid"), "0");
  EXPECT_EQ(sysfs("channel0/comm"), "");
  char before[16] = "";
  ASSERT_EQ(::prctl(PR_GET_NAME, before), 0);
  ASSERT_EQ(::prctl(PR_SET_NAME, "two\nlines"), 0);
  Fd fd = open_channel();
  ASSERT_EQ(::prctl(PR_SET_NAME, before), 0);
  EXPECT_EQ(sysfs_number("channel0/pid"), ::getpid());
  EXPECT_EQ(sysfs("channel0/comm"), "two\\nlines");
}

TEST(Sysfs, AnEndedChannelIsCalledEnded) {
  ASSERT_TRUE(all_channels_free());
  Fd fd = open_with("send 1");
  EXPECT_EQ(read_to_end(fd.get()).size(), 1U);
  EXPECT_EQ(sysfs("channel0/state"), "ended");
}

}  // namespace
}  // namespace lanecall::guest_tests
