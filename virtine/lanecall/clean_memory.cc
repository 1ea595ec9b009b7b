// SPDX-License-Identifier: Apache-2.0
#include <lanecall/clean_memory.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

namespace lanecall {
namespace {

using virtine::Extent;

std::string name(const Extent& extent) {
  return "the dirty extent of " + std::to_string(extent.length) +
         " bytes from " + std::to_string(extent.offset) + " on";
}

bool is_inside(const Extent& extent, std::size_t memoryBytes) {
  const auto bytes = static_cast<std::int64_t>(memoryBytes);
  return extent.length > 0 && extent.offset >= 0 && extent.offset < bytes &&
         extent.length <= bytes - extent.offset;
}

bool begins_earlier(const Extent& a, const Extent& b) {
  return a.offset < b.offset;
}

// Of those that are inside, and in rising order.
void checkApart(const std::vector<Extent>& extents) {
  for (std::size_t i = 1; i < extents.size(); ++i)
    if (extents[i].offset < extents[i - 1].offset + extents[i - 1].length)
      throw std::invalid_argument(name(extents[i]) +
                                  " overlaps another one; name each byte once");
}

// How many of its bytes the image has.
std::int64_t bytesInImage(const Extent& extent, std::size_t imageBytes) {
  return std::clamp<std::int64_t>(
      static_cast<std::int64_t>(imageBytes) - extent.offset, 0, extent.length);
}

}  // namespace

Extent wholeMemory(std::size_t bytes) {
  Extent extent;
  extent.offset = 0;
  extent.length = static_cast<std::int64_t>(bytes);
  return extent;
}

void checkDirtyExtents(const std::vector<Extent>& dirty,
                       std::size_t memoryBytes) {
  for (const Extent& extent : dirty)
    if (!is_inside(extent, memoryBytes))
      throw std::invalid_argument(
          name(extent) + " is empty or not inside the memory's " +
          std::to_string(memoryBytes) + " bytes; name bytes of the memory");
  if (std::is_sorted(dirty.begin(), dirty.end(), begins_earlier))
    return checkApart(dirty);
  std::vector<Extent> rising = dirty;
  std::sort(rising.begin(), rising.end(), begins_earlier);
  checkApart(rising);
}

DirtyBytes countDirtyBytes(const std::vector<Extent>& dirty,
                           std::size_t imageBytes) {
  DirtyBytes count;
  for (const Extent& extent : dirty) {
    const std::int64_t inImage = bytesInImage(extent, imageBytes);
    count.inImage += inImage;
    count.above += extent.length - inImage;
  }
  return count;
}

void cleanMemory(std::span<std::uint8_t> memory,
                 std::span<const std::uint8_t> image,
                 const std::vector<Extent>& dirty) {
  for (const Extent& extent : dirty) {
    const std::int64_t inImage = bytesInImage(extent, image.size());
    std::uint8_t* to = memory.data() + extent.offset;
    if (inImage) std::memcpy(to, image.data() + extent.offset, inImage);
    if (inImage < extent.length)
      std::memset(to + inImage, 0, extent.length - inImage);
  }
}

}  // namespace lanecall
