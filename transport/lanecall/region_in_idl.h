// SPDX-License-Identifier: Apache-2.0
//
// A reference to lent memory (lanecall/memory_region.h) as calls have it.
#ifndef LANECALL_REGION_IN_IDL_H
#define LANECALL_REGION_IN_IDL_H

#include <lanecall/memory_region.h>

#include <cstdint>

namespace lanecall {

// As lanecall::idl::RegionReference (idl/region.thrift), or a struct like it:
//   client.scaleRegion(toIdl<idl::RegionReference>(region.reference()), ...);
template <typename Reference>
Reference toIdl(const RegionReference& reference) {
  Reference named;
  named.device = static_cast<std::int32_t>(reference.device);
  named.key = static_cast<std::int64_t>(reference.key);
  named.offset = static_cast<std::int64_t>(reference.offset);
  named.length = static_cast<std::int64_t>(reference.bytes);
  return named;
}

}  // namespace lanecall

#endif
