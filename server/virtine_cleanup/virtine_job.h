// SPDX-License-Identifier: Apache-2.0
//
// A clean request that was checked, and its carrying out where the memory
// travels in messages.
#ifndef LANECALL_SERVER_VIRTINE_JOB_H
#define LANECALL_SERVER_VIRTINE_JOB_H

#include <virtine/virtine_types.h>

#include <cstdint>
#include <vector>

#include "virtine_store.h"

namespace lanecall {

// The bytes that came with the request are not kept: what a virtine looks like
// when it is clean does not depend on them.
struct CleanJob {
  VirtineAttachmentPtr attachment;
  std::vector<virtine::Extent> extents;  // in the order listed
  std::int64_t bytes = 0;                // of all extents
  bool verify = false;

  bool isByReference() const { return attachment->target != nullptr; }
};

// Throws virtine::BadExtent or virtine::BadMemory.
CleanJob checkedJob(const virtine::CleanRequest& request,
                    VirtineAttachmentPtr attachment);

virtine::CleanResult cleanInline(const CleanJob& job);

virtine::CleanFailed cleanFailed(virtine::CleanFault::type fault,
                                 const std::string& reason);

// Of jobs that did not begin.
virtine::CleanFailed cancelled();

}  // namespace lanecall

#endif
