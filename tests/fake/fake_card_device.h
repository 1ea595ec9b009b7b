// SPDX-License-Identifier: Apache-2.0
//
// A CardDevice on memory of this process, for tests of handlers: no port, no
// QEMU. Its thread moves the bytes and calls back.
#ifndef LANECALL_TESTS_FAKE_CARD_DEVICE_H
#define LANECALL_TESTS_FAKE_CARD_DEVICE_H

#include <lanecall/card_device.h>
#include <lanecall/memory_region.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace lanecall::test {

class FakeCardDevice : public CardDevice {
 public:
  explicit FakeCardDevice(std::size_t cardBytes = 64 << 20);
  ~FakeCardDevice() override;  // as lose()

  // What a client does. The memory stays the caller's.
  RegionReference lend(std::span<std::uint8_t> memory,
                       RegionAccess access = RegionAccess::kReadWrite);
  void takeBack(const RegionReference& region);

  // Operations wait from hold() to release().
  void hold();
  void release();
  // The next operation that is begun ends with this, after so many bytes.
  void failNext(DmaError error, std::uint64_t bytes = 0);
  // The session ends: what has not begun ends with kReset.
  void lose();

  std::size_t buffersInUse() const { return card_.use_count() - 1; }

  // ---- CardDevice
  std::shared_ptr<CardBuffer> allocate(std::size_t bytes) override;
  CardSpace space() const override;
  bool owns(const CardBuffer& buffer) const override;
  void submit(DmaBatch batch, DmaCallback done) override;
  // It takes all that there is at once.
  void dropUnsent() override {}
  bool isLost() const override;
  std::string name() const override { return "card:fake:0"; }

 private:
  struct Region {
    std::span<std::uint8_t> memory;
    RegionAccess access;
  };
  struct Submitted {
    DmaBatch batch;
    DmaCallback done;
  };
  struct Card {
    std::mutex mutex;
    std::size_t bytes;
    std::size_t free;
  };

  void work();
  std::vector<DmaResult> carryOut(const DmaBatch& batch, bool isLost);
  DmaResult carryOut(const DmaBatch::Operation& operation,
                     const lanecall_dma_extent* extent,
                     const std::uint8_t* card);

  const std::shared_ptr<Card> card_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::map<std::uint64_t, Region> regions_;
  std::uint64_t lastKey_ = 0;
  std::deque<Submitted> queue_;
  DmaResult failure_;  // of the next, unless kNone
  bool held_ = false;
  bool lost_ = false;
  bool over_ = false;

  std::thread thread_;
};

}  // namespace lanecall::test

#endif
