// SPDX-License-Identifier: Apache-2.0
#include "cleaner.h"

#include <lanecall/memory_region.h>
#include <virtine/VirtineCleanup.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "transports.h"

namespace lanecall::bench {
namespace {

using virtine::CleanRequest;
using virtine::CleanResult;
using virtine::Completion;
using virtine::Extent;
using virtine::Memory;

class MemcpyCleaner : public Cleaner {
 public:
  explicit MemcpyCleaner(Shells& shells) : shells_(shells) {}

  void clean() override {
    for (std::size_t i = 0; i < shells_.count(); ++i)
      for (const Extent& extent : shells_.dirty())
        std::memcpy(shells_.memory(i).data() + extent.offset,
                    shells_.snapshot().data() + extent.offset, extent.length);
  }

 private:
  Shells& shells_;
};

// Has the service clean them, in one call if there is only one.
class ServiceCleaner : public Cleaner {
 public:
  explicit ServiceCleaner(std::unique_ptr<virtine::VirtineCleanupIf> client)
      : client_(std::move(client)) {}

  // So that the server has let go of everything when the next slice begins; at
  // the connection's end it may take a moment.
  ~ServiceCleaner() override {
    try {
      for (const CleanRequest& request : requests_)
        client_->detach(request.attachment);
      client_->dropSnapshot(snapshot_);
    } catch (const std::exception&) {
      // The connection is lost: the server lets go by itself.
    }
  }

  void clean() override {
    beforeCleaning(requests_);
    if (requests_.size() == 1) {
      results_.resize(1);
      client_->clean(results_[0], requests_[0]);
    } else {
      submitAndReap();
    }
    afterCleaning(results_);
  }

 protected:
  void registerSnapshot(const Memory& image) {
    virtine::Snapshot snapshot;
    client_->registerSnapshot(snapshot, image, /* keep */ false);
    snapshot_ = snapshot.id;
  }

  void attach(const Memory& memory, Shells& shells) {
    CleanRequest request;
    request.attachment = client_->attach(memory, snapshot_);
    if (!shells.isAllDirty()) request.__set_dirty(shells.dirty());
    requests_.push_back(request);
  }

  virtual void beforeCleaning(std::vector<CleanRequest>&) {}
  virtual void afterCleaning(std::vector<CleanResult>&) {}

 private:
  void submitAndReap() {
    std::vector<virtine::Ticket> tickets;
    client_->submit(tickets, requests_);
    const auto batch = static_cast<std::int32_t>(requests_.size());
    std::vector<Completion> completions;
    client_->reap(completions, batch, batch, kTimeoutMs);
    if (completions.size() != requests_.size())
      throw std::runtime_error("not all cleans of a batch were done in " +
                               std::to_string(kTimeoutMs / 1000) + " s: only " +
                               std::to_string(completions.size()) + " of " +
                               std::to_string(batch));
    takeResults(tickets, completions);
  }

  // In the order of the requests.
  void takeResults(const std::vector<virtine::Ticket>& tickets,
                   std::vector<Completion>& completions) {
    results_.resize(completions.size());
    for (std::size_t i = 0; i < tickets.size(); ++i) {
      auto at = completions.begin() + static_cast<std::ptrdiff_t>(i);
      if (at->ticket != tickets[i])
        at = std::find_if(
            completions.begin(), completions.end(),
            [&](const Completion& each) { return each.ticket == tickets[i]; });
      if (at == completions.end())
        throw std::runtime_error("a ticket was not completed");
      if (!at->__isset.result)
        throw std::runtime_error("not cleaned: " + at->failure.reason);
      results_[i] = std::move(at->result);
    }
  }

