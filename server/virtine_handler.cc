// SPDX-License-Identifier: Apache-2.0
#include "virtine_handler.h"

#include <algorithm>

#include "call_log.h"
#include "virtine_extents.h"

namespace lanecall {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Extent;
using virtine::Memory;

[[noreturn]] void badMemory(const std::string& reason) {
  virtine::BadMemory error;
  error.reason = reason;
  throw error;
}

bool is_inline(const Memory& m) {
  return m.__isset.bytes && !m.__isset.inlineSize;
}

bool is_size_only(const Memory& m) {
  return m.__isset.inlineSize && !m.__isset.bytes && m.inlineSize > 0;
}

// Appends what an extent looks like when clean: the snapshot's bytes, and
// zeroes above it.
void appendClean(const Extent& extent, const std::string& image,
                 CleanResult& result) {
  const auto imageBytes = static_cast<std::int64_t>(image.size());
  const std::int64_t restored =
      std::clamp<std::int64_t>(imageBytes - extent.offset, 0, extent.length);
  std::string& bytes = result.memory.bytes;
  if (restored > 0) bytes.append(image, extent.offset, restored);
  bytes.append(extent.length - restored, '\0');
  result.restored += restored;
  result.zeroed += extent.length - restored;
}

void cleanInto(CleanResult& result, const CleanRequest& request,
               const VirtineStore::Attached& attached) {
  const std::vector<Extent>* extents = &request.dirty;
  std::vector<Extent> whole(1);
  whole[0].offset = 0;
  whole[0].length = attached.memoryBytes;
  if (!request.__isset.dirty) extents = &whole;
  const std::int64_t bytes = checkExtents(*extents, attached.memoryBytes);
  if (!request.__isset.memory || !is_inline(request.memory))
    badMemory("a virtine attached by inlineSize is cleaned inline");
  if (static_cast<std::int64_t>(request.memory.bytes.size()) != bytes)
    badMemory(std::to_string(request.memory.bytes.size()) +
              " bytes came where " + std::to_string(bytes) +
              " are to be cleaned");
  result.restored = result.zeroed = 0;
  result.__isset.memory = true;
  result.memory.__isset.bytes = true;
  result.memory.bytes.clear();
  result.memory.bytes.reserve(bytes);
  for (const Extent& extent : *extents)
    appendClean(extent, *attached.image, result);
}

}  // namespace

virtine::SnapshotId VirtineHandler::registerSnapshot(const Memory& image) {
  if (!is_inline(image)) badMemory("a snapshot comes as bytes");
  auto id = store_->add(this, image.bytes);
  logCall("registerSnapshot(" + std::to_string(image.bytes.size()) + " bytes)");
  return id;
}

void VirtineHandler::dropSnapshot(const virtine::SnapshotId snapshot) {
  store_->drop(snapshot);
  logCall("dropSnapshot()");
}

virtine::AttachmentId VirtineHandler::attach(
    const Memory& memory, const virtine::SnapshotId snapshot) {
  if (!is_size_only(memory))
    badMemory("memory is attached by its inlineSize, above 0");
  auto id = store_->attach(this, memory.inlineSize, snapshot);
  logCall("attach(" + std::to_string(memory.inlineSize) + " bytes)");
  return id;
}

void VirtineHandler::detach(const virtine::AttachmentId attachment) {
  store_->detach(attachment);
  logCall("detach()");
}

void VirtineHandler::clean(CleanResult& result, const CleanRequest& request) {
  try {
    cleanInto(result, request, store_->find(request.attachment));
  } catch (...) {
    store_->countFailure();
    throw;
  }
  store_->countClean(result.restored, result.zeroed);
  logCall("clean(" +
          (request.__isset.dirty
               ? std::to_string(request.dirty.size()) + " extents"
               : std::string("all")) +
          ") => " + std::to_string(result.restored) + " restored, " +
          std::to_string(result.zeroed) + " zeroed");
}

void VirtineHandler::stats(virtine::Stats& result) {
  result = store_->stats();
  logCall("stats()");
}

}  // namespace lanecall
