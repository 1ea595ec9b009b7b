// SPDX-License-Identifier: Apache-2.0
#include <endian.h>
#include <lanecall/dma_batch.h>
#include <lanecall/region.h>

#include <algorithm>
#include <utility>

namespace lanecall {
namespace {

// Sums of extents' bytes must not wrap; no memory is that large.
constexpr std::uint64_t kBytesMost = std::uint64_t{1} << 62;

std::string describe(const DmaExtent& extent) {
  return std::to_string(extent.bytes) + " bytes from " +
         std::to_string(extent.offset) + " on";
}

void checkExtent(const DmaExtent& extent, const RegionReference& region,
                 bool hasCard, std::uint64_t cardBytes) {
  if (extent.bytes == 0)
    throw std::out_of_range("an extent of DMA without bytes");
  if (!lanecall_is_valid_span(extent.offset, extent.bytes, region.bytes))
    throw std::out_of_range("a reference to " + std::to_string(region.bytes) +
                            " bytes has no " + describe(extent));
  if (hasCard && !lanecall_is_valid_span(extent.card, extent.bytes, cardBytes))
    throw std::out_of_range("a buffer of " + std::to_string(cardBytes) +
                            " bytes has no " + std::to_string(extent.bytes) +
                            " bytes from " + std::to_string(extent.card) +
                            " on");
}

}  // namespace

const char* explain(DmaError error) {
  switch (error) {
    case DmaError::kNone:
      return "all is moved";
    case DmaError::kReset:
      return "the session with the device has ended; the client has to connect "
             "again";
    case DmaError::kAccess:
      return "no region has that key, or it may not be read or written so; the "
             "client has to lend the memory to the device it calls through, "
             "for as long as the call takes";
    case DmaError::kRange:
      return "the reference reaches beyond the region";
    case DmaError::kRevoked:
      return "the memory was taken back meanwhile";
    case DmaError::kNotMemory:
      return "some of the region is not memory that the device can reach";
    case DmaError::kResources:
      return "the device ran out of something; see QEMU's log";
  }
  return "an unknown error";
}

DmaFailure::DmaFailure(const DmaResult& result)
    : std::runtime_error("DMA operation " + std::to_string(result.operation) +
                         " failed after " + std::to_string(result.bytes) +
                         " bytes: " + explain(result.error)),
      result_(result) {}

std::size_t DmaBatch::read(const RegionReference& from,
                           std::shared_ptr<const CardBuffer> into,
                           std::span<const DmaExtent> extents) {
  if (!into) throw std::invalid_argument("DMA without a buffer");
  const CardBuffer& buffer = *into;
  return add({LANECALL_DMA_READ, from.key, std::move(into)}, from,
             buffer.offset(), buffer.bytes(), extents);
}

std::size_t DmaBatch::write(const RegionReference& to,
                            std::shared_ptr<const CardBuffer> from,
                            std::span<const DmaExtent> extents) {
  if (!from) throw std::invalid_argument("DMA without a buffer");
  const CardBuffer& buffer = *from;
  return add({LANECALL_DMA_WRITE, to.key, std::move(from)}, to, buffer.offset(),
             buffer.bytes(), extents);
}

std::size_t DmaBatch::fill(const RegionReference& what, std::uint8_t value,
                           std::span<const DmaExtent> extents) {
  return add({LANECALL_DMA_FILL, what.key, nullptr}, what, value, 0, extents);
}

// card: where the buffer lies in card memory; of a fill the byte.
std::size_t DmaBatch::add(Operation operation, const RegionReference& region,
                          std::uint64_t card, std::uint64_t cardBytes,
                          std::span<const DmaExtent> extents) {
  if (extents.empty()) throw std::invalid_argument("DMA without extents");
  const bool hasCard = operation.buffer != nullptr;
  for (const DmaExtent& extent : extents) {
    checkExtent(extent, region, hasCard, cardBytes);
    if (extent.bytes > kBytesMost - operation.bytes)
      throw std::out_of_range("DMA of more bytes than any memory has");
    operation.bytes += extent.bytes;
  }
  if (region.bytes > ~region.offset)
    throw std::out_of_range("a reference that reaches beyond all memory");
  operation.extents = extents.size();

  const std::size_t needed = extents_.size() + extents.size();
  if (needed > extents_.capacity())  // so that the last loop does not throw
    extents_.reserve(std::max(needed, 2 * extents_.capacity()));
  operations_.push_back(std::move(operation));
  for (const DmaExtent& extent : extents)
    extents_.push_back({htole64(region.offset + extent.offset),
                        htole64(hasCard ? card + extent.card : card),
                        htole64(extent.bytes)});
  return operations_.size() - 1;
}

}  // namespace lanecall
