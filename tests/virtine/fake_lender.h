// SPDX-License-Identifier: Apache-2.0
//
// A driver without a device: memory that is lent, by key. While the device is
// busy with some of it, taking that back ends as on a device that still writes:
// the last bytes land just before the memory is free.
#ifndef LANECALL_TESTS_FAKE_LENDER_H
#define LANECALL_TESTS_FAKE_LENDER_H

#include <lanecall/lender.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>

namespace lanecall::test {

class FakeLender : public Lender {
 public:
  int lend(lanecall_region_registration* region) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (refuseWith_) return -refuseWith_;
    region->device = 0;
    region->region = ++last_;
    region->key = 0x1000 + last_;
    region->flags = LANECALL_REGION_NEEDS_SYNC;
    lent_[last_] = {
        {reinterpret_cast<std::uint8_t*>(region->address), region->bytes}};
    return 0;
  }

  int takeBack(std::uint32_t region) override {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = lent_.find(region);
    if (at == lent_.end()) return -ENOENT;
    auto& [memory, busy] = at->second;
    if (busy) std::fill(memory.begin(), memory.end(), 0xee);
    lent_.erase(at);
    return takeBackWith_;
  }

  int sync(const lanecall_region_sync& wanted) override {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = lent_.find(wanted.region);
    if (at == lent_.end()) return -ENOENT;
    ++synced_[wanted.direction];
    return 0;
  }

  std::string name() const override { return "the fake device"; }

  // Empty if nothing is lent under the key.
  std::span<std::uint8_t> memoryOf(std::int64_t key) const {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = lent_.find(key - 0x1000);
    return at == lent_.end() ? std::span<std::uint8_t>() : at->second.memory;
  }
  void setBusy(std::int64_t key, bool busy) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = lent_.find(key - 0x1000);
    if (at != lent_.end()) at->second.busy = busy;
  }
  std::size_t lent() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return lent_.size();
  }
  int synced(std::uint32_t direction) const {
    std::lock_guard<std::mutex> lock(mutex_);
    auto at = synced_.find(direction);
    return at == synced_.end() ? 0 : at->second;
  }
  // From now on; errno values, 0 for none. Memory is free in any case.
  void refuseToLend(int error) {
    std::lock_guard<std::mutex> lock(mutex_);
    refuseWith_ = error;
  }
  void failToTakeBack(int error) {
    std::lock_guard<std::mutex> lock(mutex_);
    takeBackWith_ = -error;
  }

 private:
  struct Loan {
    std::span<std::uint8_t> memory;
    bool busy = false;
  };

  mutable std::mutex mutex_;
  std::map<std::uint32_t, Loan> lent_;
  std::map<std::uint32_t, int> synced_;
  std::uint32_t last_ = 0;
  int refuseWith_ = 0;
  int takeBackWith_ = 0;
};

}  // namespace lanecall::test

#endif
