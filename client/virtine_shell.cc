// SPDX-License-Identifier: Apache-2.0
#include "virtine_shell.h"

#include <lanecall/region_in_idl.h>

#include <cstring>
#include <exception>
#include <stdexcept>
#include <utility>

namespace lanecall {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Extent;
using virtine::Memory;

Memory sizeOf(std::span<const std::uint8_t> memory) {
  Memory size;
  size.__set_inlineSize(static_cast<std::int64_t>(memory.size()));
  return size;
}

bool is_answer_of(const CleanResult& result, std::size_t bytes) {
  return result.__isset.memory && result.memory.__isset.bytes &&
         result.memory.bytes.size() == bytes;
}

}  // namespace

std::shared_ptr<Lender> lenderFor(
    virtine::VirtineCleanupIf& client,
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport) {
  std::shared_ptr<Lender> lender = lenderOf(transport);
  if (!lender) return nullptr;
  virtine::Info info;
  client.info(info);
  return info.byReference ? lender : nullptr;
}

Memory memoryOf(const Region& region) {
  Memory memory;
  memory.__set_region(toIdl<idl::RegionReference>(region.reference()));
  return memory;
}

VirtineShell::VirtineShell(virtine::VirtineCleanupIf& client,
                           virtine::SnapshotId snapshot,
                           std::span<std::uint8_t> memory,
                           std::shared_ptr<Lender> lender)
    : client_(client), memory_(memory) {
  if (lender)
    region_ = Region(std::move(lender), memory.data(), memory.size(),
                     RegionAccess::kReadWrite);
  attachment_ = client_.attach(
      isByReference() ? memoryOf(region_) : sizeOf(memory), snapshot);
}

VirtineShell::~VirtineShell() {
  try {
    detach();
  } catch (const std::exception&) {
    // The server ends the attachment with the connection.
  }
}

void VirtineShell::detach() {
  if (!attached_) return;
  attached_ = false;
  client_.detach(attachment_);
}

VirtineShell::Cleaned VirtineShell::clean() {
  Extent whole;
  whole.offset = 0;
  whole.length = static_cast<std::int64_t>(memory_.size());
  CleanRequest request;
  request.attachment = attachment_;
  return isByReference() ? cleanThere(request) : exchange(request, {whole});
}

VirtineShell::Cleaned VirtineShell::clean(const std::vector<Extent>& dirty) {
  CleanRequest request;
  request.attachment = attachment_;
  request.__set_dirty(dirty);
  return isByReference() ? cleanThere(request) : exchange(request, dirty);
}

VirtineShell::Cleaned VirtineShell::cleanThere(const CleanRequest& request) {
  CleanResult result;
  client_.clean(result, request);
  region_.syncForCpu(0, region_.bytes());
  return {result.restored, result.zeroed};
}

VirtineShell::Cleaned VirtineShell::exchange(
    const CleanRequest& request, const std::vector<Extent>& extents) {
  CleanRequest filled = request;
  filled.__isset.memory = true;
  filled.memory.__isset.bytes = true;
  std::string& bytes = filled.memory.bytes;
  for (const Extent& e : extents) {
    auto part = memory_.subspan(e.offset, e.length);
    bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
  }
  CleanResult result;
  client_.clean(result, filled);
  if (!is_answer_of(result, bytes.size()))
    throw std::runtime_error(
        "the server's answer to clean() has another size than the request");
  std::size_t at = 0;
  for (const Extent& e : extents) {
    std::memcpy(memory_.data() + e.offset, result.memory.bytes.data() + at,
                e.length);
    at += e.length;
  }
  return {result.restored, result.zeroed};
}

}  // namespace lanecall
