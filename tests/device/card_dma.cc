// SPDX-License-Identifier: Apache-2.0
#include "card_dma.h"

#include <cstring>
#include <stdexcept>

namespace lanecall::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

namespace {

template <typename T>
void append(Bytes& bytes, const T& t) {
  const auto* from = reinterpret_cast<const unsigned char*>(&t);
  bytes.insert(bytes.end(), from, from + sizeof t);
}

uint64_t bytesOf(const DmaOperation& operation) {
  uint64_t bytes = 0;
  for (const auto& extent : operation.extents) bytes += extent.bytes;
  return bytes;
}

AssertionResult isDone(const lanecall_dma_done& done, uint32_t error,
                       uint64_t bytes) {
  if (done.error == error && done.bytes == bytes) return AssertionSuccess();
  return AssertionFailure()
         << "error " << done.error << ", " << done.bytes << " bytes";
}

}  // namespace

Bytes dmaPacket(const std::vector<DmaOperation>& operations) {
  lanecall_card_frame frame = cardFrame(LANECALL_CARD_DMA, 0);
  frame.batch.operations = static_cast<uint32_t>(operations.size());
  for (const auto& operation : operations) {
    frame.batch.extents += static_cast<uint32_t>(operation.extents.size());
  }
  Bytes bytes;
  append(bytes, frame);
  for (const auto& operation : operations) {
    append(bytes, lanecall_dma_operation{.id = operation.id,
                                         .key = operation.key,
                                         .type = operation.type,
                                         .extents = static_cast<uint32_t>(
                                             operation.extents.size()),
                                         .reserved = 0});
  }
  for (const auto& operation : operations) {
    for (const auto& extent : operation.extents) append(bytes, extent);
  }
  return bytes;
}

std::unique_ptr<UserRegion> DmaGround::lend(const ScatteredMemory& memory,
                                            RegionOptions options) {
  auto region =
      std::make_unique<UserRegion>(device(), memory.extents(), options);
  if (!region->lend(soon())) throw std::runtime_error("the region is not lent");
  return region;
}

void DmaGround::submit(const std::vector<DmaOperation>& operations) {
  if (!session().sendPacket(dmaPacket(operations))) {
    throw std::runtime_error("the session takes no DMA packet");
  }
}

std::vector<lanecall_dma_done> DmaGround::takeDone() {
  const auto packet = session().receivePacket(soon());
  if (!packet) throw std::runtime_error("the device sends no packet");
  lanecall_card_frame frame;
  std::memcpy(&frame, packet->data(), sizeof frame);
  const size_t bytes = packet->size() - sizeof frame;
  if (frame.type != LANECALL_CARD_DONE || frame.batch.extents != 0 ||
      frame.batch.operations == 0 ||
      bytes != frame.batch.operations * sizeof(lanecall_dma_done)) {
    throw std::runtime_error("the device sends a packet that is no good DONE");
  }
  std::vector<lanecall_dma_done> done(frame.batch.operations);
  std::memcpy(done.data(), packet->data() + sizeof frame, bytes);
  return done;
}

std::map<uint64_t, lanecall_dma_done> DmaGround::awaitDone(size_t count) {
  std::map<uint64_t, lanecall_dma_done> all;
  while (all.size() < count) {
    for (const auto& done : takeDone()) {
      EXPECT_TRUE(all.emplace(done.id, done).second) << done.id;
    }
  }
  EXPECT_EQ(all.size(), count);
  return all;
}

lanecall_dma_done DmaGround::await(const DmaOperation& operation) {
  submit({operation});
  return awaitDone(1).at(operation.id);
}

AssertionResult DmaGround::moves(const DmaOperation& operation) {
  return isDone(await(operation), 0, bytesOf(operation));
}

AssertionResult DmaGround::fails(const DmaOperation& operation, uint32_t error,
                                 uint64_t bytes) {
  return isDone(await(operation), error, bytes);
}

DmaOperation longFill(uint64_t id, uint64_t key) {
  constexpr size_t kTimes = 2000;
  return {id, LANECALL_DMA_FILL, key,
          std::vector<lanecall_dma_extent>(kTimes, {0, 0x5a, 1 << 20})};
}

}  // namespace lanecall::test
