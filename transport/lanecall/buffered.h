// SPDX-License-Identifier: Apache-2.0
//
// Buffering and framing as Thrift's TBufferedTransport and TFramedTransport do
// them on the wire, without what bites in Thrift 0.17:
// - The message budget is per message. Thrift's is spent over the life of a
//   connection (its transports never reset it), so that every connection dies
//   after 100 MB. Here each end of a message, readEnd(), starts a new budget.
//   The budget counts every byte, also those Thrift's own does not.
// - Buffers are 64 KiB, not 512 bytes, and what a large message needed is given
//   back at its end.
// - Memory follows bytes that have arrived, not bytes that were announced: a
//   long string is gathered before Thrift allocates it.
// - close() drops what was not flushed (half a message helps nobody, and
//   flushing could block), and open() starts with empty buffers.
//
// - What cannot be the size of a frame closes the connection: bytes that follow
//   could pass for frames.
// - A read that is INTERRUPTED inside a message closes the connection, since
//   what was read of the message is lost. Between messages it stays open.
//
// A message over the limit is TTransportException CORRUPTED_DATA. Leaving it to
// Thrift would be END_OF_FILE, which looks like an end in order.
#ifndef LANECALL_BUFFERED_H
#define LANECALL_BUFFERED_H

#include <lanecall/gathered.h>
#include <lanecall/limits.h>
#include <thrift/transport/TBufferTransports.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace lanecall {

class BufferedTransport
    : public apache::thrift::transport::TVirtualTransport<
          BufferedTransport, apache::thrift::transport::TBufferBase> {
 public:
  static constexpr std::uint32_t kBufferBytes = 64 << 10;

  // shared: see RingTransport::setShared().
  BufferedTransport(
      std::shared_ptr<apache::thrift::transport::TTransport> under,
      const std::shared_ptr<apache::thrift::TConfiguration>& configuration,
      bool shared = false);

  bool isOpen() const override { return under_->isOpen() && !abandoned_; }
  void open() override;
  void close() override;
  bool peek() override;
  void flush() override;
  std::uint32_t readEnd() override;
  const std::string getOrigin() const override { return under_->getOrigin(); }

  // TVirtualTransport hides TBufferBase's fast path.
  std::uint32_t readAll(std::uint8_t* data, std::uint32_t size) {
    return TBufferBase::readAll(data, size);
  }

  // After a failure that nothing may follow: closes, unless that could be under
  // another thread. Then nothing goes from here on.
  void abandon();
  // Throws if it was abandoned.
  void checkOpen() const;

  // Whether a byte can be read without asking the transport below.
  bool hasBuffered() const { return rBase_ < rBound_; }

 protected:
  std::uint32_t readSlow(std::uint8_t* data, std::uint32_t size) override;
  void writeSlow(const std::uint8_t* data, std::uint32_t size) override;
  const std::uint8_t* borrowSlow(std::uint8_t* data,
                                 std::uint32_t* size) override;

 private:
  void reset();
  // A long string was borrowed, and not all of it consumed.
  bool is_in_gathered() const {
    return hasBuffered() && rBase_ >= gathered_.data() &&
           rBase_ < gathered_.data() + gathered_.room();
  }
  std::uint32_t receive(std::uint8_t* data, std::uint32_t size);
  void send(const std::uint8_t* data, std::uint32_t size);

  std::shared_ptr<apache::thrift::transport::TTransport> under_;
  const bool shared_;
  std::atomic<bool> abandoned_{false};  // instead of closed, if shared_
  std::unique_ptr<std::uint8_t[]> readBuffer_;
  std::unique_ptr<std::uint8_t[]> writeBuffer_;
  Gathered gathered_;
  // Bytes of this message taken from below, and given to it. A 64-bit count
  // of bytes moved does not wrap.
  std::uint64_t received_ = 0;
  std::uint64_t sent_ = 0;
};

class FramedTransport : public apache::thrift::transport::TFramedTransport {
 public:
  // A frame is cut from a stream that is best read in large pieces.
  FramedTransport(std::shared_ptr<BufferedTransport> under,
                  std::shared_ptr<apache::thrift::TConfiguration> configuration,
                  bool shared = false);

  void open() override;
  void close() override;
  std::uint32_t readEnd() override;

 protected:
  bool readFrame() override;
  void writeSlow(const std::uint8_t* data, std::uint32_t size) override;

 private:
  void abandon();
  bool readHeader(std::uint32_t* size);
  void reset();

  const std::shared_ptr<BufferedTransport> under_;
  const bool shared_;
};

enum class Framing { kBuffered, kFramed };

// Stacks the transports of one connection, limits set. shared: see
// RingTransport::setShared().
std::shared_ptr<apache::thrift::transport::TTransport> stack(
    const std::shared_ptr<apache::thrift::transport::TTransport>& under,
    Framing framing, const Limits& limits, bool shared = false);

// The same as a factory, for Thrift's own server classes.
class StackFactory : public apache::thrift::transport::TTransportFactory {
 public:
  StackFactory(Framing framing, const Limits& limits)
      : framing_(framing), limits_(limits) {}
  std::shared_ptr<apache::thrift::transport::TTransport> getTransport(
      std::shared_ptr<apache::thrift::transport::TTransport> under) override {
    return stack(under, framing_, limits_);
  }

 private:
  Framing framing_;
  Limits limits_;
};

// "buffered" or "framed"; std::invalid_argument otherwise.
Framing parseFraming(const std::string& name);
const char* name(Framing framing);

}  // namespace lanecall

#endif
