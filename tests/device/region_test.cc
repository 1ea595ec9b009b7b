// SPDX-License-Identifier: Apache-2.0
// Regions as the driver sees them: slots, descriptors good and bad, and what
// becomes of them at a reset. What the card's server does with them is in
// dma_test.cc.
#include <linux/pci_regs.h>

#include <memory>

#include "card_ground.h"
#include "user_region.h"

namespace lanecall::test {
namespace {

constexpr size_t kPage = 4096;
constexpr uint32_t kSlots = 4096, kExtents = 1 << 20;

constexpr uint32_t refused(uint32_t error) {
  return LANECALL_REGION_WORD(LANECALL_REGION_FREE, error);
}

class Region : public CardGround {
 protected:
  ScatteredMemory scattered(size_t pieces, size_t bytes = kPage) {
    return {device().memory(), std::vector<size_t>(pieces, bytes)};
  }

  // So many that to copy them takes the device several turns.
  static Extents manyExtents() {
    Extents extents;
    for (uint64_t i = 0; i < 100000; ++i) {
      extents.push_back({i * 2 * kPage, 100});
    }
    return extents;
  }

  // Register writes with no turn of the device's in between.
  void atOnce(const std::vector<std::pair<uint64_t, uint32_t>>& writes) {
    std::vector<std::string> commands;
    for (const auto& [at, value] : writes) {
      commands.push_back(
          "writel " +
          std::to_string(dut().function().barAddress(LANECALL_BAR_REGS) + at) +
          " " + std::to_string(value));
    }
    qemu().qtestAll(commands);
  }

