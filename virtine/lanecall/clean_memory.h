// SPDX-License-Identifier: Apache-2.0
//
// What is dirty in a virtine's memory, and putting it back to an image without
// anybody's help.
#ifndef LANECALL_CLEAN_MEMORY_H
#define LANECALL_CLEAN_MEMORY_H

#include <virtine/virtine_types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lanecall {

// The extent that is all of the memory.
virtine::Extent wholeMemory(std::size_t bytes);

// Throws std::invalid_argument unless every extent is at least a byte, inside
// the memory, and shares none with another. In rising order they cost no more
// than a look at each.
void checkDirtyExtents(const std::vector<virtine::Extent>& dirty,
                       std::size_t memoryBytes);

// For extents that were checked: how many bytes come from an image of so many
// bytes, and how many are above it.
struct DirtyBytes {
  std::int64_t inImage = 0;
  std::int64_t above = 0;
  std::int64_t total() const { return inImage + above; }
};
DirtyBytes countDirtyBytes(const std::vector<virtine::Extent>& dirty,
                           std::size_t imageBytes);

// Likewise: writes the image's bytes, and zeroes above it.
void cleanMemory(std::span<std::uint8_t> memory,
                 std::span<const std::uint8_t> image,
                 const std::vector<virtine::Extent>& dirty);

}  // namespace lanecall

#endif
