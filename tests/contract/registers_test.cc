// SPDX-License-Identifier: Apache-2.0
// The registers: docs/device.md's tables read against a device, access widths,
// enabling and the engine's reset.
#include "contract.h"
#include "page.h"

namespace lanecall::test {
namespace {

class Registers : public Contract {
 protected:
  uint32_t expectedReset(const PageRegister& reg, size_t word) {
    if (reg.reset == "`channels=`") return kChannels;
    if (reg.reset == "`vectors=`") return kVectors;
    if (reg.reset == "`regions=`") return 4096;
    if (reg.reset == "`region-extents=`") return 1 << 20;
    return reg.reset.empty() || word == 1 ? 0 : hex(reg.reset);
  }

  void checkTable(const std::vector<PageRegister>& registers, uint64_t base) {
    for (const auto& reg : registers) {
      for (size_t word = 0; word < reg.offsets.size(); ++word) {
        SCOPED_TRACE(reg.name + " at " + std::to_string(reg.offsets[word]));
        const uint64_t at = base + reg.offsets[word];
        const uint32_t reset = expectedReset(reg, word);
        EXPECT_EQ(device().read32(at), reset);
        if (reg.access == "RO") {
          device().write32(at, ~reset);
          EXPECT_EQ(device().read32(at), reset);
        } else if (reg.access == "WO") {
          EXPECT_EQ(device().read32(at), 0u);
        } else {
          ASSERT_EQ(reg.access, "RW");
          if (reg.name == "CONTROL") continue;  // has tests of its own
          for (uint32_t value : {0xffffffffu, 0x12345678u, 0u}) {
            device().write32(at, value);
            EXPECT_EQ(device().read32(at), value);
          }
        }
      }
    }
  }