  uint32_t whatBecomesOf(UserRegion& region) {
    region.add();
    return region.waitWhile(LANECALL_REGION_PENDING, soon())
        .value_or(LANECALL_REGION_PENDING);
  }
};

TEST_F(Region, HasNoRegistersWithoutCard) {
  listen();
  QemuDevice device({.rpc = server().rpc()});
  EXPECT_FALSE(device.read32(LANECALL_REG_FEATURES_LO) &
               LANECALL_FEATURE_REGIONS);
  for (uint64_t at = LANECALL_REG_REGIONS; at <= LANECALL_REG_REGION_COMMAND;
       at += 4) {
    device.write32(at, 1);
    EXPECT_EQ(device.read32(at), 0u);
  }
}

TEST_F(Region, RegistersAreAsThePageSays) {
  start();
  EXPECT_EQ(device().read32(LANECALL_REG_REGIONS), kSlots);
  EXPECT_EQ(device().read32(LANECALL_REG_REGION_EXTENTS), kExtents);
  for (uint64_t at : {LANECALL_REG_REGIONS, LANECALL_REG_REGION_EXTENTS}) {
    const uint32_t value = device().read32(at);
    device().write32(at, ~value);
    EXPECT_EQ(device().read32(at), value);
  }
  for (uint64_t at : {LANECALL_REG_REGION_VECTOR, LANECALL_REG_REGION_SLOT,
                      LANECALL_REG_REGION_LO, LANECALL_REG_REGION_HI}) {
    EXPECT_EQ(device().read32(at), 0u);
    device().write32(at, 0x12345678);
    EXPECT_EQ(device().read32(at), 0x12345678u);
  }
  EXPECT_EQ(device().read32(LANECALL_REG_REGION_COMMAND), 0u);
  device().write32(LANECALL_REG_CONTROL, 0);
  for (uint64_t at : {LANECALL_REG_REGION_VECTOR, LANECALL_REG_REGION_SLOT,
                      LANECALL_REG_REGION_LO, LANECALL_REG_REGION_HI}) {
    EXPECT_EQ(device().read32(at), 0u);
  }
}

TEST_F(Region, IsLentAndTakenBack) {
  start();
  ScatteredMemory memory = scattered(3);
  UserRegion region(device(), memory.extents());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(region.lend(soon()));
    EXPECT_TRUE(region.takeBack(soon()));
  }
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Region, OfManyPagesOfExtentsIsLent) {
  start();
  Extents extents;
  for (uint64_t i = 0; i < 20000; ++i) extents.push_back({i * 2 * kPage, 100});
  UserRegion region(device(), extents);
  EXPECT_TRUE(region.lend(soon()));
  EXPECT_TRUE(region.takeBack(soon()));
}

TEST_F(Region, ALargeOneDoesNotHoldUpASmallOne) {
  start();
  UserRegion large(device(), manyExtents());
  ScatteredMemory memory = scattered(1);
  UserRegion small(device(), memory.extents(),
                   {.slot = 1, .key = 2, .vector = 2});
  large.add();
  small.add();
  EXPECT_EQ(small.status(), uint32_t{LANECALL_REGION_ACTIVE});
  EXPECT_EQ(large.waitWhile(LANECALL_REGION_PENDING, soon()),
            uint32_t{LANECALL_REGION_ACTIVE});
}

TEST_F(Region, MayBeTakenBackWhileItIsBeingLent) {
  start();
  UserRegion region(device(), manyExtents());
  region.add();
  ASSERT_EQ(region.waitWhile(LANECALL_REGION_PENDING, soon()),
            uint32_t{LANECALL_REGION_ACTIVE});
  ASSERT_TRUE(region.takeBack(soon()));
  lanecall_put32(&region.descriptor().status, LANECALL_REGION_PENDING);
  atOnce({{LANECALL_REG_REGION_COMMAND, LANECALL_REGION_ADD},
          {LANECALL_REG_REGION_COMMAND, LANECALL_REGION_REMOVE}});
  EXPECT_EQ(region.waitWhile(LANECALL_REGION_PENDING, soon()),
            uint32_t{LANECALL_REGION_FREE});
  EXPECT_TRUE(region.lend(soon()));
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_F(Region, EverySlotCanBeUsed) {
  start();
  ScatteredMemory memory = scattered(1);
  std::vector<std::unique_ptr<UserRegion>> all;
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    all.push_back(std::make_unique<UserRegion>(
        device(), memory.extents(),
        RegionOptions{.slot = slot, .key = slot + 1ull}));
    all.back()->add();
    ASSERT_EQ(all.back()->status(), uint32_t{LANECALL_REGION_ACTIVE}) << slot;
  }
  for (auto& region : all) {
    region->remove();
    ASSERT_EQ(region->status(), uint32_t{LANECALL_REGION_FREE});
  }
}

TEST_F(Region, ExtentsOfAllSlotsAreBounded) {
  useQemuDevice(std::make_unique<QemuDevice>(std::make_shared<Qemu>(
      QemuOptions{{"-device", argument({}) + ",id=dut,addr=4.0,regions=4,"
                                             "region-extents=10"}})));
  enable();
  EXPECT_EQ(device().read32(LANECALL_REG_REGIONS), 4u);
  EXPECT_EQ(device().read32(LANECALL_REG_REGION_EXTENTS), 10u);
  ScatteredMemory memory = scattered(11);
  const Extents &all = memory.extents(), six(all.begin(), all.begin() + 6),
                four(all.begin(), all.begin() + 4);
  UserRegion too_large(device(), all);
  EXPECT_EQ(whatBecomesOf(too_large), refused(LANECALL_ERR_RESOURCES));
  UserRegion first(device(), six, {.slot = 0, .key = 1});
  UserRegion second(device(), six, {.slot = 1, .key = 2});
  UserRegion third(device(), four, {.slot = 2, .key = 3});
  EXPECT_TRUE(first.lend(soon()));
  EXPECT_EQ(whatBecomesOf(second), refused(LANECALL_ERR_RESOURCES));
  EXPECT_TRUE(third.lend(soon()));
  EXPECT_TRUE(first.takeBack(soon()));
  EXPECT_TRUE(second.lend(soon()));
  EXPECT_EQ(guestErrors(), 0u);
}

struct BadProperty {
  const char* name;
  const char* argument;
  const char* said;
};

void PrintTo(const BadProperty& bad, std::ostream* out) { *out << bad.name; }

class RegionProperty : public CardGround,
                       public ::testing::WithParamInterface<BadProperty> {};

INSTANTIATE_TEST_SUITE_P(
    That, RegionProperty,
    ::testing::Values(
        BadProperty{"HasNoSlots", ",regions=0", "regions=0"},
        BadProperty{"HasTooManySlots", ",regions=65537", "1 to 65536"},
        BadProperty{"HasNoExtents", ",region-extents=0", "region-extents=0"},
        BadProperty{"HasTooManyExtents", ",region-extents=16777217",
                    "1 to 16777216"}),
    [](const auto& info) { return info.param.name; });

TEST_P(RegionProperty, IsRefused) {
  const Refusal refusal =
      runUntilExit({"-device", argument({}) + GetParam().argument}, soon());
  EXPECT_EQ(refusal.status, 1);
  EXPECT_NE(refusal.said.find(GetParam().said), std::string::npos)
      << refusal.said;
}

// ---- Bad regions -----------------------------------------------------------

struct BadRegion {
  const char* name;
  uint32_t error;
  void (*spoil)(UserRegion& region, uint64_t not_memory);
};

class RefusedRegion : public Region,
                      public ::testing::WithParamInterface<BadRegion> {};

constexpr size_t kPieces = 2 * LANECALL_EXTENTS_PER_PAGE + 7;

INSTANTIATE_TEST_SUITE_P(
    With, RefusedRegion,
    ::testing::Values(
        BadRegion{"NoKey", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().key = 0; }},
        BadRegion{"NoBytes", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().bytes = 0; }},
        BadRegion{"NoAccess", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().access = 0; }},
        BadRegion{"UnknownAccess", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().access = 5; }},
        BadRegion{"NoExtents", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().extents = 0; }},
        BadRegion{"AllTheExtentsThereAre", LANECALL_ERR_RESOURCES,
                  [](auto& r, auto) { r.descriptor().extents = ~0u; }},
        BadRegion{"FewerBytesThanItsExtents", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().bytes -= 1; }},
        BadRegion{"MoreBytesThanItsExtents", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().bytes += 1; }},
        BadRegion{"AnEmptyExtent", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.page(1).extent[254].bytes = 0; }},
        BadRegion{
            "AnExtentThatWraps", LANECALL_ERR_PROTOCOL,
            [](auto& r, auto) { r.page(2).extent[0].address = ~0ull - 62; }},
        BadRegion{"ExtentsWhoseSumWraps", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) {
                    r.page(0).extent[1] = {0, ~0ull - 4096};
                    r.page(0).extent[2] = {0, 4097};
                  }},
        BadRegion{"AMisalignedPage", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.descriptor().first += 8; }},
        BadRegion{"AMisalignedNextPage", LANECALL_ERR_PROTOCOL,
                  [](auto& r, auto) { r.page(1).next += 2048; }},
        BadRegion{"APageThatIsNotMemory", LANECALL_ERR_DMA,
                  [](auto& r, auto none) { r.descriptor().first = none; }},
        BadRegion{"ANextPageThatIsNotMemory", LANECALL_ERR_DMA,
                  [](auto& r, auto none) { r.page(0).next = none; }}),
    [](const auto& info) { return info.param.name; });

