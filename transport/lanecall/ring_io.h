// SPDX-License-Identifier: Apache-2.0
//
// The seam under RingTransport: one end of a channel whose two rings this
// process has in its memory (ChannelIo is the same for channels that are read
// and written by system calls).
//
// - MappedIo puts a /dev/lanecallN node in mapped mode behind it, the card port
//   a channel that a server was offered, StreamRingIo any ChannelIo, and tests
//   two ends of plain memory. RingTransport does the rest, once, for all.
// - Bytes are moved by the caller, with lanecall/ring.h on the two rings. What
//   is left for an implementation: to connect, to tell the other side, to
//   sleep, and to know of the end.
// - Results follow the kernel's convention: a value that is not negative, or a
//   negated errno value. Nothing here throws but constructors.
// - One thread at a time, except interrupt(), which any thread may call, also
//   while another sits in poll(). While nothing fails, one thread may use
//   incoming() and another outgoing(), each with notify(), end(), move() and
//   poll(): none of these may depend on the other direction's.
#ifndef LANECALL_RING_IO_H
#define LANECALL_RING_IO_H

#include <lanecall/driver.h>
#include <lanecall/ring.h>

#include <cstdint>
#include <string>

namespace lanecall {

class RingIo {
 public:
  struct Ring {
    // This side's private view: producer of outgoing(), consumer of
    // incoming(). Its words and the bytes belong to both sides; nothing found
    // there may be believed but by ring.h's predicates.
    lanecall_ring core{};
    // core.size bytes, and the same bytes once more behind them, so that every
    // span of the ring is contiguous: [bytes, bytes + 2 * core.size) is mapped.
    std::uint8_t* bytes = nullptr;
    // Where others look for what is counted of this direction; may be null.
    lanecall_user_counters* counters = nullptr;
  };

  RingIo() = default;
  RingIo(const RingIo&) = delete;
  RingIo& operator=(const RingIo&) = delete;

  // Closes the channel if it is open.
  virtual ~RingIo() = default;

  // Starts a new connection and returns at once: 0 if it is connected or
  // connecting (ask status()), else a negated errno value, with nothing left
  // open. Only for a channel that is not open; one that was closed may be
  // opened again. A channel that can only be used once (a server's, open from
  // the start) says -ENOTCONN.
  virtual int open() = 0;

  // The outcome of open(): 0 the rings are there, -EINPROGRESS not known yet
  // (poll for POLLOUT, then ask again), else why not. A connection that came
  // about and was then closed in order by the other side counts as connected:
  // end() will say so. -EOPNOTSUPP: this channel cannot have its rings here;
  // the caller may open it as something else.
  virtual int status() = 0;

  // Valid, and the same, from the time status() was 0 until close().
  virtual Ring& outgoing() = 0;  // we produce
  virtual Ring& incoming() = 0;  // we consume

  // Tells the other side to look at the rings: for when lanecall_ring_publish()
  // or lanecall_ring_release() said that it asked. Never blocks.
  virtual void notify() = 0;

  // The caller is about to wait for room in outgoing(): what the other side was
  // not told of yet, to save it an interrupt, it is told now. Never blocks.
  virtual void hurry() {}

  // Whether the other side does not look at the rings, so that move() has to
  // carry bytes between them and the channel (StreamRingIo).
  virtual bool isCarried() const { return false; }

  // Carries what goes now, into incoming() for POLLIN, out of outgoing() for
  // POLLOUT. Called before each look of a wait. Never blocks.
  virtual void move(short /* events */) {}

  // Whether the channel has ended: 0 it goes on, -ESHUTDOWN the other side
  // ended it in order, else why: -ECONNRESET the connection broke, -EIO the
  // device is gone or the other side broke the protocol, and so on. Once it is
  // not 0 it stays so. Read from memory, cheap enough to spin on. It is read
  // before the ring: what came before the end is in incoming() at the next
  // lanecall_ring_look(), and an implementation has the load barrier for that.
  // Nothing put into outgoing() after the end is ever read.
  virtual int end() const = 0;

  // Sleeps until the other side tells (POLLIN: there are bytes in incoming();
  // POLLOUT: there is room in outgoing(), or status() has changed), until the
  // end, or until timeoutMs milliseconds have passed (-1: no limit). The caller
  // has asked to be told (lanecall_ring_arm(), lanecall_ring_arm_space()) and
  // looked once more. Returns bits that are not 0, 0 after timeoutMs, -EINTR
  // after a signal, -ECANCELED after interrupt(). May wake early: the caller
  // looks for itself. The only call that blocks.
  virtual int poll(short events, int timeoutMs) = 0;

  // Makes every poll() of this connection, under way or to come, return
  // -ECANCELED; open() starts afresh. Any thread; does nothing when not open.
  virtual void interrupt() = 0;

  // Ends the connection; does not block. What was published is still sent,
  // within a bound. The rings are gone. Does nothing when not open.
  virtual void close() = 0;

  // The same, because the other side has broken the protocol: an index is where
  // it cannot be, and nothing more of the rings may be believed. For channels
  // that have somebody to tell.
  virtual void refuse() { close(); }

  virtual bool isOpen() const = 0;

  // What an error message calls this channel: "/dev/lanecall0", "card channel
  // 7".
  virtual std::string name() const = 0;

  // Why open() or status() failed, where errno's text would say too little or
  // too much; else empty.
  virtual std::string reason() const { return {}; }
};

}  // namespace lanecall

#endif
