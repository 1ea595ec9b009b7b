// SPDX-License-Identifier: Apache-2.0
#include "virtine_job.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "virtine_errors.h"
#include "virtine_extents.h"

namespace lanecall {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Extent;
using virtine::Memory;

bool is_inline(const Memory& m) {
  return m.__isset.bytes && !m.__isset.inlineSize && !m.__isset.region;
}

Extent whole(std::int64_t bytes) {
  Extent extent;
  extent.offset = 0;
  extent.length = bytes;
  return extent;
}

void checkInlineMemory(const CleanRequest& request, std::int64_t bytes) {
  if (!request.__isset.memory || !is_inline(request.memory))
    throwBadMemory("a virtine attached by inlineSize is cleaned inline");
  if (static_cast<std::int64_t>(request.memory.bytes.size()) != bytes)
    throwBadMemory(std::to_string(request.memory.bytes.size()) +
                   " bytes came where " + std::to_string(bytes) +
                   " are to be cleaned");
}

// Appends what an extent looks like when clean: the snapshot's bytes, and
// zeroes above it.
void appendClean(const Extent& extent, const VirtineImage& image,
                 CleanResult& result) {
  const std::int64_t restored =
      std::clamp<std::int64_t>(image.size() - extent.offset, 0, extent.length);
  std::string& bytes = result.memory.bytes;
  if (restored > 0) bytes.append(image.bytes(), extent.offset, restored);
  bytes.append(extent.length - restored, '\0');
  result.restored += restored;
  result.zeroed += extent.length - restored;
}

}  // namespace

CleanJob checkedJob(const CleanRequest& request,
                    VirtineAttachmentPtr attachment) {
  CleanJob job;
  job.attachment = std::move(attachment);
  job.verify = request.__isset.verify && request.verify;
  if (request.__isset.dirty)
    job.extents = request.dirty;
  else
    job.extents.push_back(whole(job.attachment->memoryBytes));
  job.bytes = checkExtents(job.extents, job.attachment->memoryBytes);
  if (!job.isByReference())
    checkInlineMemory(request, job.bytes);
  else if (request.__isset.memory)
    throwBadMemory("a virtine attached by reference is cleaned where it is");
  return job;
}

CleanResult cleanInline(const CleanJob& job) {
  CleanResult result;
  result.restored = result.zeroed = 0;
  result.__isset.memory = true;
  result.memory.__isset.bytes = true;
  result.memory.bytes.reserve(job.bytes);
  for (const Extent& extent : job.extents)
    appendClean(extent, *job.attachment->image, result);
  if (job.verify) result.__set_checksum(checksumOf(result.memory.bytes));
  return result;
}

virtine::CleanFailed cleanFailed(virtine::CleanFault::type fault,
                                 const std::string& reason) {
  virtine::CleanFailed failed;
  failed.fault = fault;
  failed.reason = reason;
  return failed;
}

virtine::CleanFailed cancelled() {
  return cleanFailed(virtine::CleanFault::CANCELLED,
                     "cancelled before it began; nothing was written");
}

}  // namespace lanecall