  static constexpr unsigned kChannels = 5, kVectors = 3;
};

TEST_F(Registers, AreAsThePageSaysAfterPowerOn) {
  beginAt("unix:/nonexistent", {.channels = kChannels, .vectors = kVectors});
  checkTable(deviceRegistersOfPage(), 0);
  for (unsigned n = 0; n < kChannels; ++n) {
    SCOPED_TRACE("channel " + std::to_string(n));
    checkTable(channelRegistersOfPage(), Geometry(device()).control(n));
  }
}

TEST_F(Registers, OfRegionsAreAsThePageSays) {
  beginAt("unix:/nonexistent", {.card = "unix:/nonexistent"});
  if (!(device().read32(LANECALL_REG_FEATURES_LO) & LANECALL_FEATURE_REGIONS)) {
    GTEST_SKIP() << "the device has no regions";
  }
  checkTable(regionRegistersOfPage(), 0);
}

TEST_F(Registers, DefaultsAreAsThePageSays) {
  beginAt("unix:/nonexistent");
  EXPECT_EQ(device().read32(LANECALL_REG_CHANNELS), 64u);
  EXPECT_EQ(device().read32(LANECALL_REG_VECTORS), 65u);
}

TEST_F(Registers, FewChannelsHaveAVectorEachAndOneMore) {
  beginAt("unix:/nonexistent", {.channels = 1});
  EXPECT_EQ(device().read32(LANECALL_REG_CHANNELS), 1u);
  EXPECT_EQ(device().read32(LANECALL_REG_VECTORS), 2u);
}

TEST_F(Registers, ManyChannelsHaveAtMost65VectorsByDefault) {
  beginAt("unix:/nonexistent", {.channels = 256});
  EXPECT_EQ(device().read32(LANECALL_REG_CHANNELS), 256u);
  EXPECT_EQ(device().read32(LANECALL_REG_VECTORS), 65u);
}

TEST_F(Registers, GeometryIsOneADriverCanUse) {
  beginAt("unix:/nonexistent", {.channels = 256});
  const Geometry g(device());
  EXPECT_GE(g.channel_stride, uint32_t{LANECALL_CH_SIZE});
  EXPECT_GE(g.doorbell_stride, 4096u);
  EXPECT_EQ(g.doorbell_stride & (g.doorbell_stride - 1), 0u);
  EXPECT_EQ(g.doorbell_offset % g.doorbell_stride, 0u);
  EXPECT_LE(g.control(g.channels), g.doorbell_offset);
  EXPECT_LE(g.ring_shift_min, g.ring_shift_max);
  EXPECT_LE(g.page_shift_min, g.page_shift_max);
}

TEST_F(Registers, OtherWidthsReadAsZeroAndWriteNothing) {
  begin();
  const Geometry g(device());
  for (unsigned width : {1u, 2u, 8u}) {
    SCOPED_TRACE(width);
    for (uint64_t at : {uint64_t{LANECALL_REG_MAGIC},
                        uint64_t{LANECALL_REG_STATUS}, g.control(0)}) {
      EXPECT_EQ(device().read(at, width), 0u);
    }
    device().write(LANECALL_REG_CONTROL, width, 0);
    EXPECT_EQ(device().read32(LANECALL_REG_STATUS), LANECALL_STATUS_ENABLED);
    const uint64_t flags = g.control(1) + LANECALL_CH_INDEX_LO;
    device().write32(flags, 0x11223344);
    device().write(flags, width, ~uint64_t{0});
    EXPECT_EQ(device().read32(flags), 0x11223344u);
  }
}

TEST_F(Registers, UnalignedAccessesReadAsZeroAndWriteNothing) {
  begin();
  const uint64_t index = Geometry(device()).control(0) + LANECALL_CH_INDEX_LO;
  for (unsigned off : {1u, 2u, 3u}) {
    EXPECT_EQ(device().read(LANECALL_REG_MAGIC + off, 4), 0u);
    device().write(index + off, 4, ~uint32_t{0});
    EXPECT_EQ(device().read32(index), 0u);
    EXPECT_EQ(device().read32(index + 4), 0u);
  }
}

TEST_F(Registers, UnlistedOffsetsReadAsZeroAndIgnoreWrites) {
  begin();
  const Geometry g(device());
  std::vector<uint64_t> offsets;
  for (uint64_t at = LANECALL_REG_GUEST_ERRORS + 4; at < g.channel_offset;
       at += 4) {
    offsets.push_back(at);
  }
  for (uint64_t at = LANECALL_CH_USER + 4; at < g.channel_stride; at += 4) {
    offsets.push_back(g.control(0) + at);
    offsets.push_back(g.control(g.channels - 1) + at);
  }
  offsets.push_back(g.control(g.channels));
  offsets.push_back(g.doorbell_offset - 4);
  offsets.push_back(g.doorbell(0));
  offsets.push_back(g.doorbell(0) + 4);
  offsets.push_back(g.doorbell(1) - 4);
  for (uint64_t at : offsets) {
    EXPECT_EQ(device().read32(at), 0u) << at;
    device().write32(at, ~0u);
    EXPECT_EQ(device().read32(at), 0u) << at;
  }
  EXPECT_EQ(device().read32(LANECALL_REG_STATUS), LANECALL_STATUS_ENABLED);
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Registers, EnableGivesEnabled) {
  beginAt("unix:/nonexistent");
  device().write32(LANECALL_REG_CONTROL, LANECALL_CONTROL_ENABLE);
  EXPECT_EQ(device().read32(LANECALL_REG_CONTROL), LANECALL_CONTROL_ENABLE);
  EXPECT_EQ(device().read32(LANECALL_REG_STATUS), LANECALL_STATUS_ENABLED);
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), 1u);
}

TEST_F(Registers, FeaturesNotOfferedAreRefused) {
  for (uint32_t word : {LANECALL_REG_ACCEPTED_LO, LANECALL_REG_ACCEPTED_HI}) {
    beginAt("unix:/nonexistent");
    const uint32_t offered = device().read32(word - LANECALL_REG_ACCEPTED_LO +
                                             LANECALL_REG_FEATURES_LO);
    device().write32(word, ~offered);
    device().write32(LANECALL_REG_CONTROL, LANECALL_CONTROL_ENABLE);
    EXPECT_EQ(device().read32(LANECALL_REG_STATUS), LANECALL_STATUS_REFUSED);

    device().write32(LANECALL_REG_CONTROL, 0);
    EXPECT_EQ(device().read32(LANECALL_REG_STATUS), 0u);
    EXPECT_EQ(device().read32(word), 0u);
    device().write32(LANECALL_REG_CONTROL, LANECALL_CONTROL_ENABLE);
    EXPECT_EQ(device().read32(LANECALL_REG_STATUS), LANECALL_STATUS_ENABLED);
  }
}

TEST_F(Registers, AcceptedIsIgnoredWhileEnabled) {
  begin();
  device().write32(LANECALL_REG_ACCEPTED_LO, ~0u);
  device().write32(LANECALL_REG_ACCEPTED_HI, ~0u);
  EXPECT_EQ(device().read32(LANECALL_REG_ACCEPTED_LO), 0u);
  EXPECT_EQ(device().read32(LANECALL_REG_ACCEPTED_HI), 0u);
  EXPECT_EQ(device().read32(LANECALL_REG_STATUS), LANECALL_STATUS_ENABLED);
}

