// SPDX-License-Identifier: Apache-2.0
#include <lanecall/cleaning_link.h>
#include <lanecall/region_in_idl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <system_error>

namespace lanecall {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Completion;
using virtine::Extent;
using virtine::Memory;

// Bytes of shells in one message, unless one alone has more: far below the
// limit of messages, which is known only for one of the two sides.
constexpr std::size_t kInlineBytesPerCall = 16 << 20;
// A list of so many is below every limit of containers.
constexpr std::size_t kMostPerCall = 4096;

Memory lentMemory(const Region& region) {
  Memory memory;
  memory.__set_region(toIdl<idl::RegionReference>(region.reference()));
  return memory;
}

Memory inlineMemory(std::size_t bytes) {
  Memory memory;
  memory.__set_inlineSize(static_cast<std::int64_t>(bytes));
  return memory;
}

std::string bytesOf(PooledShell& shell) {
  std::string bytes;
  bytes.reserve(shell.dirtyBytes().total());
  for (const Extent& extent : shell.dirty())
    bytes.append(
        reinterpret_cast<const char*>(shell.memory().data()) + extent.offset,
        extent.length);
  return bytes;
}

void copyInto(PooledShell& shell, const std::string& bytes) {
  const char* from = bytes.data();
  for (const Extent& extent : shell.dirty()) {
    std::memcpy(shell.memory().data() + extent.offset, from, extent.length);
    from += extent.length;
  }
}

// From the first dirty byte to the last. What lies between is the same on both
// sides: only memory that is dirty was written since it was last clean.
struct Span {
  std::size_t offset;
  std::size_t bytes;
};
Span dirtySpan(const PooledShell& shell) {
  std::int64_t from = std::numeric_limits<std::int64_t>::max();
  std::int64_t to = 0;
  for (const Extent& extent : shell.dirty()) {
    from = std::min(from, extent.offset);
    to = std::max(to, extent.offset + extent.length);
  }
  return {static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)};
}

const char* name(virtine::CleanFault::type fault) {
  switch (fault) {
    case virtine::CleanFault::DMA:
      return "some of the memory could not be reached";
    case virtine::CleanFault::REVOKED:
      return "its memory is no longer lent";
    case virtine::CleanFault::DEVICE_LOST:
      return "the device was reset or is gone";
    case virtine::CleanFault::CANCELLED:
      return "it was cancelled";
    case virtine::CleanFault::VERIFY:
      return "what was read back is not what was written";
  }
  return "a fault that is not known here";
}

std::string inWords(const virtine::CleanFailed& failure) {
  return std::string(name(failure.fault)) + " (" + failure.reason + ")";
}

bool counts_match(const CleanResult& result, const DirtyBytes& dirty) {
  return result.restored == dirty.inImage && result.zeroed == dirty.above;
}

bool shape_matches(const CleanResult& result, const PooledShell& shell) {
  if (shell.attachment->region.isLent()) return !result.__isset.memory;
  return result.__isset.memory && result.memory.__isset.bytes &&
         result.memory.bytes.size() ==
             static_cast<std::size_t>(shell.dirtyBytes().total());
}

// Runs a call to the service; its typed exceptions become CleaningRefused.
template <typename Call>
auto refusable(const std::string& what, Call&& call) {
  auto refused = [&](const std::string& why) -> CleaningRefused {
    return CleaningRefused("the service refused to " + what + ": " + why);
  };
  try {
    return call();
  } catch (const virtine::QuotaExceeded& error) {
    throw refused("its limit on the " + error.reason + " is " +
                  std::to_string(error.limit) +
                  "; use fewer or smaller shells, or raise it");
  } catch (const virtine::OutOfCardMemory& error) {
    throw refused("the snapshot's " + std::to_string(error.bytes) +
                  " bytes do not fit into the " + std::to_string(error.free) +
                  " that are free on the card; drop others");
  } catch (const virtine::BadMemory& error) {
    throw refused(error.reason);
  } catch (const virtine::BadExtent& error) {
    throw refused("it holds extent " + std::to_string(error.index) +
                  " of request " + std::to_string(error.request) +
                  " for wrong; is it of this version?");
  } catch (const virtine::CleanFailed& error) {
    throw refused(inWords(error));
  }
}

}  // namespace

