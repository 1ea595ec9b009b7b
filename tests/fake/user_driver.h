// SPDX-License-Identifier: Apache-2.0
// A minimal Lanecall driver in user space, over any DeviceUnderTest: what
// docs/device.md asks of a driver and no more, on both planes. Its parts can
// also be used one by one, and its memory be spoiled, by tests that are no good
// driver.
#ifndef LANECALL_TESTS_USER_DRIVER_H
#define LANECALL_TESTS_USER_DRIVER_H

#include <lanecall/deadline.h>
#include <lanecall/ring.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device_under_test.h"

namespace lanecall::test {

using Bytes = std::vector<unsigned char>;

// Offsets and limits, as the device's registers give them.
struct Geometry {
  explicit Geometry(DeviceUnderTest& device);

  uint64_t control(unsigned channel) const {
    return channel_offset + uint64_t{channel} * channel_stride;
  }
  uint64_t doorbell(unsigned channel) const {
    return doorbell_offset + uint64_t{channel} * doorbell_stride;
  }

  uint32_t channels, vectors;
  uint32_t channel_offset, channel_stride;
  uint32_t doorbell_offset, doorbell_stride;
  uint32_t ring_shift_min, ring_shift_max;
  uint32_t page_shift_min, page_shift_max;
};

// Probe: checks magic and version, accepts those of the features that the
// device offers, enables the engine.
void enableEngine(DeviceUnderTest& device, uint32_t features = 0);

// A ring's pages, scattered, and their table; or a place in card memory, which
// the device has given.
class UserRing {
 public:
  UserRing(GuestMemory& memory, unsigned shift, unsigned page_shift);

  // From now on the ring is there; null: in its own pages again.
  void place(unsigned char* card) { card_ = card; }

  uint64_t table() const { return table_.address(); }
  unsigned shift() const { return shift_; }
  uint32_t size() const { return 1u << shift_; }
  void setEntry(size_t page, uint64_t address);  // spoils the table

  // Where a byte of the ring is, and what follows it up to its page's end.
  unsigned char* at(uint32_t offset) const;
  uint32_t pageBytes() const { return std::min(1u << page_shift_, size()); }

  // Bytes of the stream from `index` on.
  void store(uint32_t index, std::span<const unsigned char> from);
  void load(uint32_t index, std::span<unsigned char> to) const;

 private:
  template <typename Copy>
  void walk(uint32_t index, size_t bytes, Copy copy) const;

  unsigned shift_, page_shift_;
  std::vector<GuestBlock> pages_;
  std::vector<size_t> order_;  // which of them holds the ring's n-th page
  GuestBlock table_;
  unsigned char* card_ = nullptr;
};

// Where a channel lives and how large it is.
struct ChannelOptions {
  unsigned channel = 0;
  std::optional<unsigned> vector{};  // default: channel + 1, modulo vectors
  unsigned tx_shift = 16;
  unsigned rx_shift = 16;
  unsigned page_shift = 12;
  std::optional<uint32_t> flags{};  // default: IN_CARD if that was accepted
  uint32_t moderate_bytes = 0;
  uint32_t moderate_us = 0;
  uint32_t user = 0;
};

// One channel. Belongs to one thread at a time. Waits sleep on the channel's
// interrupt, so that one that the device owes and does not raise is a deadline
// passed.
class UserChannel {
 public:
  explicit UserChannel(DeviceUnderTest& device, ChannelOptions options = {});
  ~UserChannel();  // closes; waits until the device has let go of the memory
  UserChannel(const UserChannel&) = delete;
  UserChannel& operator=(const UserChannel&) = delete;

  // Each writes what its command needs, then the command.
  void open();
  void attach();
  void command(uint32_t command);
  void doorbell();

  // A new life on the same memory: to be called when CLOSED, before open().
  void clear();

  // The word in memory. Once it says that the rings are in card memory, they
  // are there for this driver, too.
  uint32_t status();
  uint32_t state() { return LANECALL_STATE(status()); }
  uint32_t statusRegister() const;

  // Waits until the status in memory is another than CONNECTING, or in one of
  // these states; returns it, or nothing when the deadline has passed.
  std::optional<uint32_t> waitWhile(uint32_t state, const Deadline& deadline);
  std::optional<uint32_t> waitFor(uint32_t state, const Deadline& deadline);

  // open, wait, attach, wait: true once it is RUNNING.
  bool start(const Deadline& deadline);
  // DRAIN and CLOSE; true once it is CLOSED.
  bool drain(const Deadline& deadline);
  bool close(const Deadline& deadline);

  // What fits or what is there now, at least one byte; 0 if nothing; -1 if the
  // device has lied about its index.
  __s64 tryWrite(std::span<const unsigned char> bytes);
  __s64 tryRead(std::span<unsigned char> bytes);

  // All of it; false when the channel has ended, or the deadline passed.
  bool write(std::span<const unsigned char> bytes, const Deadline& deadline);
  // Up to size bytes, at least one; empty at the end of the stream; nothing
  // when the deadline has passed.
  std::optional<Bytes> readSome(size_t size, const Deadline& deadline);
  // Exactly so many; shorter at the end of the stream or at the deadline.
  Bytes read(size_t size, const Deadline& deadline);
  // Waits until there is something to read, room to write, or neither can come.
  bool waitReadable(const Deadline& deadline);
  bool waitWritable(uint32_t room, const Deadline& deadline);

  bool readable();  // or at the end
  bool writable();

  // For tests that look at, or spoil, the parts. The ring words are in
  // index(), the status in statusPage(): the same page, unless IN_CARD.
  lanecall_index_page& index() const { return *words_; }
  lanecall_index_page& statusPage() const;
  uint64_t indexAddress() const { return index_.address(); }
  lanecall_ring& txIndices() { return tx_; }
  lanecall_ring& rxIndices() { return rx_; }
  UserRing& tx() { return tx_ring_; }
  UserRing& rx() { return rx_ring_; }
  unsigned channel() const { return options_.channel; }
  unsigned vector() const { return vector_; }
  void writeControl(uint32_t offset, uint32_t value);
  void writeControl64(uint32_t offset, uint64_t value);
  uint32_t readControl(uint32_t offset) const;

 private:
  bool ended();
  void enterCard();
  void useWords(lanecall_index_page& words);

  DeviceUnderTest& device_;
  const ChannelOptions options_;
  const Geometry geometry_;
  const unsigned vector_;
  GuestBlock index_;
  lanecall_index_page* words_ = nullptr;
  bool in_card_ = false;
  UserRing tx_ring_, rx_ring_;
  lanecall_ring tx_, rx_;
};

}  // namespace lanecall::test

#endif
