// SPDX-License-Identifier: Apache-2.0
//
// A Thrift transport on mapped rings: what is serialised goes straight into the
// outgoing ring, what is parsed is read where it lies in the incoming one, and
// a call that finds its answer while it spins makes no system call. Buffering
// and framing are built in: nothing has to be stacked on it.
//
// Behaves as StreamTransport does: the same timeouts, exceptions and texts (see
// there), and as buffered.h's transports: the budget is per message, memory
// follows bytes that have come, close() drops what was not flushed. Beyond
// that:
// - The send timeout begins when a message has to wait for the first time. A
//   message that streams while the other side is as quick as this one has no
//   clock read for it.
// - TBufferBase's windows are spans of the rings, so that its inline fast paths
//   work on the rings, and so does generated code that is a template over this
//   class.
// - write() publishes nothing before flush(), unless a message is larger than
//   kPublishBytes or a quarter of the ring: then pieces of that size are on
//   their way while the rest is being serialised. A message may be larger than
//   the ring; it streams.
// - Bytes read are given back to the other side once half of the ring was
//   consumed, and always before a wait; see settle().
// - No byte of the ring is looked at twice: the other side may change it in
//   between.
// - What is read while a device is pulled out may be no byte of the ring, but
//   all-ones or zeros. readEnd(), which generated code calls before it gives an
//   answer out, throws then (NOT_OPEN, or as for an index that cannot be); who
//   reads without Thrift calls checkRead().
// - A message whose write() or flush() throws is not complete, and never will
//   be: no server runs that call. (Its end is published last, when nothing can
//   fail any more.) When reading throws, the server may have run it, or may
//   yet. Generated clients have send_x and recv_x to tell the two apart.
// - An index that the other side cannot have reached ends the connection.
//   (END_OF_FILE when reading, UNKNOWN when writing; the text says so.)
// - Framing is done in place in the ring when a frame fits the room there is,
//   else on the heap. A frame received is read as it comes, in place.
//
// One thread at a time, as StreamTransport, unless setShared(). Only
// interrupt() and counters() may be called by any thread, at any time.
#ifndef LANECALL_RING_TRANSPORT_H
#define LANECALL_RING_TRANSPORT_H

#include <lanecall/buffered.h>
#include <lanecall/counters.h>
#include <lanecall/deadline.h>
#include <lanecall/errors.h>
#include <lanecall/gathered.h>
#include <lanecall/ring_io.h>
#include <lanecall/spin.h>
#include <thrift/transport/TBufferTransports.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lanecall {

