// SPDX-License-Identifier: Apache-2.0
// Card memory: who gets it, as what it is mapped, and that it is taken away.
// The other tests run over it, too (CMakeLists.txt: driver_card).
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>

#include "mapping.h"

namespace lanecall::guest_tests {
namespace {

struct Range {
  std::uint64_t start = 0;
  std::uint64_t end = 0;  // the last byte
};

// BAR 4 as sysfs has it; no bytes, no BAR.
Range card_memory(const char* device) {
  Fd fd = open_channel(device, O_NONBLOCK);
  std::ifstream file(std::string("/sys/bus/pci/devices/") +
                     info_of(fd.get()).device + "/resource");
  Range range;
  std::string line;
  for (int bar = 0; bar <= LANECALL_BAR_CARD; bar++) std::getline(file, line);
  EXPECT_EQ(std::sscanf(line.c_str(), "%" SCNx64 " %" SCNx64, &range.start,
                        &range.end),
            2)
      << line;
  return range;
}

class Card : public ::testing::Test {
 protected:
  void SetUp() override {
    memory_ = card_memory(kPeer);
    if (!memory_.end) GTEST_SKIP() << "the device has no card memory";
  }

  Range memory_;
};

TEST(NoCard, ADeviceWithoutCardMemoryOffersNone) {
  if (card_memory(kPeer).end) GTEST_SKIP() << "the device has card memory";
  MappedChannel channel;
  EXPECT_FALSE(channel.isInCard());
  EXPECT_FALSE(info_of(channel.fd()).features & LANECALL_FEATURE_CARD_RINGS);
}

TEST_F(Card, RingsAreInItWhereItsServerTakesTheChannel) {
  MappedChannel channel = MappedChannel::with("echo");
  EXPECT_TRUE(channel.isInCard());
  channel.send("hello");
  EXPECT_EQ(channel.receive(5), "hello");
}

TEST_F(Card, RingsAreInHostMemoryWhereNobodyPlaysTheCard) {
  MappedChannel channel = MappedChannel::with("echo", kTcpPeer);
  EXPECT_FALSE(channel.isInCard());
  EXPECT_TRUE(info_of(channel.fd()).features & LANECALL_FEATURE_CARD_RINGS);
  channel.send("hello");
  EXPECT_EQ(channel.receive(5), "hello");
}

// As the kernel keeps account of it, for itself and for programs' mappings.
std::string memory_type_of(const Range& range) {
  ::mount("debugfs", "/sys/kernel/debug", "debugfs", 0, nullptr);
  std::ifstream file("/sys/kernel/debug/x86/pat_memtype_list");
  EXPECT_TRUE(file) << "the kernel has no list of memory types";
  for (std::string line; std::getline(file, line);) {
    Range listed;  // its end is the first byte after
    char type[32] = "";
    if (std::sscanf(line.c_str(), "PAT: [mem 0x%" SCNx64 "-0x%" SCNx64 "] %31s",
                    &listed.start, &listed.end, type) == 3 &&
        listed.start <= range.start && listed.end > range.end)
      return type;
  }
  return "not listed";
}

TEST_F(Card, IsWriteCombining) {
  EXPECT_EQ(memory_type_of(memory_), "write-combining");
}

// Once the driver has closed the channel, its places may be another's.
TEST_F(Card, IsTakenFromAProgramWhoseChannelIsBroken) {
  MappedChannel channel = MappedChannel::with("mute");
  channel.txBytes()[17] = 'x';
  channel.index()->reserved2[17] = 'y';
  lanecall_put32(&channel.status()->status, 0xffffffffU);
  EXPECT_TRUE(poll_for(channel.fd(), POLLIN) & POLLERR);
  EXPECT_TRUE(eventually([&] {
    return channel.txBytes()[17] == 0 && channel.index()->reserved2[17] == 0;
  }));
  lanecall_mapping map = channel.map();
  EXPECT_EQ(choose_mapped(channel.fd(), &map), EIO);
  MappedChannel next = MappedChannel::with("echo");
  channel.txBytes()[3] = 'z';
  next.send("hello");
  EXPECT_EQ(next.receive(5), "hello");
}

// read and write find their bytes there, too, over many wraps of the ring.
TEST_F(Card, ServesReadAndWrite) {
  const std::string data = random_bytes(3 << 20, 21);
  Fd fd = open_with("collect card");
  write_all(fd.get(), data);
  EXPECT_EQ(::fsync(fd.get()), 0);
  fd.reset();
  Fd report = open_with("report card");
  EXPECT_EQ(read_to_end(report.get()), std::to_string(data.size()) + " " +
                                           std::to_string(crc32(data)) + "\n");
}

}  // namespace
}  // namespace lanecall::guest_tests
