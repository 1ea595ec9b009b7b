// SPDX-License-Identifier: Apache-2.0
#include "fake_card_device.h"

#include <endian.h>
#include <lanecall/region.h>

#include <cstring>
#include <utility>

namespace lanecall::test {
namespace {

bool is_allowed(std::uint32_t type, RegionAccess access) {
  const auto needed =
      type == LANECALL_DMA_READ ? RegionAccess::kRead : RegionAccess::kWrite;
  return static_cast<std::uint32_t>(access) &
         static_cast<std::uint32_t>(needed);
}

}  // namespace

FakeCardDevice::FakeCardDevice(std::size_t cardBytes)
    : card_(std::make_shared<Card>()) {
  card_->bytes = card_->free = cardBytes;
  thread_ = std::thread([this] { work(); });
}

FakeCardDevice::~FakeCardDevice() {
  lose();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

RegionReference FakeCardDevice::lend(std::span<std::uint8_t> memory,
                                     RegionAccess access) {
  std::lock_guard<std::mutex> lock(mutex_);
  // Keys are any 64 bits: those that are negative in an IDL, too.
  const std::uint64_t key = ++lastKey_ * 0x9e3779b97f4a7c15u;
  regions_[key] = {memory, access};
  return {0, key, 0, memory.size()};
}

void FakeCardDevice::takeBack(const RegionReference& region) {
  std::lock_guard<std::mutex> lock(mutex_);
  regions_.erase(region.key);
}

void FakeCardDevice::hold() {
  std::lock_guard<std::mutex> lock(mutex_);
  held_ = true;
}

void FakeCardDevice::release() {
  std::lock_guard<std::mutex> lock(mutex_);
  held_ = false;
  changed_.notify_all();
}

void FakeCardDevice::failNext(DmaError error, std::uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  failure_ = {0, error, bytes};
}

void FakeCardDevice::lose() {
  std::lock_guard<std::mutex> lock(mutex_);
  lost_ = true;
  held_ = false;
  changed_.notify_all();
}

std::shared_ptr<CardBuffer> FakeCardDevice::allocate(std::size_t bytes) {
  if (bytes == 0) throw std::invalid_argument("a buffer without bytes");
  std::lock_guard<std::mutex> lock(card_->mutex);
  if (bytes > card_->free) throw CardMemoryFull("the fake card is full");
  card_->free -= bytes;
  auto memory = std::make_unique<std::uint8_t[]>(bytes);
  std::uint8_t* const data = memory.get();
  std::shared_ptr<std::uint8_t[]> owner(
      memory.release(), [card = card_, bytes](const std::uint8_t* end) {
        delete[] end;
        std::lock_guard<std::mutex> back(card->mutex);
        card->free += bytes;
      });
  return std::make_shared<CardBuffer>(data, bytes, card_.get(), 0, owner);
}

CardSpace FakeCardDevice::space() const {
  std::lock_guard<std::mutex> lock(card_->mutex);
  return {card_->bytes, card_->free};
}

bool FakeCardDevice::owns(const CardBuffer& buffer) const {
  return buffer.card() == card_.get();
}

void FakeCardDevice::submit(DmaBatch batch, DmaCallback done) {
  for (const auto& operation : batch.operations())
    if (operation.buffer && !owns(*operation.buffer))
      throw std::invalid_argument("another device's buffer");
  if (batch.empty()) return;
  std::unique_lock<std::mutex> lock(mutex_);
  if (!lost_) {
    queue_.push_back({std::move(batch), std::move(done)});
    changed_.notify_all();
    return;
  }
  const auto results = carryOut(batch, true);
  lock.unlock();
  callBack(done, results);
}

bool FakeCardDevice::isLost() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return lost_;
}

void FakeCardDevice::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock,
                  [this] { return over_ || (!held_ && !queue_.empty()); });
    if (queue_.empty()) return;
    Submitted next = std::move(queue_.front());
    queue_.pop_front();
    const auto results = carryOut(next.batch, lost_);
    lock.unlock();
    callBack(next.done, results);
    next = {};  // drops buffers without the lock
    lock.lock();
  }
}

// With mutex_ held: a region is not taken back while its bytes move.
std::vector<DmaResult> FakeCardDevice::carryOut(const DmaBatch& batch,
                                                bool isLost) {
  std::vector<DmaResult> results;
  const lanecall_dma_extent* extent = batch.extents().data();
  for (const auto& operation : batch.operations()) {
    const std::uint8_t* card =
        operation.buffer ? operation.buffer->data() : nullptr;
    results.push_back(isLost ? DmaResult{0, DmaError::kReset, 0}
                             : carryOut(operation, extent, card));
    results.back().operation = results.size() - 1;
    extent += operation.extents;
  }
  return results;
}

DmaResult FakeCardDevice::carryOut(const DmaBatch::Operation& operation,
                                   const lanecall_dma_extent* extent,
                                   const std::uint8_t* card) {
  if (failure_.error != DmaError::kNone)
    return std::exchange(failure_, DmaResult{});
  const auto region = regions_.find(operation.key);
  if (region == regions_.end() ||
      !is_allowed(operation.type, region->second.access))
    return {0, DmaError::kAccess, 0};
  const std::span<std::uint8_t> memory = region->second.memory;
  for (std::size_t i = 0; i < operation.extents; ++i)
    if (!lanecall_is_valid_span(le64toh(extent[i].offset),
                                le64toh(extent[i].bytes), memory.size()))
      return {0, DmaError::kRange, 0};
  for (std::size_t i = 0; i < operation.extents; ++i) {
    std::uint8_t* const at = memory.data() + le64toh(extent[i].offset);
    const std::uint64_t where = le64toh(extent[i].card);
    const std::uint64_t bytes = le64toh(extent[i].bytes);
    if (operation.type == LANECALL_DMA_FILL)
      std::memset(at, static_cast<int>(where), bytes);
    else if (operation.type == LANECALL_DMA_WRITE)
      std::memcpy(at, card + where, bytes);
    else
      std::memcpy(operation.buffer->data() + where, at, bytes);
  }
  return {0, DmaError::kNone, operation.bytes};
}

}  // namespace lanecall::test
