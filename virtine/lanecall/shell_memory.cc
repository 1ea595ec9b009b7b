// SPDX-License-Identifier: Apache-2.0
#include <lanecall/shell_memory.h>
#include <lanecall/virtine_function_abi.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <system_error>

namespace lanecall {
namespace {

static_assert(kShellBytesLeast == LANECALL_VIRTINE_STACK,
              "every memory has room for the stack");

void check(const VirtineImage& image, std::size_t bytes) {
  const std::string name = "a shell of " + std::to_string(bytes) + " bytes";
  if (bytes < kShellBytesLeast || bytes > kShellBytesMost)
    throw std::invalid_argument(name + ": choose from " +
                                std::to_string(kShellBytesLeast) + " to " +
                                std::to_string(kShellBytesMost));
  if (bytes % LANECALL_PAGE_BYTES)
    throw std::invalid_argument(name + " is no multiple of a page's " +
                                std::to_string(LANECALL_PAGE_BYTES));
  if (image.bytes.size() > bytes)
    throw std::invalid_argument(name + " has no room for an image of " +
                                std::to_string(image.bytes.size()));
}

// From here on it is worth a huge page of its own: lent to a device, scattered
// pages are told, mapped and copied one by one, and that takes longer than
// their bytes.
constexpr std::size_t kHugeFrom = 1 << 20;

}  // namespace

Mapping shellMemory(const VirtineImage& image, std::size_t bytes) {
  check(image, bytes);
  Mapping memory;
  if (int error =
          bytes < kHugeFrom ? memory.mapMemory(bytes) : memory.mapHuge(bytes))
    throw std::system_error(-error, std::generic_category(),
                            "no memory for a shell of " +
                                std::to_string(bytes) +
                                " bytes; use fewer or smaller ones");
  std::copy(image.bytes.begin(), image.bytes.end(), memory.data());
  return memory;
}

}  // namespace lanecall
