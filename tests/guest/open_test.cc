// SPDX-License-Identifier: Apache-2.0
// Opening: outcomes, with and without O_NONBLOCK, and running out of channels.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "channel.h"

namespace lanecall::guest_tests {
namespace {

TEST(Open, IsRefusedWhereNobodyListens) {
  for (int i = 0; i < 200; i++) {
    int fd = ::open(kRefused, O_RDWR);
    ASSERT_EQ(fd, -1);
    ASSERT_EQ(errno, ECONNREFUSED);
  }
  EXPECT_TRUE(all_channels_free(kRefused));
}

TEST(Open, NonblockingTellsARefusalByPollAndIoctl) {
  Fd fd = open_channel(kRefused, O_NONBLOCK);
  short events = poll_for(fd.get(), POLLOUT);
  EXPECT_TRUE(events & POLLERR);
  EXPECT_TRUE(events & POLLHUP);
  EXPECT_TRUE(events & POLLOUT);  // as on a socket: select(2) wakes, too
  lanecall_channel_status status = status_of(fd.get());
  EXPECT_EQ(status.state, unsigned{LANECALL_ENDED});
  EXPECT_EQ(status.error, ECONNREFUSED);
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(::write(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

TEST(Open, NonblockingTellsSuccessByPollAndIoctl) {
  Fd fd = open_channel(kPeer, O_NONBLOCK);
  EXPECT_EQ(poll_for(fd.get(), POLLOUT), POLLOUT);
  lanecall_channel_status status = status_of(fd.get());
  EXPECT_EQ(status.state, unsigned{LANECALL_RUNNING});
  EXPECT_EQ(status.error, 0);
}

TEST(Open, BlockingCallsWorkOnAnOpenThatDidNotBlock) {
  for (int i = 0; i < 300; i++) {
    Fd fd = open_channel(kTcpPeer, O_NONBLOCK);
    // Straight from CONNECTING into calls that sleep.
    ASSERT_EQ(::fcntl(fd.get(), F_SETFL, 0), 0);
    write_all(fd.get(), "echo\nhello");
    ASSERT_EQ(read_count(fd.get(), 5), "hello");
  }
}

TEST(Open, NonblockingReturnsWhileConnecting) {
  Fd fd = open_channel(kNoAnswer, O_NONBLOCK);
  EXPECT_EQ(status_of(fd.get()).state, unsigned{LANECALL_CONNECTING});
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(::write(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(poll_for(fd.get(), POLLIN | POLLOUT, std::chrono::milliseconds(0)),
            0);
  EXPECT_EQ(sysfs("channel0/state", kNoAnswer), "connecting");
  fd.reset();
  EXPECT_TRUE(all_channels_free(kNoAnswer));
}

TEST(Open, BlockingIsInterruptible) {
  with_signal(false, [] {
    EXPECT_EQ(::open(kNoAnswer, O_RDWR), -1);
    EXPECT_EQ(errno, EINTR);
  });
  EXPECT_TRUE(all_channels_free(kNoAnswer));
}

TEST(Open, IsBusyWhenAllChannelsAreTaken) {
  std::vector<Fd> channels;
  long count = sysfs_number("channels");
  for (long i = 0; i < count; i++) channels.push_back(open_channel());
  EXPECT_EQ(sysfs_number("channels_in_use"), count);
  EXPECT_EQ(::open(kPeer, O_RDWR), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(::open(kPeer, O_RDWR | O_NONBLOCK), -1);
  EXPECT_EQ(errno, EBUSY);
  channels.pop_back();
  EXPECT_TRUE(eventually(
      [count] { return sysfs_number("channels_in_use") == count - 1; }));
  EXPECT_TRUE(open_channel());
  channels.clear();
  EXPECT_TRUE(all_channels_free());
}

TEST(Open, ThousandTimesInARow) {
  for (int i = 0; i < often(1000); i++) {
    Fd fd = open_with("echo");
    write_all(fd.get(), "hello");
    ASSERT_EQ(read_count(fd.get(), 5), "hello") << i;
  }
  EXPECT_TRUE(all_channels_free());
}

TEST(Open, NonblockingAndClosingAtOnceLeavesNothing) {
  for (int i = 0; i < 200; i++) ASSERT_TRUE(open_channel(kTcpPeer, O_NONBLOCK));
  EXPECT_TRUE(all_channels_free(kTcpPeer));
}

}  // namespace
}  // namespace lanecall::guest_tests
