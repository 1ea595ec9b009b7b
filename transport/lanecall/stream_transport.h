// SPDX-License-Identifier: Apache-2.0
//
// A Thrift transport on a ChannelIo. Behaves as Thrift's TSocket does, with its
// names, timeouts and exception types, and differs in four things:
// - The receive timeout bounds a whole read(), retries included, and the send
//   timeout a whole message, from its first write() to flush(), both on the
//   monotonic clock: a peer that moves a byte now and then does not stretch
//   them.
// - A timeout closes the transport. Generated clients do not match sequence
//   ids, so a late reply could be taken for the answer to the next call.
// - Errors are one line that names the address and what to do.
// - A connection that broke is END_OF_FILE with errno's text, not a silent 0.
//
// Exception types: NOT_OPEN (not open, could not connect in time or at all, the
// other side takes no more, the device is gone), TIMED_OUT (a receive or send
// timeout), END_OF_FILE (the connection broke; an end in order is read()
// returning 0), INTERRUPTED (interrupt()), UNKNOWN.
//
// A message whose write() or flush() throws was not sent whole, so that no
// server runs that call; when reading throws, it may have run.
//
// One thread at a time, for both directions, unless setShared(): a read or
// write that fails closes the transport, under whoever else would be in it.
// Only interrupt() may be called by any thread, at any time.
#ifndef LANECALL_STREAM_TRANSPORT_H
#define LANECALL_STREAM_TRANSPORT_H

#include <lanecall/channel_io.h>
#include <lanecall/deadline.h>
#include <lanecall/errors.h>
#include <thrift/transport/TVirtualTransport.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace lanecall {

class StreamTransport
    : public apache::thrift::transport::TVirtualTransport<StreamTransport> {
 public:
  using Configuration = std::shared_ptr<apache::thrift::TConfiguration>;

  // Owns io, which may be open already (an accepted connection).
  explicit StreamTransport(std::unique_ptr<ChannelIo> io,
                           const Configuration& configuration = nullptr);
  ~StreamTransport() override;

  bool isOpen() const override { return io_->isOpen() && !abandoned_; }

  // Blocks until there is a byte to read (true), or the end (false), or the
  // receive timeout has passed (exception).
  bool peek() override;

  // Blocks until connected, at most the connect timeout. Does nothing when
  // open.
  void open() override;
  void close() override;

  // At least one byte; 0 at the end of the stream.
  std::uint32_t read(std::uint8_t* data, std::uint32_t size);

  // All of it, or an exception, after which the transport is closed.
  void write(const std::uint8_t* data, std::uint32_t size);

  // Ends a message: the next write() has the whole send timeout again. Nothing
  // is held back that it would have to send.
  void flush() override { sendDeadline_.reset(); }

  const std::string getOrigin() const override { return io_->name(); }

  // Milliseconds; 0, the default, is no limit.
  void setConnTimeout(int ms) { connTimeoutMs_ = ms; }
  void setRecvTimeout(int ms) { recvTimeoutMs_ = ms; }
  void setSendTimeout(int ms) { sendTimeoutMs_ = ms; }

  // See RingTransport::setShared().
  void setShared(bool shared) { shared_ = shared; }

  // A bound over several reads, on top of the receive timeout: a server's for
  // one message.
  void setReceiveDeadline(Deadline deadline) { receiveDeadline_ = deadline; }

  // Ends every wait of this connection with INTERRUPTED. Any thread.
  void interrupt() { io_->interrupt(); }

  // Bytes that peek() has read ahead.
  bool hasReadAhead() const { return aheadAt_ < aheadEnd_; }
  std::span<const std::uint8_t> readAhead() const {
    return {ahead_.data() + aheadAt_, aheadEnd_ - aheadAt_};
  }

 protected:
  // Of whom an error is to speak.
  virtual Peer peer() const { return Peer::kServer; }

 private:
  using Exception = apache::thrift::transport::TTransportException;

  std::uint32_t readChannel(std::uint8_t* data, std::uint32_t size);
  void abandon();
  void check(const Deadline& deadline, const char* action);
  void await(short events, const Deadline& deadline, const char* action);
  [[noreturn]] void fail(Exception::TTransportExceptionType type,
                         const char* action, int error) const;

  std::unique_ptr<ChannelIo> io_;
  int connTimeoutMs_ = 0;
  int recvTimeoutMs_ = 0;
  int sendTimeoutMs_ = 0;
  Deadline receiveDeadline_;
  std::optional<Deadline> sendDeadline_;  // while a message is being written
  bool shared_ = false;
  std::atomic<bool> abandoned_{false};  // instead of closed, if shared_
  std::array<std::uint8_t, 512> ahead_;
  std::uint32_t aheadAt_ = 0;
  std::uint32_t aheadEnd_ = 0;
};

}  // namespace lanecall

#endif