TEST_F(Registers, CommandsAndDoorbellsAreIgnoredBeforeEnable) {
  beginAt("unix:/nonexistent");
  UserChannel channel(device());
  for (uint32_t command : {1u, 2u, 3u, 4u, 5u}) {
    channel.writeControl64(LANECALL_CH_INDEX_LO, channel.indexAddress());
    channel.command(command);
  }
  channel.doorbell();
  EXPECT_EQ(channel.statusRegister(), 0u);
  EXPECT_EQ(channel.status(), 0u);
  EXPECT_EQ(guestErrors(), 0u);
  EXPECT_FALSE(device().interrupted(channel.vector()));
}

TEST_F(Registers, EveryEngineResetCounts) {
  beginAt("unix:/nonexistent");
  for (uint32_t n = 1; n < 5; ++n) {
    EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), n);
    device().write32(LANECALL_REG_CONTROL, n % 2 ? 0 : 0xfffffffe);
  }
  device().busReset();
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), 6u);
}

// By a write and by the bus: the same.
class EngineReset
    : public Contract,
      public ::testing::WithParamInterface<std::tuple<Family, bool>> {
 protected:
  const Family family_ = std::get<0>(GetParam());
  void reset() {
    if (std::get<1>(GetParam())) {
      device().busReset();
    } else {
      device().write32(LANECALL_REG_CONTROL, 0);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(
    By, EngineReset,
    ::testing::Combine(::testing::Values(Family::kUnix, Family::kCard),
                       ::testing::Bool()),
    [](const auto& info) {
      return ::testing::PrintToString(std::get<0>(info.param)) +
             (std::get<1>(info.param) ? "Bus" : "Control");
    });

TEST_P(EngineReset, ClosesConnectionsSilentlyAndForgetsTheChannels) {
  begin(family_);
  Call first = call({.channel = 0}), second = call({.channel = 1});
  auto idle = ready({.channel = 2});
  ASSERT_TRUE(works(first));
  for (UserChannel* c : {&*second, idle.get()}) {
    while (device().interrupted(c->vector())) {
    }
  }
  const Bytes page(reinterpret_cast<unsigned char*>(&first->statusPage()),
                   reinterpret_cast<unsigned char*>(&first->statusPage() + 1));
  reset();
  EXPECT_TRUE(
      eventually([&] { return device().read32(LANECALL_REG_STATUS) == 0; }));
  EXPECT_TRUE(first.peer.waitEnd(soon()));
  EXPECT_TRUE(second.peer.waitEnd(soon()));

  EXPECT_EQ(device().read32(LANECALL_REG_CONTROL), 0u);
  EXPECT_EQ(device().read32(LANECALL_REG_GENERATION), 2u);
  const Geometry g(device());
  for (unsigned n : {0u, 1u, 2u, 63u}) {
    for (uint32_t at = 0; at < LANECALL_CH_SIZE; at += 4) {
      EXPECT_EQ(device().read32(g.control(n) + at), 0u) << n << ", " << at;
    }
  }
  EXPECT_EQ(first->state(), uint32_t{LANECALL_RUNNING});
  EXPECT_EQ(Bytes(reinterpret_cast<unsigned char*>(&first->statusPage()),
                  reinterpret_cast<unsigned char*>(&first->statusPage() + 1)),
            page);
  // Not the first: what its last bytes raised may come late.
  for (UserChannel* c : {&*second, idle.get()}) {
    EXPECT_FALSE(device().interrupted(c->vector())) << c->channel();
  }
}

TEST_P(EngineReset, LeavesADeviceThatWorks) {
  begin(family_);
  {
    Call before = call();
    ASSERT_TRUE(works(before));
    reset();
    EXPECT_TRUE(
        eventually([&] { return device().read32(LANECALL_REG_STATUS) == 0; }));
    before->command(LANECALL_CMD_DRAIN);  // not enabled: no error
  }
  enable();
  Call after = call();
  EXPECT_TRUE(works(after));
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_P(EngineReset, KeepsTheCountOfErrors) {
  begin(family_);
  UserChannel channel(device());
  channel.command(77);
  EXPECT_EQ(guestErrors(), 1u);
  reset();
  EXPECT_EQ(guestErrors(), 1u);
}

}  // namespace
}  // namespace lanecall::test
