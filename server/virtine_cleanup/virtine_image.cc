// SPDX-License-Identifier: Apache-2.0
#include "virtine_image.h"

#include <xxhash.h>

#include <cstring>

namespace lanecall {

std::int64_t checksumOf(std::string_view bytes) {
  return static_cast<std::int64_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

std::shared_ptr<const CardBuffer> VirtineImage::on(CardDevice& device) const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(copies_, [](const auto& copy) { return copy.expired(); });
  for (const auto& copy : copies_)
    if (auto held = copy.lock(); held && device.owns(*held)) return held;
  auto made = device.allocate(bytes_.size());
  std::memcpy(made->data(), bytes_.data(), bytes_.size());
  copies_.push_back(made);
  return made;
}

}  // namespace lanecall
