// SPDX-License-Identifier: Apache-2.0
#include "sizes.h"

#include <lanecall/ring_transport.h>
#include <ledger/Ledger.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <algorithm>
#include <memory>

namespace lanecall::ledger {
namespace {

using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::transport::TMemoryBuffer;

constexpr std::uint32_t kPage = 4096;
constexpr std::uint32_t kFrameHeader = 4;

struct Nothing : LedgerNull {};

// What a message has besides the data: {of a request, of an answer}.
std::uint32_t overheadOf(bool isAnswer) {
  auto request = std::make_shared<TMemoryBuffer>();
  auto answer = std::make_shared<TMemoryBuffer>();
  LedgerClient(std::make_shared<TBinaryProtocol>(request)).send_run({});
  const std::uint32_t bytes = request->available_read();
  if (!isAnswer) return bytes;
  LedgerProcessor(std::make_shared<Nothing>())
      .process(std::make_shared<TBinaryProtocol>(request),
               std::make_shared<TBinaryProtocol>(answer), nullptr);
  return answer->available_read();
}

}  // namespace

Sizes::Sizes(std::uint32_t ringBytes, std::uint32_t messageLimit)
    : ringBytes_(ringBytes),
      messageLimit_(messageLimit),
      requestOverhead_(overheadOf(false)),
      answerOverhead_(overheadOf(true)) {
  const std::uint32_t piece =
      std::min(RingTransport::kPublishBytes, ringBytes / 4);
  for (std::uint32_t boundary : {0U, 1U, piece, kPage, 2 * kPage, ringBytes / 2,
                                 ringBytes, ringBytes + piece, 2 * ringBytes})
    if (boundary + 2 < messageLimit) boundaries_.push_back(boundary);
}

std::uint32_t Sizes::draw(Random& random, std::uint32_t overhead) const {
  const std::uint32_t most = messageLimit_ - overhead;
  const std::uint64_t kind = random.below(256);
  if (kind == 0) return most - static_cast<std::uint32_t>(random.below(2));
  const std::uint32_t boundary = boundaries_[random.below(boundaries_.size())];
  if (kind < 64) return static_cast<std::uint32_t>(random.below(boundary + 1));
  // Where data, the message, or the frame around it ends at the boundary.
  const std::uint32_t around[] = {0, overhead, overhead + kFrameHeader};
  const std::uint32_t before = around[random.below(3)] + 1;
  const auto after = static_cast<std::uint32_t>(random.below(3));
  const std::uint32_t size = boundary + after;
  return std::min(size < before ? after : size - before, most);
}

}  // namespace lanecall::ledger
