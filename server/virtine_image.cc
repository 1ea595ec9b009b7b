// SPDX-License-Identifier: Apache-2.0
#include "virtine_image.h"

#include <xxhash.h>

namespace lanecall {

std::int64_t checksumOf(std::string_view bytes) {
  return static_cast<std::int64_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace lanecall
