// SPDX-License-Identifier: Apache-2.0
// Orders to a card's firmware (firmware.py) to read and write lent memory. They
// go through another device, so that they are answered whatever happens to this
// one.
#pragma once

#include <cstdint>
#include <string>

#include "lending.h"

namespace lanecall::guest_tests {

// What a session's end makes of its operations (firmware.py).
inline constexpr int kLost = 255;

struct Moved {
  int error = -1;  // LANECALL_ERR_*, or kLost
  std::size_t count = 0;
  std::string bytes;  // what was read
};

// What the firmware has answered.
Moved parse(const std::string& answer);

Moved order(const std::string& text);

// Puts pattern(0, count) there.
Moved card_writes(std::uint64_t key, std::size_t offset, std::size_t count);
Moved card_reads(std::uint64_t key, std::size_t offset, std::size_t count);
Moved card_fills(std::uint64_t key, std::size_t offset, std::size_t count,
                 std::uint8_t byte);

// Memory that is lent, and synchronised around what the card does with it.
class Lent {
 public:
  Lent(const std::uint8_t* data, std::size_t bytes,
       std::uint32_t access = kBoth)
      : fd(open_channel()), region(lend(fd.get(), data, bytes, access)) {}

  void writtenHere() const { sync(LANECALL_SYNC_FOR_DEVICE); }
  void readHere() const { sync(LANECALL_SYNC_FOR_CPU); }

  Fd fd;
  lanecall_region_registration region;

 private:
  void sync(std::uint32_t direction) const {
    EXPECT_EQ(sync_region(fd.get(), region.region, direction, 0, region.bytes),
              0);
  }
};

class WithFirmware : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
};

}  // namespace lanecall::guest_tests
