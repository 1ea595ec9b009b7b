// SPDX-License-Identifier: Apache-2.0
// The node and sysfs: mode, version, counters that count.
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"

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

TEST(Sysfs, CountersCount) {
  long tx = sysfs_number("channel0/tx_bytes");
  long rx = sysfs_number("channel0/rx_bytes");
  long doorbells = sysfs_number("channel0/doorbells");
  long interrupts = sysfs_number("channel0/interrupts");
  ASSERT_TRUE(all_channels_free());
  EXPECT_EQ(sysfs("channel0/state"), "closed");
  Fd fd = open_channel();
  EXPECT_EQ(info_of(fd.get()).channel, 0U);
  EXPECT_EQ(sysfs("channel0/state"), "ready");
  EXPECT_EQ(sysfs_number("channels_in_use"), 1);
  write_all(fd.get(), "echo\n" + std::string(1000, 'x'));
  read_count(fd.get(), 1000);
  EXPECT_EQ(sysfs("channel0/state"), "running");
  EXPECT_EQ(sysfs_number("channel0/tx_bytes") - tx, 1005);
  EXPECT_EQ(sysfs_number("channel0/rx_bytes") - rx, 1000);
  EXPECT_GE(sysfs_number("channel0/doorbells") - doorbells, 1);
  EXPECT_GE(sysfs_number("channel0/interrupts") - interrupts, 1);
}

TEST(Sysfs, AnEndedChannelIsCalledEnded) {
  ASSERT_TRUE(all_channels_free());
  Fd fd = open_with("send 1");
  EXPECT_EQ(read_to_end(fd.get()).size(), 1U);
  EXPECT_EQ(sysfs("channel0/state"), "ended");
}

}  // namespace
}  // namespace lanecall::guest_tests
