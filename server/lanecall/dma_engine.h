// SPDX-License-Identifier: Apache-2.0
//
// A session's DMA: lanecall/card.h, "DMA", from the server's side. Internal to
// the server library.
//
// - Handlers' threads submit, and send what fits under the device's limit
//   themselves: a packet is sent whole or not at all, and a hop to the
//   session's thread would cost more than moving 64 KiB. What does not fit
//   waits.
// - The session's thread takes DONE packets, sends what waits into the room
// that
//   they make, and then calls back: once for each batch that has news, however
//   many packets came in that turn.
// - What a device is done with is looked up in a table by number and
//   generation: nothing that it says can name anything else.
// - Outlives the session, for handlers that still have it.
#ifndef LANECALL_DMA_ENGINE_H
#define LANECALL_DMA_ENGINE_H

#include <lanecall/card.h>
#include <lanecall/card_buffers.h>
#include <lanecall/card_device.h>
#include <lanecall/dma_queue.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace lanecall {

class DmaEngine : public std::enable_shared_from_this<DmaEngine> {
 public:
  // socket: the session's, open until end(). operationsMost: HELLO's, not 0.
  // awaitRoom: has the session's thread call roomAgain() when the socket takes
  // packets again; any thread calls it.
  DmaEngine(int socket, std::uint32_t operationsMost, CardBuffers buffers,
            std::function<void()> awaitRoom);

  // A channel's.
  std::shared_ptr<CardDevice> makeDevice(std::string name);

  // ---- Any thread

  const CardBuffers& buffers() const { return buffers_; }
  bool isEnded() const { return ended_.load(std::memory_order_acquire); }
  void submit(const std::shared_ptr<DmaQueue::Lane>& lane, DmaBatch batch,
              DmaCallback done);
  void dropUnsent(const std::shared_ptr<DmaQueue::Lane>& lane);

  // ---- The session's thread

  // Takes a DONE packet. What is wrong with it, else null.
  const char* takeDone(const lanecall_card_frame& frame,
                       std::span<const std::uint8_t> payload);
  // After some: goes on, and calls back.
  void deliver();

  bool awaitsRoom() const;
  void roomAgain();

  // The session has ended: nothing more is sent, everything is done. May be
  // called from any thread, once the session's does nothing more here.
  void end();

 private:
  // A part that is under way.
  struct Slot {
    bool isUsed = false;
    std::uint32_t generation = 0;
    std::size_t extents = 0;  // sent
    std::uint64_t bytes = 0;  // of these
    DmaPart part;
    std::shared_ptr<DmaQueue::Lane> lane;
  };
  using News = std::vector<std::shared_ptr<DmaWork>>;

  // With mutex_ held:
  void pump();
  bool fillPacket();
  void addToPacket(std::size_t extents);
  bool sendPacket();
  const char* finish(const lanecall_dma_done& done);
  Slot* slotOf(std::uint64_t id);
  void free(Slot& slot);
  void note(const DmaPart& part, DmaError error, std::uint64_t bytes);
  void endAll();

  void tell(std::unique_lock<std::mutex> lock);

  const int socket_;
  const std::size_t laneMost_;  // slots of one lane
  const CardBuffers buffers_;
  const std::function<void()> awaitRoom_;
  std::atomic<bool> ended_{false};

  mutable std::mutex mutex_;  // guards all below, and the end of socket_
  DmaQueue queue_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> unused_;
  News news_;  // what has something fresh
  // The packet that is made; if the socket did not take it, it waits.
  std::vector<lanecall_dma_operation> operations_;
  std::vector<lanecall_dma_extent> extents_;
  bool awaitsRoom_ = false;
};

}  // namespace lanecall

#endif
