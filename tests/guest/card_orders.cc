// SPDX-License-Identifier: Apache-2.0
#include "card_orders.h"

#include <cstdlib>

namespace lanecall::guest_tests {
namespace {

std::string span(std::uint64_t key, std::size_t offset, std::size_t count) {
  return std::to_string(key) + " " + std::to_string(offset) + " " +
         std::to_string(count);
}

}  // namespace

Moved parse(const std::string& answer) {
  Moved moved;
  const std::size_t end = answer.find('\n');
  EXPECT_NE(end, std::string::npos) << "no answer";
  if (end == std::string::npos) return moved;
  char* next = nullptr;
  moved.error = static_cast<int>(std::strtol(answer.c_str(), &next, 10));
  moved.count = std::strtoul(next, nullptr, 10);
  moved.bytes = answer.substr(end + 1);
  return moved;
}

Moved order(const std::string& text) {
  Fd fd = open_with("dma " + text, kTcpPeer);
  return parse(read_to_end(fd.get()));
}

Moved card_writes(std::uint64_t key, std::size_t offset, std::size_t count) {
  return order("write " + span(key, offset, count));
}

Moved card_reads(std::uint64_t key, std::size_t offset, std::size_t count) {
  return order("read " + span(key, offset, count));
}

Moved card_fills(std::uint64_t key, std::size_t offset, std::size_t count,
                 std::uint8_t byte) {
  return order("fill " + span(key, offset, count) + " " + std::to_string(byte));
}

void WithFirmware::SetUp() {
  if (!is_booted_with("lanecall_test.dma"))
    GTEST_SKIP() << "the card has no firmware that moves bytes";
  ASSERT_TRUE(device_takes_regions());
}

void WithFirmware::TearDown() {
  if (IsSkipped()) return;
  EXPECT_EQ(regions_in_use(), 0);
}

}  // namespace lanecall::guest_tests