class RingTransport
    : public apache::thrift::transport::TVirtualTransport<
          RingTransport, apache::thrift::transport::TBufferBase> {
 public:
  using Configuration = std::shared_ptr<apache::thrift::TConfiguration>;

  static constexpr std::uint32_t kPublishBytes = 64 << 10;

  // Owns io, whose rings may be there already (a channel that a server took).
  // peer: of whom errors are to speak.
  explicit RingTransport(std::unique_ptr<RingIo> io,
                         const Configuration& configuration = nullptr,
                         Peer peer = Peer::kDevice);
  ~RingTransport() override;

  bool isOpen() const override { return io_->isOpen() && !abandoned_; }

  // Blocks until there is a byte to read (true), or the end (false), or the
  // receive timeout has passed (exception).
  bool peek() override;

  // Whether peek() would answer at once, or throw. Neither blocks nor throws.
  bool isReadable();

  // The same; if not, the other side was asked to tell (RingIo::poll(POLLIN),
  // or whatever that sleeps on). For one thread that watches many.
  bool armReadable();

  // Blocks until connected, at most the connect timeout. Does nothing when
  // open.
  void open() override;
  void close() override;

  // At least one byte; 0 at the end of the stream.
  std::uint32_t read(std::uint8_t* data, std::uint32_t size) {
    return size <= readable() ? take(data, size) : readSlow(data, size);
  }

  // TVirtualTransport hides TBufferBase's fast path.
  std::uint32_t readAll(std::uint8_t* data, std::uint32_t size) {
    if (size <= readable()) return take(data, size);
    return apache::thrift::transport::readAll(*this, data, size);
  }

  // Ends a message: publishes it, and tells the other side if that asked.
  void flush() override;

  std::uint32_t readEnd() override;

  // Throws unless all that was read until now was the ring's.
  void checkRead();
  const std::string getOrigin() const override { return io_->name(); }

  // Milliseconds; 0, the default, is no limit.
  void setConnTimeout(int ms) { connTimeoutMs_ = ms; }
  void setRecvTimeout(int ms) { recvTimeoutMs_ = ms; }
  void setSendTimeout(int ms) { sendTimeoutMs_ = ms; }

  // A bound over several reads, on top of the receive timeout: a server's for
  // one message.
  void setReceiveDeadline(Deadline deadline) { receiveDeadline_ = deadline; }

  // Before open(), or before anything was written or read.
  void setFraming(Framing framing);

  // Before open(): one thread will write while another reads, as they do who
  // share a generated ConcurrentClient. A failure of one then does not close
  // under the other: it ends the other's waits (INTERRUPTED), from then on
  // nothing is read or written (NOT_OPEN), and whoever has the transport to
  // himself again closes it, by close(), open() or its destructor.
  void setShared(bool shared) { shared_ = shared; }

  // How waits begin; adaptive by default.
  void setSpin(Spin spin);

  // Between messages: gives back what was consumed if all of it was, for a
  // sender that waits until everything was taken, and a reader that may not
  // wait for long.
  void settle();

  // Ends every wait of this connection with INTERRUPTED. Any thread.
  void interrupt();

  // Of the connection that is open, or else was last. Any thread.
  Counters counters() const { return {writes_.get(), reads_.get()}; }

  // Bytes that can be read without looking at the ring.
  bool hasBuffered() const { return readable() > 0; }

 protected:
  std::uint32_t readSlow(std::uint8_t* data, std::uint32_t size) override;
  void writeSlow(const std::uint8_t* data, std::uint32_t size) override;
  const std::uint8_t* borrowSlow(std::uint8_t* data,
                                 std::uint32_t* size) override;

  RingIo& io() const { return *io_; }

 private:
  using Exception = apache::thrift::transport::TTransportException;
  using Type = Exception::TTransportExceptionType;

  std::uint32_t readable() const {
    return static_cast<std::uint32_t>(rBound_ - rBase_);
  }
  std::uint32_t writable() const {
    return static_cast<std::uint32_t>(wBound_ - wBase_);
  }

  // What is there already, of the ring or of a gathered string.
  std::uint32_t take(std::uint8_t* data, std::uint32_t size) {
    std::memcpy(data, rBase_, size);
    // From here on the compiler may not take the bytes from the ring again.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    rBase_ += size;
    return size;
  }

  void attach();
  void detach();
  void abandon();

  // ---- Receiving -----------------------------------------------------------
  // Of the ring [readAt_, rBase_) is consumed and not given back, and
  // [rBase_, rBound_) seen: it may be read. While a gathered string is read
  // the two are in that, and nothing of the ring is consumed or seen.
  std::uint32_t consumed() const {
    return gathering_ ? 0 : static_cast<std::uint32_t>(rBase_ - readAt_);
  }
  void tell(Tally& tally);
  void release();
  void countConsumed();
  bool fill();
  bool see(std::uint64_t most);
  std::uint64_t allowance() const;
  void show(std::uint64_t most);
  __s64 lookForBytes();
  bool isMoreThere();
  Deadline readDeadline();
  void awaitBytes();
  void checkReceiveDeadline();
  bool beginFrame();
  bool isInsideMessage() const { return received_ > 0 || headerBytes_ > 0; }
  const std::uint8_t* gather(std::uint32_t size);
  void leaveGathered();
  [[noreturn]] void failRead(int error);
  [[noreturn]] void failInside(const char* what);

  // ---- Sending -------------------------------------------------------------
  // Of the ring [writeAt_, wBase_) is serialised and not published; beginning
  // with four bytes for the frame's size if frameInRing_.
  bool isFrameOnHeap() const { return !frame_.empty(); }
  std::uint32_t room() const;
  std::uint32_t piece() const;
  std::uint32_t frameRoom() const;
  bool isRoomThere(std::uint32_t least);
  const Deadline& sendDeadline();
  void awaitRoom(std::uint32_t least);
  void openWindow();
  void publish();
  void put(const std::uint8_t* data, std::uint32_t size);
  std::uint32_t frameBytes() const;
  void putIntoFrame(const std::uint8_t* data, std::uint32_t size);
  void growFrame(std::uint32_t size);
  void endFrame();
  void checkSize(std::uint64_t more);
  [[noreturn]] void failWrite(int error);

  // ---- Waiting -------------------------------------------------------------
  template <typename Over, typename Arm, typename MakeDeadline>
  void wait(Spinner& spinner, Tally& tally, short events, const char* action,
            Over over, Arm arm, MakeDeadline makeDeadline);
  [[noreturn]] void fail(Type type, const char* action, int error) const;
  [[noreturn]] void failLate(const char* action);
  int refuse();
  int whyImpossible(const RingIo::Ring& ring);

  const std::unique_ptr<RingIo> io_;
  const Peer peer_;
  Framing framing_ = Framing::kBuffered;
  int connTimeoutMs_ = 0;
  int recvTimeoutMs_ = 0;
  int sendTimeoutMs_ = 0;
  Deadline receiveDeadline_;
  std::atomic<bool> interrupted_{false};
  bool carried_ = false;
  bool shared_ = false;
  std::atomic<bool> abandoned_{false};  // instead of closed, if shared_

  RingIo::Ring* in_ = nullptr;  // null while there are no rings
  Tally reads_;
  std::uint8_t* readAt_ = nullptr;
  Spinner readSpinner_;
  std::optional<Deadline> readDeadline_;  // once a read had to wait
  std::uint32_t sights_ = 0;  // of bytes; only counted to space out checks
  int end_ = 0;               // when the ring was looked at last
  // Bytes of this message that were seen, or, in frames, announced. A 64-bit
  // count of bytes does not wrap.
  std::uint64_t received_ = 0;
  std::uint32_t headerBytes_ = 0;  // of the frame that begins
  std::uint32_t frameLeft_ = 0;    // bytes of the frame that were not seen yet
  Gathered gathered_;
  bool gathering_ = false;  // that is what is being read

  RingIo::Ring* out_ = nullptr;
  Tally writes_;
  std::uint8_t* writeAt_ = nullptr;
  Spinner writeSpinner_;
  std::uint64_t sent_ = 0;  // bytes of this message that were published
  std::optional<Deadline> sendDeadline_;  // once a message had to wait
  std::uint32_t shortages_ = 0;  // of room; only counted to space out checks
  bool frameInRing_ = false;
  std::vector<std::uint8_t> frame_;  // one that did not fit, else empty
};

}  // namespace lanecall

#endif
