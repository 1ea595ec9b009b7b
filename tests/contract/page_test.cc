// SPDX-License-Identifier: Apache-2.0
// docs/device.md against abi/lanecall/: every number that both have.
#include "page.h"

#include <gtest/gtest.h>
#include <lanecall/card.h>
#include <lanecall/hostile.h>
#include <lanecall/region.h>
#include <lanecall/rogue.h>

#include <cstddef>
#include <map>

namespace lanecall::test {
namespace {

std::map<std::string, uint32_t> offsetsOf(
    const std::vector<PageRegister>& registers) {
  std::map<std::string, uint32_t> offsets;
  for (const auto& reg : registers) {
    offsets[reg.name] = reg.offsets[0];
    if (reg.offsets.size() == 2) {
      EXPECT_EQ(reg.offsets[1], reg.offsets[0] + 4) << reg.name;
    }
  }
  return offsets;
}

TEST(Page, DeviceRegistersAreTheHeaders) {
  const std::map<std::string, uint32_t> header{
      {"MAGIC", LANECALL_REG_MAGIC},
      {"VERSION", LANECALL_REG_VERSION},
      {"FEATURES", LANECALL_REG_FEATURES_LO},
      {"ACCEPTED", LANECALL_REG_ACCEPTED_LO},
      {"CONTROL", LANECALL_REG_CONTROL},
      {"STATUS", LANECALL_REG_STATUS},
      {"CHANNELS", LANECALL_REG_CHANNELS},
      {"VECTORS", LANECALL_REG_VECTORS},
      {"CHANNEL_OFFSET", LANECALL_REG_CHANNEL_OFFSET},
      {"CHANNEL_STRIDE", LANECALL_REG_CHANNEL_STRIDE},
      {"DOORBELL_OFFSET", LANECALL_REG_DOORBELL_OFFSET},
      {"DOORBELL_STRIDE", LANECALL_REG_DOORBELL_STRIDE},
      {"RING_SHIFTS", LANECALL_REG_RING_SHIFTS},
      {"PAGE_SHIFTS", LANECALL_REG_PAGE_SHIFTS},
      {"GENERATION", LANECALL_REG_GENERATION},
      {"GUEST_ERRORS", LANECALL_REG_GUEST_ERRORS},
  };
  EXPECT_EQ(offsetsOf(deviceRegistersOfPage()), header);
}

TEST(Page, ChannelRegistersAreTheHeaders) {
  const std::map<std::string, uint32_t> header{
      {"COMMAND", LANECALL_CH_COMMAND},
      {"STATUS", LANECALL_CH_STATUS},
      {"VECTOR", LANECALL_CH_VECTOR},
      {"FLAGS", LANECALL_CH_FLAGS},
      {"INDEX", LANECALL_CH_INDEX_LO},
      {"TX_TABLE", LANECALL_CH_TX_TABLE_LO},
      {"RX_TABLE", LANECALL_CH_RX_TABLE_LO},
      {"TX_SHIFT", LANECALL_CH_TX_SHIFT},
      {"RX_SHIFT", LANECALL_CH_RX_SHIFT},
      {"PAGE_SHIFT", LANECALL_CH_PAGE_SHIFT},
      {"MODERATE_BYTES", LANECALL_CH_MODERATE_BYTES},
      {"MODERATE_US", LANECALL_CH_MODERATE_US},
      {"USER", LANECALL_CH_USER},
  };
  EXPECT_EQ(offsetsOf(channelRegistersOfPage()), header);
}

TEST(Page, RegionRegistersAreTheHeaders) {
  const std::map<std::string, uint32_t> header{
      {"REGIONS", LANECALL_REG_REGIONS},
      {"REGION_EXTENTS", LANECALL_REG_REGION_EXTENTS},
      {"REGION_VECTOR", LANECALL_REG_REGION_VECTOR},
      {"REGION_SLOT", LANECALL_REG_REGION_SLOT},
      {"REGION_ADDRESS", LANECALL_REG_REGION_LO},
      {"REGION_COMMAND", LANECALL_REG_REGION_COMMAND},
  };
  EXPECT_EQ(offsetsOf(regionRegistersOfPage()), header);
  EXPECT_EQ(LANECALL_REG_REGION_HI, LANECALL_REG_REGION_LO + 4);
}

TEST(Page, RegionsAreTheHeaders) {
  std::map<std::string, std::pair<size_t, size_t>> fields;
  for (const Row& row : tableOfPage({"offset", "bytes", "field", "meaning"})) {
    fields[row[2]] = {hex(row[0]), std::stoul(row[1])};
  }
  using Region = lanecall_region;
  const auto field = [](size_t offset, size_t bytes) {
    return std::pair(offset, bytes);
  };
  const std::map<std::string, std::pair<size_t, size_t>> header_fields{
      {"key", field(offsetof(Region, key), sizeof(Region::key))},
      {"bytes", field(offsetof(Region, bytes), sizeof(Region::bytes))},
      {"access", field(offsetof(Region, access), sizeof(Region::access))},
      {"extents", field(offsetof(Region, extents), sizeof(Region::extents))},
      {"first", field(offsetof(Region, first), sizeof(Region::first))},
      {"status", field(offsetof(Region, status), sizeof(Region::status))}};
  EXPECT_EQ(fields, header_fields);

  std::map<std::string, int> states;
  for (const Row& row : tableOfPage({"state of a region", "", "the slot"})) {
    states[row[1]] = std::stoi(row[0]);
  }
  const std::map<std::string, int> header_states{
      {"PENDING", LANECALL_REGION_PENDING},
      {"ACTIVE", LANECALL_REGION_ACTIVE},
      {"FREE", LANECALL_REGION_FREE}};
  EXPECT_EQ(states, header_states);
}

// Cells such as "1 READ".
std::map<std::string, int> numbered(const Row& header) {
  std::map<std::string, int> numbers;
  for (const Row& row : tableOfPage(header)) {
    const size_t space = row[0].find(' ');
    numbers[row[0].substr(space + 1)] = std::stoi(row[0].substr(0, space));
  }
  return numbers;
}

TEST(Page, DmaIsTheHeaders) {
  const std::map<std::string, int> types{{"READ", LANECALL_DMA_READ},
                                         {"WRITE", LANECALL_DMA_WRITE},
                                         {"FILL", LANECALL_DMA_FILL}};
  const std::map<std::string, int> errors{
      {"NONE", LANECALL_ERR_NONE},   {"ACCESS", LANECALL_ERR_ACCESS},
      {"RANGE", LANECALL_ERR_RANGE}, {"REVOKED", LANECALL_ERR_REVOKED},
      {"DMA", LANECALL_ERR_DMA},     {"RESOURCES", LANECALL_ERR_RESOURCES}};
  EXPECT_EQ(numbered({"type", "moves"}), types);
  EXPECT_EQ(numbered({"error of an operation", ""}), errors);
}

TEST(Page, RogueRegistersAreTheHeaders) {
  std::map<std::string, std::string> offsets;
  for (const Row& row : tableOfPage({"offset", "name", "access", ""})) {
    offsets[row[1]] = row[0];
  }
  const std::map<std::string, uint32_t> header{
      {"ROGUE_ADDRESS", LANECALL_REG_ROGUE_LO},
      {"ROGUE_SEED", LANECALL_REG_ROGUE_SEED},
      {"ROGUE_COMMAND", LANECALL_REG_ROGUE_COMMAND},
      {"ROGUE_TRIED", LANECALL_REG_ROGUE_TRIED},
      {"ROGUE_BLOCKED", LANECALL_REG_ROGUE_BLOCKED},
      {"ROGUE_REMEMBERED", LANECALL_REG_ROGUE_REMEMBERED}};
  ASSERT_EQ(offsets.size(), header.size());
  for (const auto& [name, offset] : header) {
    EXPECT_EQ(hex(offsets[name].substr(0, 5)), offset) << name;
  }
  const std::map<std::string, int> commands{
      {"CHOSEN", LANECALL_ROGUE_CHOSEN},
      {"RANDOM", LANECALL_ROGUE_RANDOM},
      {"GIVEN_BACK", LANECALL_ROGUE_GIVEN_BACK},
      {"FORGET", LANECALL_ROGUE_FORGET}};
  EXPECT_EQ(numbered({"command", "writes 8 bytes, \"rogueDMA\""}), commands);
}

TEST(Page, HostileRegistersAreTheHeaders) {
  std::map<std::string, uint32_t> offsets;
  for (const Row& row :
       tableOfPage({"offset", "name", "access", "of a device that lies"})) {
    offsets[row[1]] = hex(row[0].substr(0, 5));
  }
  const std::map<std::string, uint32_t> header{
      {"HOSTILE_PLACES", LANECALL_REG_HOSTILE_PLACES_LO},
      {"HOSTILE_KIND", LANECALL_REG_HOSTILE_KIND},
      {"HOSTILE_ONE_IN", LANECALL_REG_HOSTILE_ONE_IN},
      {"HOSTILE_SEED", LANECALL_REG_HOSTILE_SEED},
      {"HOSTILE_TOLD", LANECALL_REG_HOSTILE_TOLD}};
  EXPECT_EQ(offsets, header);
  const std::map<std::string, int> kinds{
      {"ZERO", LANECALL_LIE_ZERO},
      {"ONE", LANECALL_LIE_ONE},
      {"ALL_ONES", LANECALL_LIE_ALL_ONES},
      {"ONE_MORE", LANECALL_LIE_ONE_MORE},
      {"ONE_LESS", LANECALL_LIE_ONE_LESS},
      {"HIGHEST_BIT", LANECALL_LIE_HIGHEST_BIT},
      {"OTHER_BIT", LANECALL_LIE_OTHER_BIT},
      {"RANDOM", LANECALL_LIE_RANDOM},
      {"OLD", LANECALL_LIE_OLD},
      {"LATE", LANECALL_LIE_LATE}};
  EXPECT_EQ(numbered({"kind of lie", "instead of the truth"}), kinds);
  // Those of the table are all there are.
  int next = 0;
  for (const Row& row : tableOfPage({"places", "", "a chance is"})) {
    EXPECT_EQ(std::stoi(row[0]), next) << row[0];
    next = std::stoi(row[0].substr(row[0].find_last_of(" ") + 1)) + 1;
  }
  EXPECT_EQ(next, LANECALL_HOSTILE_PLACES);
}

TEST(Page, StatesAndErrorsAreTheHeaders) {
  std::map<std::string, int> states, errors;
  for (const Row& row : tableOfPage({"state", "", "what the device does"})) {
    states[row[1]] = std::stoi(row[0]);
  }
  for (const Row& row : tableOfPage({"error", "", ""})) {
    errors[row[1]] = std::stoi(row[0]);
  }
  const std::map<std::string, int> header_states{
      {"CLOSED", LANECALL_CLOSED},     {"CONNECTING", LANECALL_CONNECTING},
      {"READY", LANECALL_READY},       {"RUNNING", LANECALL_RUNNING},
      {"DRAINING", LANECALL_DRAINING}, {"ENDED", LANECALL_ENDED}};
  const std::map<std::string, int> header_errors{
      {"NONE", LANECALL_ERR_NONE},
      {"REFUSED", LANECALL_ERR_REFUSED},
      {"UNREACHABLE", LANECALL_ERR_UNREACHABLE},
      {"TIMED_OUT", LANECALL_ERR_TIMED_OUT},
      {"RESET", LANECALL_ERR_RESET},
      {"ACCESS", LANECALL_ERR_ACCESS},
      {"DMA", LANECALL_ERR_DMA},
      {"PROTOCOL", LANECALL_ERR_PROTOCOL},
      {"RESOURCES", LANECALL_ERR_RESOURCES},
      {"IO", LANECALL_ERR_IO}};
  EXPECT_EQ(states, header_states);
  EXPECT_EQ(errors, header_errors);
}

TEST(Page, IndexPageIsTheHeaders) {
  std::map<std::string, size_t> page;
  std::map<std::string, std::string> writer;
  for (const Row& row : tableOfPage({"offset", "name", "writer", "meaning"})) {
    page[row[1]] = hex(row[0]);
    writer[row[1]] = row[2];
  }
  using Index = lanecall_index_page;
  const std::map<std::string, size_t> header{
      {"tx head", offsetof(Index, tx_producer.head)},
      {"tx want_tail", offsetof(Index, tx_producer.want_tail)},
      {"tx tail", offsetof(Index, tx_consumer.tail)},
      {"tx want_head", offsetof(Index, tx_consumer.want_head)},
      {"rx head", offsetof(Index, rx_producer.head)},
      {"rx want_tail", offsetof(Index, rx_producer.want_tail)},
      {"rx tail", offsetof(Index, rx_consumer.tail)},
      {"rx want_head", offsetof(Index, rx_consumer.want_head)},
      {"status", offsetof(Index, status)},
      {"gone", offsetof(Index, gone)}};
  EXPECT_EQ(page, header);
  // Words of different writers never share a block of 128 bytes.
  for (const auto& [name, offset] : page) {
    for (const auto& [other, other_offset] : page) {
      if (offset / 128 == other_offset / 128) {
        EXPECT_EQ(writer[name], writer[other]) << name << ", " << other;
      }
    }
  }
}

}  // namespace
}  // namespace lanecall::test
