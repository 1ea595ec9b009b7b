// SPDX-License-Identifier: Apache-2.0
// x-hostile: a device that lies does so where and when it is told, and then
// keeps to the one truth that a driver depends on: memory that it says to have
// let go of, it has. tests/debug has a driver that believes it.
#include <lanecall/hostile.h>

#include <set>

#include "../seed.h"
#include "card_ground.h"
#include "user_region.h"

namespace lanecall::test {
namespace {

constexpr uint32_t kMagic = LANECALL_HOSTILE_REGISTER(LANECALL_REG_MAGIC);
constexpr uint64_t kTick = 250000;  // ns
constexpr int kLatest = 400;        // ticks

class Hostile : public CardGround {
 protected:
  void begin() {
    useQemuDevice(
        std::make_unique<QemuDevice>(std::make_shared<Qemu>(QemuOptions{
            .arguments = {"-device", argument({.rpc = true, .channels = 4}) +
                                         ",x-hostile=7,id=dut,"
                                         "addr=4.0"}})));
    enable();
  }
  void lie(unsigned place, uint32_t kind, uint32_t one_in = 1) {
    const uint64_t places = uint64_t{1} << place;
    device().write32(LANECALL_REG_HOSTILE_PLACES_LO,
                     static_cast<uint32_t>(places));
    device().write32(LANECALL_REG_HOSTILE_PLACES_HI,
                     static_cast<uint32_t>(places >> 32));
    device().write32(LANECALL_REG_HOSTILE_KIND, kind);
    device().write32(LANECALL_REG_HOSTILE_ONE_IN, one_in);
  }
  void beHonest() { device().write32(LANECALL_REG_HOSTILE_ONE_IN, 0); }
  void tick(int times) {
    for (int i = 0; i < times; ++i) qemu().clockStep(kTick);
  }
  uint32_t told() { return device().read32(LANECALL_REG_HOSTILE_TOLD); }
  uint32_t magic() { return device().read32(LANECALL_REG_MAGIC); }