void PrintTo(const BadRegion& bad, std::ostream* out) { *out << bad.name; }

TEST_P(RefusedRegion, IsToldSoAndCounted) {
  start();
  ScatteredMemory memory = scattered(kPieces, 64);
  for (uint64_t none : dut().notMemory()) {
    UserRegion region(device(), memory.extents());
    const uint32_t errors = guestErrors();
    GetParam().spoil(region, none);
    EXPECT_EQ(whatBecomesOf(region), refused(GetParam().error));
    EXPECT_EQ(guestErrors() - errors,
              GetParam().error == LANECALL_ERR_RESOURCES ? 0u : 1u);
  }
  UserRegion good(device(), memory.extents());
  EXPECT_TRUE(good.lend(soon()));
}

TEST_F(Region, WithTheKeyOfAnotherIsRefused) {
  start();
  ScatteredMemory memory = scattered(1);
  UserRegion first(device(), memory.extents(), {.slot = 0});
  UserRegion second(device(), memory.extents(), {.slot = 1});
  ASSERT_TRUE(first.lend(soon()));
  EXPECT_EQ(whatBecomesOf(second), refused(LANECALL_ERR_PROTOCOL));
  ASSERT_TRUE(first.takeBack(soon()));
  EXPECT_TRUE(second.lend(soon()));
}

TEST_F(Region, WithAVectorThatDoesNotExistIsRefused) {
  start();
  ScatteredMemory memory = scattered(1);
  UserRegion region(device(), memory.extents(), {.vector = 65});
  region.add();
  EXPECT_EQ(region.status(), refused(LANECALL_ERR_PROTOCOL));
  EXPECT_EQ(guestErrors(), 1u);
}

