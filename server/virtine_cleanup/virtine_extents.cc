// SPDX-License-Identifier: Apache-2.0
#include "virtine_extents.h"

#include <algorithm>
#include <numeric>

namespace lanecall {
namespace {

using virtine::BadExtent;
using virtine::Extent;
using virtine::ExtentFault;

bool is_without_bytes(const Extent& e) { return e.offset < 0 || e.length <= 0; }

bool is_overflowing(const Extent& e) {
  std::int64_t end;
  return __builtin_add_overflow(e.offset, e.length, &end);
}

bool is_outside(const Extent& e, std::int64_t bytes) {
  return e.offset + e.length > bytes;
}

[[noreturn]] void reject(ExtentFault::type fault, std::size_t index,
                         const Extent& extent) {
  BadExtent error;
  error.fault = fault;
  error.index = static_cast<std::int32_t>(index);
  error.extent = extent;
  throw error;
}

}  // namespace

std::int64_t checkExtents(const std::vector<Extent>& extents,
                          std::int64_t memoryBytes) {
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Extent& e = extents[i];
    if (is_without_bytes(e)) reject(ExtentFault::EMPTY, i, e);
    if (is_overflowing(e)) reject(ExtentFault::OVERFLOW, i, e);
    if (is_outside(e, memoryBytes)) reject(ExtentFault::OUTSIDE, i, e);
  }
  std::vector<std::size_t> order(extents.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return extents[a].offset < extents[b].offset;
  });
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Extent& e = extents[order[i]];
    covered += e.length;  // of bytes not shared: at most memoryBytes
    if (i == 0) continue;
    const Extent& before = extents[order[i - 1]];
    if (before.offset + before.length > e.offset)
      reject(ExtentFault::OVERLAP, order[i], e);
  }
  return covered;
}

}  // namespace lanecall