CleaningLink::CleaningLink(std::uint64_t number, VirtineService service,
                           const std::shared_ptr<const ImageBytes>& image,
                           std::size_t memoryBytes, bool verify)
    : number_(number), service_(std::move(service)), verify_(verify) {
  virtine::Info info;
  service_.client->info(info);
  byReference_ = info.byReference && service_.lender;
  mostTickets_ = info.maxTickets > 0 ? info.maxTickets : kMostPerCall;
  perCall_ = byReference_
                 ? kMostPerCall
                 : std::clamp<std::size_t>(kInlineBytesPerCall / memoryBytes, 1,
                                           kMostPerCall);
  Region lent;
  Memory memory;
  if (byReference_) {
    const ImageBytes& bytes = *image;
    lent = Region(service_.lender, bytes.data(), bytes.size());
    memory = lentMemory(lent);
  } else {
    memory.__set_bytes(std::string(image->begin(), image->end()));
  }
  virtine::Snapshot snapshot;
  refusable("register the image", [&] {
    service_.client->registerSnapshot(snapshot, memory, false);
  });
  snapshot_ = snapshot.id;
}

std::size_t CleaningLink::roomFor(std::size_t outstanding) const {
  return outstanding < mostTickets_
             ? std::min(perCall_, mostTickets_ - outstanding)
             : 0;
}

void CleaningLink::attach(PooledShell& shell) {
  if (shell.attachment && shell.attachment->link == number_) return;
  letGo(shell);
  if (shell.isGivenUp)
    throw CleaningRefused("the device did not give a shell's memory back");
  ShellAttachment made;
  made.link = number_;
  Memory memory = inlineMemory(shell.memory().size());
  if (byReference_) {
    try {
      made.region =
          Region(service_.lender, shell.memory().data(), shell.memory().size(),
                 verify_ ? RegionAccess::kReadWrite : RegionAccess::kWrite);
    } catch (const std::system_error& error) {
      throw CleaningRefused(error.what());
    }
    memory = lentMemory(made.region);
  }
  made.id = refusable("attach a shell", [&] {
    return service_.client->attach(memory, snapshot_);
  });
  shell.attachment = std::move(made);
}

void CleaningLink::detach(PooledShell& shell) {
  if (!shell.attachment) return;
  const ShellAttachment& was = *shell.attachment;
  const virtine::AttachmentId id = was.id;
  const bool here = was.link == number_;
  letGo(shell);
  if (here) service_.client->detach(id);
}

CleanRequest CleaningLink::requestFor(PooledShell& shell) const {
  CleanRequest request;
  request.attachment = shell.attachment->id;
  if (!shell.isAllDirty()) request.__set_dirty(shell.dirty());
  if (verify_) request.__set_verify(true);
  const Region& region = shell.attachment->region;
  if (region.isLent()) {
    const Span span = dirtySpan(shell);
    region.syncForDevice(span.offset, span.bytes);
  } else {
    request.__isset.memory = true;
    request.memory.__set_bytes(bytesOf(shell));
  }
  return request;
}

std::vector<virtine::Ticket> CleaningLink::submit(
    const std::vector<std::unique_ptr<PooledShell>>& shells) {
  std::vector<CleanRequest> requests;
  requests.reserve(shells.size());
  for (const auto& shell : shells) requests.push_back(requestFor(*shell));
  std::vector<virtine::Ticket> tickets;
  refusable("clean shells",
            [&] { service_.client->submit(tickets, requests); });
  if (tickets.size() != shells.size())
    throw std::runtime_error("the service gave " +
                             std::to_string(tickets.size()) + " tickets for " +
                             std::to_string(shells.size()) + " shells");
  return tickets;
}

std::vector<Completion> CleaningLink::reap(std::size_t atLeast,
                                           std::size_t atMost, int timeoutMs) {
  std::vector<Completion> completions;
  service_.client->reap(completions, static_cast<std::int32_t>(atLeast),
                        static_cast<std::int32_t>(atMost), timeoutMs);
  return completions;
}

std::string CleaningLink::accept(PooledShell& shell,
                                 const Completion& completion) {
  if (completion.__isset.failure) return inWords(completion.failure);
  if (!completion.__isset.result)
    return "the service does not say how it ended";
  const CleanResult& result = completion.result;
  if (!counts_match(result, shell.dirtyBytes()))
    return "the service cleaned other bytes than it was told";
  if (!shape_matches(result, shell))
    return "the service gave memory back in another shape";
  const Region& region = shell.attachment->region;
  if (region.isLent()) {
    const Span span = dirtySpan(shell);
    try {
      region.syncForCpu(span.offset, span.bytes);
    } catch (const std::system_error& error) {
      return error.what();
    }
  } else {
    copyInto(shell, result.memory.bytes);
  }
  shell.setClean();
  return {};
}

void letGo(PooledShell& shell) noexcept {
  if (!shell.attachment) return;
  try {
    shell.attachment->region.takeBack();
  } catch (const std::system_error&) {
    shell.isGivenUp = true;
  }
  shell.attachment.reset();
}

}  // namespace lanecall
