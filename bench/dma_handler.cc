// SPDX-License-Identifier: Apache-2.0
#include "dma_handler.h"

#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <utility>

namespace lanecall::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostBatches = 100'000;
constexpr std::chrono::seconds kLongest{5};

void check(const dma::DmaWork& work) {
  if (work.region.length < 1 || work.batch < 1 || work.extents < 1 ||
      work.region.length / work.batch % work.extents != 0 ||
      work.region.length % work.batch != 0)
    throw std::invalid_argument(
        "the region's length must be a multiple of the number of all extents");
}

bool isOver(const dma::DmaWork& work, std::size_t batches,
            Clock::duration spent) {
  if (batches >= kMostBatches || spent >= kLongest) return true;
  return spent >= std::chrono::microseconds(work.leastUs) &&
         batches >= static_cast<std::size_t>(std::max(0, work.leastBatches));
}

}  // namespace

void DmaHandler::move(std::vector<std::int64_t>& ns,
                      const dma::DmaWork& work) try {
  if (!device_)
    throw std::runtime_error("this connection came through no card port");
  check(work);
  const auto bytes = static_cast<std::size_t>(work.region.length);
  if (!buffer_ || buffer_->bytes() != bytes) {
    buffer_.reset();  // before there is another
    buffer_ = device_->allocate(bytes);
  }
  const auto begun = Clock::now();
  auto before = begun;
  do {
    device_->run(batchOf(work));
    const auto now = Clock::now();
    ns.push_back(std::chrono::nanoseconds(now - before).count());
    before = now;
  } while (!isOver(work, ns.size(), before - begun));
} catch (const std::exception& error) {
  dma::DmaBenchFailed failed;
  failed.reason = error.what();
  throw failed;
}

DmaBatch DmaHandler::batchOf(const dma::DmaWork& work) const {
  const RegionReference region = regionOf(work.region);
  const std::uint64_t bytes = region.bytes / work.batch;
  const std::uint64_t piece = bytes / work.extents;
  DmaBatch batch;
  std::vector<DmaExtent> extents(static_cast<std::size_t>(work.extents));
  for (std::uint64_t at = 0; at < region.bytes; at += bytes) {
    for (std::size_t i = 0; i < extents.size(); ++i)
      extents[i] = {at + i * piece, piece, at + i * piece};
    if (work.writes)
      batch.write(region, buffer_, extents);
    else
      batch.read(region, buffer_, extents);
  }
  return batch;
}

}  // namespace lanecall::bench
