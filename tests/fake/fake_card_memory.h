// SPDX-License-Identifier: Apache-2.0
// Card memory of the fake device: a memory file that cannot change its size,
// and the account of which channel holds which places in it. The server chooses
// the places; this is what keeps them apart.
#ifndef LANECALL_TESTS_FAKE_CARD_MEMORY_H
#define LANECALL_TESTS_FAKE_CARD_MEMORY_H

#include <lanecall/card.h>
#include <lanecall/descriptor.h>

#include <array>
#include <cstdint>
#include <map>
#include <span>

namespace lanecall::test {

struct Place {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// A channel's index page, TX and RX.
using Places = std::array<Place, 3>;

class FakeCardMemory {
 public:
  explicit FakeCardMemory(uint64_t bytes);
  ~FakeCardMemory();
  FakeCardMemory(const FakeCardMemory&) = delete;
  FakeCardMemory& operator=(const FakeCardMemory&) = delete;

  int fd() const { return file_.get(); }
  std::span<unsigned char> bytes() const { return bytes_; }

  // Do they lie in card memory, aligned, and apart from each other?
  bool is_valid(const Places& places, uint32_t page_bytes) const;
  // A place that a channel holds and that overlaps them, or null.
  const Place* inUse(const Places& places) const;

  // Clears them; the channel's until it vacates them.
  void hold(unsigned channel, const Places& places);
  void vacate(unsigned channel) { held_.erase(channel); }

 private:
  Descriptor file_;
  std::span<unsigned char> bytes_;
  std::map<unsigned, Places> held_;
};

}  // namespace lanecall::test

#endif
