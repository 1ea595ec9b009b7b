// SPDX-License-Identifier: Apache-2.0
//
// The memory of one shell: the sizes there are, and how it begins.
#ifndef LANECALL_SHELL_MEMORY_H
#define LANECALL_SHELL_MEMORY_H

#include <lanecall/mapping.h>
#include <lanecall/virtine_function.h>

#include <cstddef>

namespace lanecall {

inline constexpr std::size_t kShellBytesLeast = 64 << 10;
inline constexpr std::size_t kShellBytesMost = 16 << 20;

// The image, and zeroes above it. std::invalid_argument if bytes are no whole
// pages, not between the two above, or fewer than the image's;
// std::system_error if there is no memory.
Mapping shellMemory(const VirtineImage& image, std::size_t bytes);

}  // namespace lanecall

#endif
