// SPDX-License-Identifier: Apache-2.0
// docs/device.md against abi/lanecall/device.h: every number that both have.
#include "page.h"

#include <gtest/gtest.h>
#include <lanecall/device.h>

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
  };
  EXPECT_EQ(offsetsOf(channelRegistersOfPage()), header);
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