TEST_F(Region, WhoseDescriptorIsNoMemoryIsCountedOnly) {
  start();
  uint32_t expected = 0;
  const auto add_at = [&](uint64_t address) {
    device().write32(LANECALL_REG_REGION_LO, static_cast<uint32_t>(address));
    device().write32(LANECALL_REG_REGION_HI,
                     static_cast<uint32_t>(address >> 32));
    device().write32(LANECALL_REG_REGION_COMMAND, LANECALL_REGION_ADD);
    EXPECT_EQ(guestErrors(), ++expected);
  };
  for (uint64_t address : dut().notMemory()) add_at(address);
  ScatteredMemory memory = scattered(1);
  UserRegion region(device(), memory.extents());
  add_at(region.address() + 128);
  EXPECT_TRUE(region.lend(soon()));
}

// ---- Commands that do not fit ----------------------------------------------

TEST_F(Region, CommandsThatDoNotFitAreCountedAndIgnored) {
  start();
  ScatteredMemory memory = scattered(1);
  UserRegion region(device(), memory.extents(), {.slot = kSlots - 1});
  region.remove();
  region.command(0);
  region.command(3);
  EXPECT_EQ(guestErrors(), 3u);
  ASSERT_TRUE(region.lend(soon()));
  region.command(LANECALL_REGION_ADD);
  EXPECT_EQ(guestErrors(), 4u);
  EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_ACTIVE});
  UserRegion beyond(device(), memory.extents(), {.slot = kSlots, .key = 2});
  beyond.add();
  EXPECT_EQ(guestErrors(), 5u);
  EXPECT_EQ(beyond.status(), uint32_t{LANECALL_REGION_PENDING});
  EXPECT_TRUE(region.takeBack(soon()));
}

TEST_F(Region, CommandsAreIgnoredUnlessTheFeatureIsAccepted) {
  start();
  device().write32(LANECALL_REG_CONTROL, 0);
  ScatteredMemory memory = scattered(1);
  UserRegion region(device(), memory.extents());
  region.add();  // not enabled
  enableEngine(device(), LANECALL_FEATURE_CARD_RINGS);
  region.add();
  region.command(7);
  EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_PENDING});
  EXPECT_EQ(guestErrors(), 0u);
}

// ---- Ends ------------------------------------------------------------------

TEST_F(Region, IsForgottenAtAReset) {
  start();
  ScatteredMemory memory = scattered(1);
  UserRegion region(device(), memory.extents());
  const auto reset_by = [&](auto reset) {
    ASSERT_TRUE(region.lend(soon()));
    reset();
    EXPECT_EQ(device().read32(LANECALL_REG_STATUS), 0u);
    EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_ACTIVE});  // not told
    enable();
  };
  reset_by([&] { device().write32(LANECALL_REG_CONTROL, 0); });
  reset_by([&] { device().busReset(); });
  EXPECT_TRUE(region.lend(soon()));
  EXPECT_EQ(guestErrors(), 0u);
}

// A property for tests of drivers, of a reset that ends regions and no other.
TEST_F(Region, CanKeepADeviceFromRest) {
  useQemuDevice(std::make_unique<QemuDevice>(std::make_shared<Qemu>(QemuOptions{
      {"-device", argument({}) + ",id=dut,addr=4.0,x-rest-reads=3"}})));
  enable();
  const auto resets = [&] {
    unsigned reads = 0;
    device().write32(LANECALL_REG_CONTROL, 0);
    while (device().read32(LANECALL_REG_STATUS) == LANECALL_STATUS_RESETTING) {
      ++reads;
    }
    EXPECT_EQ(device().read32(LANECALL_REG_STATUS), 0u);
    return reads;
  };
  EXPECT_EQ(resets(), 0u);
  enable();
  ScatteredMemory memory = scattered(1);
  UserRegion region(device(), memory.extents());
  ASSERT_TRUE(region.lend(soon()));
  EXPECT_EQ(resets(), 3u);
  region.forget();
  EXPECT_EQ(resets(), 0u);
}

TEST_F(Region, ThatIsBeingLentIsForgottenAtAReset) {
  start();
  UserRegion region(device(), manyExtents());
  ASSERT_TRUE(region.lend(soon()));
  ASSERT_TRUE(region.takeBack(soon()));
  lanecall_put32(&region.descriptor().status, LANECALL_REGION_PENDING);
  atOnce({{LANECALL_REG_REGION_COMMAND, LANECALL_REGION_ADD},
          {LANECALL_REG_CONTROL, 0}});
  enable();
  EXPECT_EQ(region.status(), uint32_t{LANECALL_REGION_PENDING});
  EXPECT_TRUE(region.lend(soon()));
}

}  // namespace
}  // namespace lanecall::test
