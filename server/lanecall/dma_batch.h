// SPDX-License-Identifier: Apache-2.0
//
// What a server wants to have moved between its clients' memory and card
// memory, in one go, and what came of it.
//
//   lanecall::DmaBatch batch;
//   batch.read(lanecall::regionOf(request.source), buffer);
//   device->run(std::move(batch));
//
// A batch has operations, each about one region and one buffer, each a list of
// extents. Extents of one operation are moved in order; operations in any
// order, also those of one batch: submit a second batch when the first is done
// where that matters.
#ifndef LANECALL_DMA_BATCH_H
#define LANECALL_DMA_BATCH_H

#include <lanecall/card.h>
#include <lanecall/card_buffer.h>
#include <lanecall/memory_region.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace lanecall {

// The reference in a call's arguments: lanecall::idl::RegionReference
// (idl/region.thrift), or a struct like it. What is negative there lies outside
// of every region.
template <typename Reference>
RegionReference regionOf(const Reference& reference) {
  return {static_cast<std::uint32_t>(reference.device),
          static_cast<std::uint64_t>(reference.key),
          static_cast<std::uint64_t>(reference.offset),
          static_cast<std::uint64_t>(reference.length)};
}

struct DmaExtent {
  std::uint64_t offset = 0;  // in what the reference names
  std::uint64_t bytes = 0;   // at least 1
  std::uint64_t card = 0;    // in the buffer; fill: not looked at
};

enum class DmaError : std::uint32_t {
  kNone = LANECALL_ERR_NONE,
  // The session with the device has ended: part of it may have been moved, and
  // may still be for a moment.
  kReset = LANECALL_ERR_RESET,
  // No region has that key (any more), or it may not be read, or written.
  kAccess = LANECALL_ERR_ACCESS,
  // The reference's key is right, but not all of it is in the region.
  kRange = LANECALL_ERR_RANGE,
  // Taken back meanwhile, or the client or its guest is gone.
  kRevoked = LANECALL_ERR_REVOKED,
  // Some of the region is not memory that the device can reach.
  kNotMemory = LANECALL_ERR_DMA,
  kResources = LANECALL_ERR_RESOURCES,  // the device ran out of something
};

// What it means, for people.
const char* explain(DmaError error);

struct DmaResult {
  std::size_t operation = 0;  // its place in the batch, from 0
  DmaError error = DmaError::kNone;
  // That were moved, from the first extent's beginning on. With an error: those
  // for certain; kReset: unknown, and 0.
  std::uint64_t bytes = 0;
};

// Of CardDevice::run().
class DmaFailure : public std::runtime_error {
 public:
  explicit DmaFailure(const DmaResult& result);
  const DmaResult& result() const { return result_; }

 private:
  DmaResult result_;
};

// One thread at a time. Moved, not copied.
class DmaBatch {
 public:
  struct Operation {
    std::uint32_t type = 0;  // LANECALL_DMA_*
    std::uint64_t key = 0;
    std::shared_ptr<const CardBuffer> buffer;  // null: fill
    std::size_t extents = 0;                   // how many
    std::uint64_t bytes = 0;                   // of all of them
  };

  DmaBatch() = default;
  DmaBatch(DmaBatch&&) = default;
  DmaBatch& operator=(DmaBatch&&) = default;

  // Each adds an operation, which holds the buffer until it is done, and
  // returns its place in the batch. Throw, and add nothing: std::out_of_range
  // for an extent that is empty, or not inside of reference and buffer;
  // std::invalid_argument without a buffer or without extents. Extents may
  // overlap, and be any number.

  // Region to buffer. Without extents: all of what the reference names, to the
  // buffer's beginning.
  std::size_t read(const RegionReference& from,
                   std::shared_ptr<const CardBuffer> into,
                   std::span<const DmaExtent> extents);
  std::size_t read(const RegionReference& from,
                   std::shared_ptr<const CardBuffer> into,
                   const DmaExtent& extent) {
    return read(from, std::move(into), std::span(&extent, 1));
  }
  std::size_t read(const RegionReference& from,
                   std::shared_ptr<const CardBuffer> into) {
    return read(from, std::move(into), DmaExtent{0, from.bytes, 0});
  }

  // Buffer to region.
  std::size_t write(const RegionReference& to,
                    std::shared_ptr<const CardBuffer> from,
                    std::span<const DmaExtent> extents);
  std::size_t write(const RegionReference& to,
                    std::shared_ptr<const CardBuffer> from,
                    const DmaExtent& extent) {
    return write(to, std::move(from), std::span(&extent, 1));
  }
  std::size_t write(const RegionReference& to,
                    std::shared_ptr<const CardBuffer> from) {
    return write(to, std::move(from), DmaExtent{0, to.bytes, 0});
  }

  // One byte's value all over it; needs no card memory.
  std::size_t fill(const RegionReference& what, std::uint8_t value,
                   std::span<const DmaExtent> extents);
  std::size_t fill(const RegionReference& what, std::uint8_t value,
                   const DmaExtent& extent) {
    return fill(what, value, std::span(&extent, 1));
  }
  std::size_t fill(const RegionReference& what, std::uint8_t value) {
    return fill(what, value, DmaExtent{0, what.bytes, 0});
  }

  std::size_t size() const { return operations_.size(); }
  bool empty() const { return operations_.empty(); }

  // For who makes a CardDevice: the operations, and the extents of all of them,
  // one after the other, as the device is to see them.
  const std::vector<Operation>& operations() const { return operations_; }
  const std::vector<lanecall_dma_extent>& extents() const { return extents_; }

 private:
  std::size_t add(Operation operation, const RegionReference& region,
                  std::uint64_t card, std::uint64_t cardBytes,
                  std::span<const DmaExtent> extents);

  std::vector<Operation> operations_;
  std::vector<lanecall_dma_extent> extents_;
};

}  // namespace lanecall

#endif
