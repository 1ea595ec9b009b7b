// SPDX-License-Identifier: Apache-2.0
//
// Checks on the extents of a client's clean request: nothing of them is
// trusted.
#ifndef LANECALL_SERVER_VIRTINE_EXTENTS_H
#define LANECALL_SERVER_VIRTINE_EXTENTS_H

#include <virtine/virtine_types.h>

#include <cstdint>
#include <vector>

namespace lanecall {

// Throws virtine::BadExtent, naming the first bad extent of the list, unless
// all are of at least one byte, lie within 0..memoryBytes and share none.
// Returns how many bytes they cover together.
std::int64_t checkExtents(const std::vector<virtine::Extent>& extents,
                          std::int64_t memoryBytes);

}  // namespace lanecall

#endif
