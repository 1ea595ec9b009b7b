// SPDX-License-Identifier: Apache-2.0
#include <lanecall/connect.h>
#include <lanecall/failure.h>
#include <lanecall/stream_transport.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lanecall {
namespace {

bool is_retry(ssize_t result) { return result == -EINTR; }

}  // namespace

StreamTransport::StreamTransport(std::unique_ptr<ChannelIo> io,
                                 const Configuration& configuration)
    : TVirtualTransport(configuration), io_(std::move(io)) {}

StreamTransport::~StreamTransport() { io_->close(); }

void StreamTransport::fail(Exception::TTransportExceptionType type,
                           const char* action, int error) const {
  throw Exception(type, explain(io_->name(), action, error, peer()));
}

// A peer that moves a byte now and then must not stretch the deadline, so it is
// looked at before each wait, not only when a wait ends empty, and where bytes
// move without one.
void StreamTransport::check(const Deadline& deadline, const char* action) {
  if (!deadline.passed()) return;
  abandon();
  fail(Exception::TIMED_OUT, action, ETIMEDOUT);
}

void StreamTransport::await(short events, const Deadline& deadline,
                            const char* action) {
  for (;;) {
    check(deadline, action);
    int ready = io_->poll(events, deadline.remainingMs());
    if (ready > 0 || is_retry(ready)) return;
    // Half a message may have been written: nothing may follow it.
    if (ready < 0 && (events & POLLOUT)) abandon();
    if (ready == -ECANCELED) fail(Exception::INTERRUPTED, action, ECANCELED);
    if (ready < 0) fail(Exception::UNKNOWN, action, -ready);
  }
}

void StreamTransport::open() {
  if (isOpen()) return;
  close();  // what was abandoned
  const Deadline deadline = Deadline::in(connTimeoutMs_);
  receiveDeadline_ = Deadline::never();
  if (int error = connectWithin(*io_, deadline)) {
    const std::string why =
        explain(io_->name(), "open", error, peer(), io_->reason());
    io_->close();
    throw Exception(
        error == ECANCELED ? Exception::INTERRUPTED : Exception::NOT_OPEN, why);
  }
}

void StreamTransport::close() {
  io_->close();
  aheadAt_ = aheadEnd_ = 0;
  sendDeadline_.reset();
  abandoned_ = false;
}

void StreamTransport::abandon() {
  if (!shared_) return close();
  abandoned_ = true;
  interrupt();
}

bool StreamTransport::peek() {
  if (!isOpen()) return false;
  if (hasReadAhead()) return true;
  aheadAt_ = 0;
  aheadEnd_ = 0;
  aheadEnd_ = readChannel(ahead_.data(), ahead_.size());
  return hasReadAhead();
}

std::uint32_t StreamTransport::read(std::uint8_t* data, std::uint32_t size) {
  if (size == 0) return 0;
  if (hasReadAhead()) {
    std::uint32_t take = std::min(size, aheadEnd_ - aheadAt_);
    std::memcpy(data, ahead_.data() + aheadAt_, take);
    aheadAt_ += take;
    return take;
  }
  return readChannel(data, size);
}

std::uint32_t StreamTransport::readChannel(std::uint8_t* data,
                                           std::uint32_t size) {
  const Deadline deadline =
      Deadline::earlier(Deadline::in(recvTimeoutMs_), receiveDeadline_);
  check(receiveDeadline_, "read");
  for (;;) {
    if (!isOpen()) fail(Exception::NOT_OPEN, "read", ENOTCONN);
    ssize_t got = io_->read(data, size);
    if (got >= 0) return static_cast<std::uint32_t>(got);
    if (is_retry(got)) continue;
    if (got == -EAGAIN) {
      await(POLLIN, deadline, "read");
      continue;
    }
    int error = static_cast<int>(-got);
    abandon();
    fail(readFailure(error), "read", error);
  }
}

void StreamTransport::write(const std::uint8_t* data, std::uint32_t size) {
  if (!sendDeadline_) sendDeadline_ = Deadline::in(sendTimeoutMs_);
  const Deadline deadline = *sendDeadline_;
  while (size > 0) {
    if (!isOpen()) fail(Exception::NOT_OPEN, "write", ENOTCONN);
    ssize_t put = io_->write(data, size);
    if (put > 0) {
      data += put;
      size -= static_cast<std::uint32_t>(put);
      if (size > 0) check(deadline, "write");
    } else if (put == 0 || put == -EAGAIN) {
      await(POLLOUT, deadline, "write");
    } else if (!is_retry(put)) {
      int error = static_cast<int>(-put);
      abandon();
      fail(writeFailure(error), "write", error);
    }
  }
}

}  // namespace lanecall
