// SPDX-License-Identifier: Apache-2.0
#include "dma_calls.h"

#include <bench_dma/DmaBench.h>
#include <lanecall/memory_region.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "clock.h"
#include "transports.h"

namespace lanecall::bench {
namespace {

constexpr std::size_t kMostBytes = 64 << 20;  // of card memory
constexpr std::size_t kMarkEvery = 61;        // bytes; in each extent

class DmaCalls : public Connection {
 public:
  DmaCalls(const Channel& channel, const Test& test, int batch)
      : writes_(test.writes), memory_(bytesOf(test, batch)) {
    auto transport = openDevice(channel, 0);
    region_ = Region(transport->lender(), memory_.data(), memory_.size(),
                     RegionAccess::kReadWrite);
    work_.batch = batch;
    work_.extents = test.extents;
    setReference();
    client_ = std::make_unique<Client>(std::make_shared<Protocol>(
        transport, Limits{}, /* service: its only one */ ""));
  }

  // What is read here and written back must be the same. Marked in places: to
  // fill all of it would take longer than the slice.
  void warmUp(const Span& span) override {
    std::fill(memory_.begin(), memory_.end(), 0);
    std::mt19937 random(1);
    for (std::size_t at = 0; at < memory_.size(); at += kMarkEvery)
      memory_[at] = static_cast<std::uint8_t>(random() | 1);
    const std::vector<std::uint8_t> sent = memory_;
    move(false, {});
    std::fill(memory_.begin(), memory_.end(), 0);
    move(true, {});
    if (memory_ != sent)
      throw std::runtime_error("what was written back is not what was read");
    move(writes_, span);
  }

  void run(const Span& span, int, Latencies& latencies) override {
    for (std::int64_t ns : move(writes_, span))
      for (int i = 0; i < work_.batch && latencies.room() > 0; ++i)
        latencies.add(ns / work_.batch);
  }

 private:
  using Protocol = NamingProtocol<TPcieTransport>;
  using Client = dma::DmaBenchClientT<Protocol>;

  static std::size_t bytesOf(const Test& test, int batch) {
    if (static_cast<std::size_t>(batch) > kMostBytes / test.bytes)
      throw std::invalid_argument(
          "so much at a time is not measured: " + std::to_string(batch) +
          " times " + std::to_string(test.bytes) + " bytes");
    return static_cast<std::size_t>(test.bytes) * batch;
  }

  void setReference() {
    const RegionReference reference = region_.reference();
    work_.region.device = static_cast<std::int32_t>(reference.device);
    work_.region.key = static_cast<std::int64_t>(reference.key);
    work_.region.offset = static_cast<std::int64_t>(reference.offset);
    work_.region.length = static_cast<std::int64_t>(reference.bytes);
  }

  std::vector<std::int64_t> move(bool writes, const Span& span) try {
    work_.writes = writes;
    work_.leastUs = std::max<std::int64_t>(0, (span.untilNs - nowNs()) / 1000);
    work_.leastBatches =
        static_cast<std::int32_t>(span.calls / work_.batch + 1);
    std::vector<std::int64_t> ns;
    client_->move(ns, work_);
    return ns;
  } catch (const dma::DmaBenchFailed& failed) {
    throw std::runtime_error(failed.reason);
  }

  const bool writes_;
  std::vector<std::uint8_t> memory_;
  Region region_;
  dma::DmaWork work_;
  std::unique_ptr<Client> client_;
};

}  // namespace

std::unique_ptr<Connection> moveOver(const Channel& channel, const Test& test,
                                     int batch) {
  if (channel.kind != Channel::Kind::kPcie)
    throw std::invalid_argument(
        "only devices have DMA; use a channel of kind "
        "pcie that leads to lanecall-bench-server");
  return std::make_unique<DmaCalls>(channel, test, batch);
}

}  // namespace lanecall::bench