  const std::unique_ptr<virtine::VirtineCleanupIf> client_;
  virtine::SnapshotId snapshot_ = 0;
  std::vector<CleanRequest> requests_;
  std::vector<CleanResult> results_;
};

class ReferenceCleaner : public ServiceCleaner {
 public:
  ReferenceCleaner(std::unique_ptr<virtine::VirtineCleanupIf> client,
                   const std::shared_ptr<Lender>& lender, Shells& shells)
      : ServiceCleaner(std::move(client)) {
    const auto snapshot = shells.snapshot();
    registerSnapshot(lent(Region(lender, snapshot.data(), snapshot.size())));
    for (std::size_t i = 0; i < shells.count(); ++i) {
      const auto memory = shells.memory(i);
      attach(lent(Region(lender, memory.data(), memory.size(),
                         RegionAccess::kWrite)),
             shells);
    }
  }

 private:
  Memory lent(Region region) {
    const RegionReference reference = region.reference();
    Memory memory;
    memory.__isset.region = true;
    memory.region.device = static_cast<std::int32_t>(reference.device);
    memory.region.key = static_cast<std::int64_t>(reference.key);
    memory.region.offset = static_cast<std::int64_t>(reference.offset);
    memory.region.length = static_cast<std::int64_t>(reference.bytes);
    regions_.push_back(std::move(region));
    return memory;
  }

  std::vector<Region> regions_;
};

class InlineCleaner : public ServiceCleaner {
 public:
  InlineCleaner(std::unique_ptr<virtine::VirtineCleanupIf> client,
                Shells& shells)
      : ServiceCleaner(std::move(client)), shells_(shells) {
    const auto snapshot = shells.snapshot();
    Memory image;
    image.__isset.bytes = true;
    image.bytes.assign(snapshot.begin(), snapshot.end());
    registerSnapshot(image);
    Memory size;
    size.__set_inlineSize(static_cast<std::int64_t>(shells.bytes()));
    for (std::size_t i = 0; i < shells.count(); ++i) attach(size, shells);
  }

 private:
  void beforeCleaning(std::vector<CleanRequest>& requests) override {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      requests[i].__isset.memory = true;
      requests[i].memory.__isset.bytes = true;
      std::string& bytes = requests[i].memory.bytes;
      bytes.clear();
      for (const Extent& extent : shells_.dirty())
        bytes.append(reinterpret_cast<const char*>(shells_.memory(i).data()) +
                         extent.offset,
                     extent.length);
    }
  }

  void afterCleaning(std::vector<CleanResult>& results) override {
    for (std::size_t i = 0; i < results.size(); ++i) {
      const char* bytes = results[i].memory.bytes.data();
      const char* const end = bytes + results[i].memory.bytes.size();
      for (const Extent& extent : shells_.dirty()) {
        if (end - bytes < extent.length)
          throw std::runtime_error("less came back than was sent");
        std::memcpy(shells_.memory(i).data() + extent.offset, bytes,
                    extent.length);
        bytes += extent.length;
      }
    }
  }

  Shells& shells_;
};

// A client compiled for its transport.
template <typename Transport>
std::unique_ptr<virtine::VirtineCleanupIf> clientOn(
    std::shared_ptr<Transport> transport) {
  using Protocol = NamingProtocol<Transport>;
  return std::make_unique<virtine::VirtineCleanupClientT<Protocol>>(
      std::make_shared<Protocol>(std::move(transport), Limits{},
                                 "VirtineCleanup"));
}

}  // namespace

std::unique_ptr<Cleaner> makeCleaner(const Channel& channel, Shells& shells) {
  if (channel.kind == Channel::Kind::kMemory)
    return std::make_unique<MemcpyCleaner>(shells);
  if (channel.kind == Channel::Kind::kPcie) {
    auto transport = openDevice(channel, 0);
    return std::make_unique<ReferenceCleaner>(clientOn(transport),
                                              transport->lender(), shells);
  }
  return withTransport(channel, 0, 0, [&](auto transport) {
    return std::unique_ptr<Cleaner>(
        std::make_unique<InlineCleaner>(clientOn(transport), shells));
  });
}

}  // namespace lanecall::bench
