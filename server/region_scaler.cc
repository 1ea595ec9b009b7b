// SPDX-License-Identifier: Apache-2.0
#include "region_scaler.h"

#include <lanecall/region.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace lanecall {
namespace {

using Number = std::int32_t;

constexpr Number kLeastFactor = 2;
constexpr Number kMostFactor = 4;
constexpr std::uint64_t kPieceBytes = 512 << 10;

// Exceptions name a number by a 32-bit index.
constexpr std::uint64_t kBytesMost =
    std::numeric_limits<std::int32_t>::max() * std::uint64_t{sizeof(Number)};

[[noreturn]] void fault(const std::string& reason) {
  edu::DmaFault error;
  error.reason = reason;
  throw error;
}

void requireRegion(bool isGood, const char* otherwise) {
  if (isGood) return;
  edu::BadRegion error;
  error.reason = otherwise;
  throw error;
}

void check(const RegionReference& source, const RegionReference& target,
           Number factor) {
  if (factor < kLeastFactor || factor > kMostFactor) {
    edu::OutOfRange error;
    error.value = factor;
    error.lowest = kLeastFactor;
    error.highest = kMostFactor;
    throw error;
  }
  const std::uint64_t bytes = source.bytes;
  requireRegion(bytes % sizeof(Number) == 0,
                "a length that is no multiple of 4: numbers have 32 bits");
  requireRegion(bytes <= kBytesMost, "more than 2^31 - 1 numbers");
  requireRegion(target.bytes == bytes,
                "source and target of different lengths");
  for (const RegionReference& region : {source, target})
    requireRegion(
        lanecall_is_valid_span(region.offset, bytes,
                               std::numeric_limits<std::uint64_t>::max()),
        "a reference that reaches beyond all memory");
  requireRegion(source.key != target.key || source.offset == target.offset ||
                    source.offset + bytes <= target.offset ||
                    target.offset + bytes <= source.offset,
                "source and target overlap, and are not the same");
}

// first: the number's place among all.
void multiply(CardBuffer& buffer, std::uint64_t bytes, Number factor,
              std::uint64_t first) {
  auto* const numbers = reinterpret_cast<Number*>(buffer.data());
  for (std::uint64_t i = 0; i < bytes / sizeof(Number); ++i) {
    const Number number = numbers[i];
    if (!__builtin_mul_overflow(number, factor, &numbers[i])) continue;
    edu::Overflow error;
    error.index = static_cast<std::int32_t>(first + i);
    error.value = number;
    error.factor = factor;
    throw error;
  }
}

// A buffer, and the DMA between it and the client's memory that is under way.
class Stage {
 public:
  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  ~Stage() {
    if (run_) run_->wait();
  }

  void allocate(CardDevice& device, std::uint64_t bytes) try {
    buffer_ = device.allocate(bytes);
  } catch (const CardMemoryFull& full) {
    fault(full.what());
  }

  CardBuffer& buffer() const { return *buffer_; }

  // What was started last must have been settled.
  void read(CardDevice& device, const RegionReference& from,
            const DmaExtent& extent) {
    DmaBatch batch;
    batch.read(from, buffer_, extent);
    run_.emplace(device.start(std::move(batch)));
  }
  void write(CardDevice& device, const RegionReference& to,
             const DmaExtent& extent) {
    DmaBatch batch;
    batch.write(to, buffer_, extent);
    run_.emplace(device.start(std::move(batch)));
  }

  // Waits for what is under way, if anything is.
  void settle() {
    if (!run_) return;
    const DmaError error = run_->wait().front().error;
    run_.reset();
    if (error != DmaError::kNone) fault(explain(error));
  }

 private:
  std::shared_ptr<CardBuffer> buffer_;
  std::optional<DmaRun> run_;
};

}  // namespace

void scaleByDma(CardDevice& device, const RegionReference& source,
                const RegionReference& target, Number factor) {
  check(source, target, factor);
  const std::uint64_t bytes = source.bytes;
  const std::uint64_t pieces = (bytes + kPieceBytes - 1) / kPieceBytes;
  auto extentOf = [&](std::uint64_t piece) {
    const std::uint64_t from = piece * kPieceBytes;
    return DmaExtent{from, std::min(kPieceBytes, bytes - from)};
  };
  std::array<Stage, 2> stages;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(pieces, 2); ++i)
    stages[i].allocate(device, extentOf(0).bytes);

  // While one piece is worked on the next one comes, and the last one goes.
  for (std::uint64_t turn = 0; turn <= pieces && pieces > 0; ++turn) {
    if (turn < pieces) {
      Stage& coming = stages[turn % 2];
      coming.settle();
      coming.read(device, source, extentOf(turn));
    }
    if (turn > 0) {
      Stage& here = stages[(turn - 1) % 2];
      const DmaExtent extent = extentOf(turn - 1);
      here.settle();
      multiply(here.buffer(), extent.bytes, factor,
               extent.offset / sizeof(Number));
      here.write(device, target, extent);
    }
  }
  for (Stage& stage : stages) stage.settle();
}

}  // namespace lanecall
