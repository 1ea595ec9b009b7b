// SPDX-License-Identifier: Apache-2.0
//
// The seam under every transport of the library: one channel, a reliable,
// ordered byte stream that never blocks except in poll().
//
// - DeviceIo puts a /dev/lanecallN node behind it, SocketIo a TCP or Unix
//   socket, and tests a fake device. StreamTransport does the rest (deadlines,
//   retries, exceptions), once, for all of them.
// - Results follow the kernel's convention: a value that is not negative, or a
//   negated errno value. Nothing here throws but constructors.
// - A channel belongs to one thread at a time, except interrupt(), which any
//   thread may call, also while another sits in poll().
#ifndef LANECALL_CHANNEL_IO_H
#define LANECALL_CHANNEL_IO_H

#include <sys/types.h>

#include <cstddef>
#include <string>

namespace lanecall {

class ChannelIo {
 public:
  ChannelIo() = default;
  ChannelIo(const ChannelIo&) = delete;
  ChannelIo& operator=(const ChannelIo&) = delete;

  // Closes the channel if it is open.
  virtual ~ChannelIo() = default;

  // Starts a new connection and returns at once: 0 if it is connected or
  // connecting (ask status()), else a negated errno value, with nothing left
  // open: -ENOENT, -EACCES, -EBUSY, -ECONNREFUSED, -ENOTTY (what was opened is
  // not a channel), and so on. Only for a channel that is not open; one that
  // was closed may be opened again.
  virtual int open() = 0;

  // Why the last open() failed, where the errno value does not say it: a host
  // name's look-up. Else empty.
  virtual std::string reason() const { return {}; }

  // The outcome of open(): 0 connected, -EINPROGRESS not known yet (poll for
  // POLLOUT, then ask again), else why the connection failed or ended.
  // A connection that came about and was then closed in order by the other
  // side counts as connected: read() will say so.
  virtual int status() = 0;

  // At least one byte, 0 at the end of the stream (after everything that had
  // arrived was read), -EAGAIN when nothing is there yet, -EINTR, -ECONNRESET
  // when the connection broke, -EIO when the device is gone. size is not 0.
  virtual ssize_t read(void* data, std::size_t size) = 0;

  // Takes what fits, at least one byte; -EAGAIN when nothing fits or while
  // still connecting, -EINTR, -EPIPE after the end of the connection (never a
  // signal), -ECONNRESET, -EIO. size is not 0.
  virtual ssize_t write(const void* data, std::size_t size) = 0;

  // Waits until one of the events (POLLIN, POLLOUT), an end (POLLHUP) or an
  // error (POLLERR) is there: returns these bits, or 0 when timeoutMs
  // milliseconds have passed (-1: no limit), -EINTR after a signal,
  // -ECANCELED after interrupt(). The only call that blocks.
  virtual int poll(short events, int timeoutMs) = 0;

  // Makes every poll() of this connection, under way or to come, return
  // -ECANCELED; open() starts afresh. Any thread; does nothing when not open.
  virtual void interrupt() = 0;

  // Ends the connection; does not block, and what was written is still sent,
  // within a bound (unless a reset overtakes it, as on any socket that is
  // closed with bytes unread). Does nothing when not open.
  virtual void close() = 0;

  virtual bool isOpen() const = 0;

  // What an error message calls this channel: "/dev/lanecall0",
  // "127.0.0.1:9090", "/run/lanecall.sock".
  virtual std::string name() const = 0;
};

}  // namespace lanecall

#endif
