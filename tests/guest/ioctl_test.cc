// SPDX-License-Identifier: Apache-2.0
// The ioctls: values, bounds, and when they are too late.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "channel.h"

namespace lanecall::guest_tests {
namespace {

int set_rings(int fd, std::uint32_t tx, std::uint32_t rx) {
  lanecall_ring_sizes sizes{tx, rx};
  return ::ioctl(fd, LANECALL_IOC_SET_RINGS, &sizes) == 0 ? 0 : errno;
}

TEST(Ioctl, InfoDescribesTheChannel) {
  Fd fd = open_channel();
  lanecall_info info = info_of(fd.get());
  EXPECT_EQ(info.abi_version, unsigned{LANECALL_VERSION});
  EXPECT_LT(info.channel, info.channels);
  EXPECT_EQ(info.channels, static_cast<unsigned>(sysfs_number("channels")));
  EXPECT_EQ(info.tx_bytes, 256U * 1024);
  EXPECT_EQ(info.rx_bytes, 256U * 1024);
  EXPECT_EQ(info.ring_bytes_min, 4096U);
  EXPECT_EQ(info.ring_bytes_max, 8U << 20);
  EXPECT_EQ(info.generation, static_cast<unsigned>(sysfs_number("generation")));
  EXPECT_FALSE(info.features & ~std::uint64_t{LANECALL_FEATURE_CARD_RINGS |
                                              LANECALL_FEATURE_MODERATION |
                                              LANECALL_FEATURE_REGIONS |
                                              LANECALL_FEATURE_USERS});
  EXPECT_EQ(std::strlen(info.device), std::strlen("0000:00:00.0"));
}

TEST(Ioctl, RingSizesHaveBounds) {
  Fd fd = open_channel();
  for (std::uint32_t bad : {0U, 1U, 2048U, 4095U, 4097U, 12288U, 16U << 20,
                            1U << 31, 0xffffffffU}) {
    EXPECT_EQ(set_rings(fd.get(), bad, 4096), EINVAL) << bad;
    EXPECT_EQ(set_rings(fd.get(), 4096, bad), EINVAL) << bad;
  }
  EXPECT_EQ(info_of(fd.get()).tx_bytes, 256U * 1024);
  EXPECT_EQ(set_rings(fd.get(), 4096, 8 << 20), 0);
  EXPECT_EQ(info_of(fd.get()).tx_bytes, 4096U);
  EXPECT_EQ(info_of(fd.get()).rx_bytes, 8U << 20);
}

TEST(Ioctl, RingSizesAreFixedByFirstUse) {
  Fd written = open_with("echo");
  EXPECT_EQ(set_rings(written.get(), 4096, 4096), EBUSY);
  Fd polled = open_channel();
  poll_for(polled.get(), POLLIN, std::chrono::milliseconds(0));
  EXPECT_EQ(set_rings(polled.get(), 4096, 4096), EBUSY);
  Fd read = open_channel(kPeer, O_NONBLOCK);
  char byte = 0;
  [[maybe_unused]] ssize_t n = ::read(read.get(), &byte, 1);
  EXPECT_EQ(set_rings(read.get(), 4096, 4096), EBUSY);
}

TEST(Ioctl, StatusFollowsTheChannel) {
  Fd fd = open_channel();
  EXPECT_EQ(status_of(fd.get()).state, unsigned{LANECALL_READY});
  write_all(fd.get(), "send 10\n");
  EXPECT_EQ(read_to_end(fd.get()), pattern(0, 10));
  EXPECT_EQ(status_of(fd.get()).state, unsigned{LANECALL_ENDED});
  EXPECT_EQ(status_of(fd.get()).error, 0);
}

int set_moderation(int fd, std::uint32_t bytes, std::uint32_t microseconds) {
  lanecall_moderation moderation{bytes, microseconds};
  return ::ioctl(fd, LANECALL_IOC_SET_MODERATION, &moderation) == 0 ? 0 : errno;
}

TEST(Ioctl, ModerationHasABoundAndIsFixedByFirstUse) {
  Fd fd = open_channel();
  if (!(info_of(fd.get()).features & LANECALL_FEATURE_MODERATION)) {
    EXPECT_EQ(set_moderation(fd.get(), 0, 0), EOPNOTSUPP);
    GTEST_SKIP() << "the device has no moderation";
  }
  EXPECT_EQ(set_moderation(fd.get(), 1, LANECALL_MODERATE_US_MAX + 1), EINVAL);
  EXPECT_EQ(set_moderation(fd.get(), 0xffffffffU, LANECALL_MODERATE_US_MAX), 0);
  EXPECT_EQ(set_moderation(fd.get(), 0, 0), 0);
  write_all(fd.get(), "echo\n");
  EXPECT_EQ(set_moderation(fd.get(), 0, 0), EBUSY);
}

// How long a sleeper in poll is left asleep when so many bytes are echoed.
std::chrono::milliseconds time_until_announced(int fd, std::size_t bytes) {
  std::atomic<pid_t> sleeper{0};
  std::thread poller([&] {
    sleeper = ::gettid();
    EXPECT_EQ(poll_for(fd, POLLIN), POLLIN);
  });
  EXPECT_TRUE(eventually([&] { return sleeper && is_asleep(sleeper); }));
  auto start = std::chrono::steady_clock::now();
  write_all(fd, std::string(bytes, 'x'));
  poller.join();
  auto end = std::chrono::steady_clock::now();
  EXPECT_EQ(read_count(fd, bytes), std::string(bytes, 'x'));
  return std::chrono::duration_cast<std::chrono::milliseconds>(end - start);
}

TEST(Ioctl, ModeratedBytesAreAnnouncedByNumberOrByTime) {
  Fd fd = open_channel();
  if (!(info_of(fd.get()).features & LANECALL_FEATURE_MODERATION))
    GTEST_SKIP() << "the device has no moderation";
  ASSERT_EQ(set_moderation(fd.get(), 100, 900'000), 0);
  write_all(fd.get(), "echo\nxx");
  EXPECT_EQ(read_count(fd.get(), 2), "xx");
  // Bytes that were read before they were announced count, too; after this
  // nothing is unannounced.
  EXPECT_LT(time_until_announced(fd.get(), 100).count(), 890);
  EXPECT_GE(time_until_announced(fd.get(), 99).count(), 890);
  EXPECT_GE(time_until_announced(fd.get(), 1).count(), 890);
}

TEST(Ioctl, UnknownOnesAndBadPointersAreErrors) {
  Fd fd = open_channel();
  EXPECT_EQ(::ioctl(fd.get(), _IO(LANECALL_IOC, 99)), -1);
  EXPECT_EQ(errno, ENOTTY);
  void* nowhere = reinterpret_cast<void*>(8);
  for (unsigned long each :
       {(unsigned long)LANECALL_IOC_INFO, (unsigned long)LANECALL_IOC_SET_RINGS,
        (unsigned long)LANECALL_IOC_STATUS}) {
    EXPECT_EQ(::ioctl(fd.get(), each, nowhere), -1);
    EXPECT_EQ(errno, EFAULT);
  }
}

}  // namespace
}  // namespace lanecall::guest_tests
