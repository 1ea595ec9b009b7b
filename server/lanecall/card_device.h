// SPDX-License-Identifier: Apache-2.0
//
// The device that a connection came through, for a handler that moves bulk data
// by DMA: memory that the client has lent (lanecall::Region) and named in a
// call is read into card memory, which the server sees, and written from it.
//
//   Handler(const apache::thrift::TConnectionInfo& connection)
//       : device_(lanecall::cardDeviceOf(connection.transport)) {}
//
//   void upperCase(const idl::RegionReference& text) override {
//     if (!device_) throw NoCard();
//     const auto region = lanecall::regionOf(text);
//     auto buffer = device_->allocate(region.bytes);
//     lanecall::DmaBatch in, out;
//     in.read(region, buffer);
//     device_->run(std::move(in));
//     ...                             // work on buffer->data()
//     out.write(region, buffer);
//     device_->run(std::move(out));
//   }
//
// - There is one for each channel of a card port, as long as anybody holds it,
//   also after the channel or the session: then all that is asked of it fails,
//   and card memory stays mapped as long as it is held.
// - Every operation that was submitted is done exactly once: with its bytes
//   moved or with an error, kReset at the latest when the session has ended
//   (the device or this program's port is gone). A device that stands still
//   (QEMU stopped) keeps them waiting until it goes on, or is gone.
// - The device has a limit of operations under way. More wait here, any number,
//   channels in turn, those of one channel in the order they came.
// - Any thread may call anything. Nothing blocks but DmaRun::wait(), waitFor()
//   and run().
#ifndef LANECALL_CARD_DEVICE_H
#define LANECALL_CARD_DEVICE_H

#include <lanecall/card_buffer.h>
#include <lanecall/dma_batch.h>
#include <thrift/transport/TTransport.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace lanecall {

// No card memory is left for buffers, or no piece that large.
class CardMemoryFull : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Gets some of a batch's operations that are done: as many as were done at a
// time, each once in all calls together. Comes from the port's thread, one call
// at a time; where the session has ended before, from inside submit(). So hold
// no lock while submitting that it takes. It may submit, allocate and drop
// anything; it may not wait, and has to be short, since nothing else is done
// meanwhile, and not throw, which ends the program.
using DmaCallback = std::function<void(std::span<const DmaResult>)>;

// Calls it. For who makes a CardDevice.
void callBack(const DmaCallback& done,
              std::span<const DmaResult> results) noexcept;

// A batch on its way. Dropping it leaves the batch on its way.
class DmaRun {
 public:
  explicit DmaRun(std::size_t operations);

  bool isDone() const;
  // Blocks until all operations are done; then their results, in the batch's
  // order. Throws std::logic_error from inside a DmaCallback.
  const std::vector<DmaResult>& wait() const;
  // The same for a while; whether they are done.
  bool waitFor(std::chrono::milliseconds timeout) const;

  // For CardDevice::start().
  DmaCallback callback();

 private:
  class State;
  const std::shared_ptr<State> state_;
};

// Card memory for buffers: in all, and what is free of it, perhaps in pieces.
struct CardSpace {
  std::uint64_t bytes = 0;
  std::uint64_t freeBytes = 0;
};

class CardDevice {
 public:
  virtual ~CardDevice() = default;

  // Throws CardMemoryFull; std::invalid_argument for no bytes. Buffers together
  // have a share of card memory, so that rings still fit (CardPortOptions).
  virtual std::shared_ptr<CardBuffer> allocate(std::size_t bytes) = 0;

  virtual CardSpace space() const = 0;

  // Is it a piece of this device's card memory, to be used in batches for it?
  // One that was allocated in an earlier session with the same device, or
  // through another channel, is.
  virtual bool owns(const CardBuffer& buffer) const = 0;

  // For an empty batch nothing is called. Throws std::invalid_argument, with
  // nothing taken, if it does not own a buffer.
  virtual void submit(DmaBatch batch, DmaCallback done) = 0;

  // Whether everything fails from now on: the session has ended. A channel of
  // another session has another CardDevice.
  virtual bool isLost() const = 0;
  // Whoever submitted is gone: what was not sent to the device yet is done,
  // with kRevoked, and calls back before this returns. What is under way ends
  // as it does.
  virtual void dropUnsent() = 0;

  // For logs: "card:DEVICE:CHANNEL".
  virtual std::string name() const = 0;

  // Throws as submit().
  DmaRun start(DmaBatch batch);
  // Blocks until all is moved. Throws DmaFailure for the first operation that
  // failed, when all are done.
  void run(DmaBatch batch);
};

// The device of a connection that came through a card port; null for any other,
// over TCP or a Unix socket, that of a device's socket plane included: there
// the bytes have to travel in messages. Also null if the device knows no DMA.
std::shared_ptr<CardDevice> cardDeviceOf(
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport);

}  // namespace lanecall

#endif