  std::unique_ptr<UserChannel> running() {
    auto channel = std::make_unique<UserChannel>(
        device(), ChannelOptions{.vector = 1, .flags = 0});
    EXPECT_TRUE(channel->start(soon()));
    return channel;
  }
};

TEST_F(Hostile, IsNoDeviceThatWasNotAskedToBe) {
  start();
  lie(kMagic, LANECALL_LIE_ZERO);
  EXPECT_EQ(magic(), LANECALL_MAGIC);
  for (uint64_t at = LANECALL_REG_HOSTILE_PLACES_LO; at < 0xf00; at += 4) {
    EXPECT_EQ(device().read32(at), 0u);
  }
}

TEST_F(Hostile, IsHonestUntilItIsTold) {
  begin();
  EXPECT_EQ(device().read32(LANECALL_REG_HOSTILE_SEED), 7u);
  auto channel = running();
  qemu().clockStep(1000 * kTick);
  EXPECT_EQ(magic(), LANECALL_MAGIC);
  EXPECT_EQ(channel->state(), uint32_t{LANECALL_RUNNING});
  EXPECT_EQ(told(), 0u);
}

TEST_F(Hostile, SaysInARegisterWhatItIsToldTo) {
  begin();
  const std::pair<uint32_t, uint32_t> said[] = {
      {LANECALL_LIE_ZERO, 0},
      {LANECALL_LIE_ONE, 1},
      {LANECALL_LIE_ALL_ONES, 0xffffffff},
      {LANECALL_LIE_ONE_MORE, LANECALL_MAGIC + 1},
      {LANECALL_LIE_ONE_LESS, LANECALL_MAGIC - 1},
      {LANECALL_LIE_HIGHEST_BIT, 0x80000000}};
  uint32_t count = 0;
  for (const auto& [kind, value] : said) {
    lie(kMagic, kind);
    EXPECT_EQ(magic(), value) << kind;
    EXPECT_EQ(device().read32(LANECALL_REG_VERSION), LANECALL_VERSION);
    EXPECT_EQ(told(), ++count);
  }
  lie(kMagic, LANECALL_LIE_OTHER_BIT);
  EXPECT_EQ(__builtin_popcount(magic() ^ LANECALL_MAGIC), 1);
  beHonest();
  EXPECT_EQ(magic(), LANECALL_MAGIC);
  EXPECT_EQ(told(), count + 1);
}

TEST_F(Hostile, RandomLiesFollowFromTheSeed) {
  const auto seed = static_cast<uint32_t>(announcedSeed());
  begin();
  lie(kMagic, 0, 3);
  std::vector<uint32_t> series[2];
  for (auto& each : series) {
    device().write32(LANECALL_REG_HOSTILE_SEED, seed);
    for (int i = 0; i < 200; ++i) each.push_back(magic());
  }
  EXPECT_EQ(series[0], series[1]);
  const auto honest =
      std::count(series[0].begin(), series[0].end(), LANECALL_MAGIC);
  EXPECT_GT(honest, 80);  // of 133
  EXPECT_LT(honest, 200);
  EXPECT_GT(std::set(series[0].begin(), series[0].end()).size(), 5u);
}

TEST_F(Hostile, RegistersOutliveAResetAndLiesGoOn) {
  begin();
  lie(kMagic, LANECALL_LIE_ZERO);
  device().write32(LANECALL_REG_CONTROL, 0);
  device().busReset();
  EXPECT_EQ(magic(), 0u);
  EXPECT_EQ(device().read32(LANECALL_REG_HOSTILE_KIND),
            uint32_t{LANECALL_LIE_ZERO});
}

TEST_F(Hostile, LiesInAChannelsPage) {
  begin();
  auto channel = running();
  lie(LANECALL_HOSTILE_RX_HEAD, LANECALL_LIE_ONE_MORE);
  device().interrupted(1);
  channel->doorbell();
  EXPECT_EQ(lanecall_get32(&channel->index().rx_producer.head), 1u);
  EXPECT_TRUE(device().interrupted(1));
  EXPECT_EQ(channel->statusRegister(), uint32_t{LANECALL_RUNNING});
  beHonest();
  EXPECT_TRUE(channel->close(soon()));
}

TEST_F(Hostile, LiesByItself) {
  begin();
  auto channel = running();
  lie(LANECALL_HOSTILE_TX_TAIL, LANECALL_LIE_ALL_ONES);
  device().interrupted(1);
  tick(200);  // each time in one of four channels
  EXPECT_EQ(lanecall_get32(&channel->index().tx_consumer.tail), 0xffffffffu);
  EXPECT_TRUE(device().interrupted(1));
}

TEST_F(Hostile, AChannelThatIsSaidToBeClosedIs) {
  for (unsigned place : {LANECALL_HOSTILE_STATUS, LANECALL_HOSTILE_CH_STATUS}) {
    begin();
    auto channel = running();
    lie(place, LANECALL_LIE_ZERO);
    if (place == LANECALL_HOSTILE_STATUS) {
      channel->doorbell();
      EXPECT_EQ(channel->status(), uint32_t{LANECALL_CLOSED});
    } else {
      EXPECT_EQ(channel->statusRegister(), uint32_t{LANECALL_CLOSED});
    }
    beHonest();
    EXPECT_EQ(channel->statusRegister(), uint32_t{LANECALL_CLOSED});
    const uint32_t errors = guestErrors();
    channel->command(LANECALL_CMD_CLOSE);
    EXPECT_EQ(guestErrors(), errors + 1);
  }
}

TEST_F(Hostile, ACloseThatIsToldLateIsLateInTheRegisterToo) {
  begin();
  auto channel = running();
  lie(LANECALL_HOSTILE_STATUS, LANECALL_LIE_LATE);
  channel->command(LANECALL_CMD_CLOSE);
  EXPECT_EQ(channel->status(), uint32_t{LANECALL_RUNNING});
  EXPECT_EQ(channel->statusRegister(), uint32_t{LANECALL_RUNNING});
  tick(kLatest);
  EXPECT_EQ(channel->status(), uint32_t{LANECALL_CLOSED});
  EXPECT_EQ(channel->statusRegister(), uint32_t{LANECALL_CLOSED});
  beHonest();
}

TEST_F(Hostile, InterruptsAreLostLateOrRepeated) {
  begin();
  auto channel = running();
  auto changes = [&] {  // once
    device().interrupted(1);
    channel->command(99);
  };
  lie(LANECALL_HOSTILE_INTERRUPT, LANECALL_LIE_ALL_ONES);
  changes();
  EXPECT_FALSE(device().interrupted(1));
  beHonest();
  EXPECT_TRUE(channel->close(soon()));

  channel->clear();
  ASSERT_TRUE(channel->start(soon()));
  lie(LANECALL_HOSTILE_INTERRUPT, LANECALL_LIE_LATE);
  changes();
  EXPECT_FALSE(device().interrupted(1));
  tick(kLatest);
  EXPECT_TRUE(device().interrupted(1));
  beHonest();
  EXPECT_TRUE(channel->close(soon()));

  channel->clear();
  ASSERT_TRUE(channel->start(soon()));
  lie(LANECALL_HOSTILE_REPEATS, LANECALL_LIE_ALL_ONES);
  changes();
  for (int times = 0; times < 5; ++times) {
    EXPECT_TRUE(device().interrupted(1));
    tick(10);
  }
  beHonest();
  device().interrupted(1);
  tick(10);
  EXPECT_FALSE(device().interrupted(1));
}

TEST_F(Hostile, CommandsAreLostButNoneIsTakenForOneThatTakesMemory) {
  begin();
  UserChannel channel(device(), {.flags = 0});
  lie(LANECALL_HOSTILE_COMMAND, LANECALL_LIE_ONE_MORE);
  channel.open();  // not ATTACH
  EXPECT_EQ(channel.statusRegister(), uint32_t{LANECALL_CLOSED});
  EXPECT_EQ(told(), 1u);
  beHonest();
  ASSERT_TRUE(channel.start(soon()));
  lie(LANECALL_HOSTILE_COMMAND, LANECALL_LIE_ONE_MORE);
  channel.command(LANECALL_CMD_DRAIN);  // CLOSE
  EXPECT_EQ(channel.statusRegister(), uint32_t{LANECALL_CLOSED});
}

TEST_F(Hostile, ARegionThatIsSaidToBeFreeIs) {
  begin();
  ScatteredMemory memory(device().memory(), {4096});
  UserRegion region(device(), memory.extents());
  lie(LANECALL_HOSTILE_REGION, LANECALL_LIE_ONE_MORE);
  region.add();
  EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_FREE});
  beHonest();
  const uint32_t errors = guestErrors();
  region.remove();
  EXPECT_EQ(guestErrors(), errors + 1);
}

TEST_F(Hostile, ARegionIsFreeLate) {
  begin();
  ScatteredMemory memory(device().memory(), {4096});
  UserRegion region(device(), memory.extents());
  ASSERT_TRUE(region.lend(soon()));
  lie(LANECALL_HOSTILE_REGION, LANECALL_LIE_LATE);
  region.remove();
  EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_ACTIVE});
  tick(kLatest);
  EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_FREE});
}

TEST_F(Hostile, NothingIsToldLateAfterAReset) {
  begin();
  auto channel = running();
  lie(LANECALL_HOSTILE_STATUS, LANECALL_LIE_LATE);
  channel->command(LANECALL_CMD_CLOSE);
  device().write32(LANECALL_REG_CONTROL, 0);
  EXPECT_EQ(channel->statusRegister(), uint32_t{LANECALL_CLOSED});
  tick(kLatest);
  EXPECT_EQ(channel->status(), uint32_t{LANECALL_RUNNING});
  beHonest();
}

}  // namespace
}  // namespace lanecall::test
