// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace lanecall::bench {
namespace {

using Kind = Channel::Kind;

TEST(BenchChannel, EveryKindIsUnderstood) {
  Channel pcie = parseChannel("direct=pcie:/dev/lanecall1");
  EXPECT_EQ(pcie.name, "direct");
  EXPECT_EQ(pcie.kind, Kind::kPcie);
  EXPECT_EQ(pcie.address, "/dev/lanecall1");
  EXPECT_EQ(pcie.mode, DeviceMode::kMapped);

  Channel tcp = parseChannel("tap=tcp:[::1]:90");
  EXPECT_EQ(tcp.kind, Kind::kTcp);
  EXPECT_EQ(tcp.address, "::1");
  EXPECT_EQ(tcp.port, 90);

  EXPECT_EQ(parseChannel("u=unix:/a/b").kind, Kind::kUnix);
  EXPECT_EQ(parseChannel("u=unix:/a/b").address, "/a/b");
  EXPECT_EQ(parseChannel("s=serial:/dev/port%d").address, "/dev/port%d");
  EXPECT_EQ(parseChannel("m=memory:").kind, Kind::kMemory);
}

TEST(BenchChannel, OptionsAreTaken) {
  Channel pcie = parseChannel("p=pcie:/d,mode=rw,spin=never,ring=65536");
  EXPECT_EQ(pcie.mode, DeviceMode::kReadWrite);
  EXPECT_EQ(pcie.spin.kind(), Spin::Kind::kNever);
  EXPECT_EQ(pcie.ringBytes, 65536u);
  Channel serial =
      parseChannel("s=serial:/d,ports=4,framing=framed,buffer=512");
  EXPECT_EQ(serial.ports, 4);
  EXPECT_EQ(serial.framing, Framing::kFramed);
  EXPECT_EQ(serial.bufferBytes, 512u);
}

TEST(BenchChannel, WhatIsNoChannelIsRejected) {
  for (const char* text :
       {"", "direct", "=memory:", "m=memory", "m=memory:x", "m=memory:,ports=1",
        "h=http://x", "t=tcp:host", "u=unix:", "s=serial:", "p=pcie:/d,mode",
        "p=pcie:/d,mode=fast", "p=pcie:/d,buffer=512", "u=unix:/a,mode=rw",
        "u=unix:/a,buffer=many", "p=pcie:/d,", "t=tcp:h:1,colour=red"})
    EXPECT_THROW(parseChannel(text), std::invalid_argument) << text;
}

}  // namespace
}  // namespace lanecall::bench
