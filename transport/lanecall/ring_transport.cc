// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <lanecall/connect.h>
#include <lanecall/failure.h>
#include <lanecall/ring_transport.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

namespace lanecall {
namespace {

// A string longer than Gathered trusts is allocated on its announcement if that
// is not more than so many times what has come.
constexpr std::uint64_t kTrust = 16;

// A deadline is looked at once in so many times that bytes, or room, were there
// without a wait: a side that moves one just in time each time must not stretch
// it, and reading the clock each time would cost the others.
constexpr std::uint32_t kChecksEvery = 64;

// Before a frame: its size, big-endian.
constexpr std::uint32_t kFrameHeader = 4;

// For windows that hold nothing.
std::uint8_t nowhere;

std::uint8_t* position(const RingIo::Ring& ring) {
  return ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own);
}

}  // namespace

RingTransport::RingTransport(std::unique_ptr<RingIo> io,
                             const Configuration& configuration, Peer peer)
    : TVirtualTransport(configuration), io_(std::move(io)), peer_(peer) {
  detach();
  if (io_->isOpen() && io_->status() == 0) attach();
}

RingTransport::~RingTransport() {
  countConsumed();
  io_->close();
}

// ---- Opening and closing ---------------------------------------------------

void RingTransport::attach() {
  in_ = &io_->incoming();
  out_ = &io_->outgoing();
  carried_ = io_->isCarried();
  reads_.begin(in_->counters);
  writes_.begin(out_->counters);
  readAt_ = position(*in_);
  setReadBuffer(readAt_, 0);
  writeAt_ = wBase_ = position(*out_);
  openWindow();
}

void RingTransport::detach() {
  in_ = out_ = nullptr;
  abandoned_ = false;
  reads_.hide();
  writes_.hide();
  readAt_ = writeAt_ = &nowhere;
  setReadBuffer(&nowhere, 0);
  setWriteBuffer(&nowhere, 0);
  end_ = 0;
  received_ = sent_ = 0;
  headerBytes_ = frameLeft_ = 0;
  gathering_ = frameInRing_ = false;
  gathered_.reset();
  frame_.clear();
  readDeadline_.reset();
  sendDeadline_.reset();
  resetConsumedMessageSize();
}

void RingTransport::open() {
  if (isOpen()) return;
  close();  // what was abandoned
  receiveDeadline_ = Deadline::never();
  interrupted_ = false;
  if (int error = connectWithin(*io_, Deadline::in(connTimeoutMs_))) {
    const std::string why =
        explain(io_->name(), "open", error, peer_, io_->reason());
    io_->close();
    throw Exception(
        error == ECANCELED ? Exception::INTERRUPTED : Exception::NOT_OPEN, why);
  }
  attach();
}

void RingTransport::close() {
  countConsumed();
  io_->close();
  detach();
}

void RingTransport::abandon() {
  if (!shared_) return close();
  abandoned_ = true;
  interrupt();
}

void RingTransport::setFraming(Framing framing) {
  framing_ = framing;
  if (out_) openWindow();
}

void RingTransport::setSpin(Spin spin) {
  readSpinner_ = Spinner(spin);
  writeSpinner_ = Spinner(spin);
}

void RingTransport::interrupt() {
  interrupted_ = true;
  io_->interrupt();
}

// ---- Waiting ---------------------------------------------------------------

void RingTransport::fail(Type type, const char* action, int error) const {
  throw Exception(type, explain(io_->name(), action, error, peer_));
}

void RingTransport::failLate(const char* action) {
  abandon();
  fail(Exception::TIMED_OUT, action, ETIMEDOUT);
}

// Until over() says so. arm() asks the other side to tell; the deadline is only
// made when the wait is not short, since that reads the clock.
template <typename Over, typename Arm, typename MakeDeadline>
void RingTransport::wait(Spinner& spinner, Tally& tally, short events,
                         const char* action, Over over, Arm arm,
                         MakeDeadline makeDeadline) {
  bool isOver = false;
  auto stop = [&] {
    isOver = over();
    return isOver || interrupted_.load(std::memory_order_relaxed);
  };
  if (spinner.glance(stop) && isOver)
    return tally.add(&lanecall_user_counters::spins);
  const Deadline deadline = makeDeadline();
  bool slept = false;
  if (!spinner.spin(stop, [&] { return deadline.passed(); })) {
    do {
      if (deadline.passed()) failLate(action);
      arm();
      if (stop()) break;
      slept = true;
      tally.add(&lanecall_user_counters::sleeps);
      const int ready = io_->poll(events, deadline.remainingMs());
      if (ready < 0 && ready != -EINTR && ready != -ECANCELED) {
        abandon();
        fail(Exception::UNKNOWN, action, -ready);
      }
      if (ready == -ECANCELED) interrupted_ = true;
    } while (!stop());
  }
  if (slept)
    spinner.slept();
  else
    tally.add(&lanecall_user_counters::spins);
  if (isOver) return;
  // Half a message may have been sent, and nothing may follow it; or what was
  // read of one is lost, and the next cannot be found.
  if (events & POLLOUT || isInsideMessage()) abandon();
  fail(Exception::INTERRUPTED, action, ECANCELED);
}

// The other side's index cannot be what it is: what is left when the device
// went away, or a lie. An errno value.
int RingTransport::refuse() {
  const int end = io_->end();
  if (end != 0 && end != -ESHUTDOWN) return -end;
  if (!shared_) {
    countConsumed();
    io_->refuse();
    detach();  // the rings are gone, and the counters next to them
  }
  return EPROTO;
}

// A device may be gone before anybody says so; a client's memory stays. An
// errno value.
int RingTransport::whyImpossible(const RingIo::Ring& ring) {
  if (peer_ == Peer::kDevice && lanecall_ring_reads_as_gone(&ring.core))
    return EIO;
  return refuse();
}

// ---- Receiving -------------------------------------------------------------

void RingTransport::failRead(int error) {
  abandon();
  fail(readFailure(error), "read", error);
}

void RingTransport::failInside(const char* what) {
  abandon();
  throw Exception(Exception::END_OF_FILE,
                  getOrigin() + ": the connection ended inside a " + what);
}

void RingTransport::tell(Tally& tally) {
  tally.add(&lanecall_user_counters::doorbells);
  io_->notify();
}

// The last answer's, which are not given back.
void RingTransport::countConsumed() {
  if (in_) reads_.add(&lanecall_user_counters::bytes, consumed());
}

// Gives consumed bytes back.
void RingTransport::release() {
  const std::uint32_t bytes = consumed();
  if (bytes == 0) return;
  const std::uint32_t seen = readable();
  const bool asked = lanecall_ring_release(&in_->core, bytes);
  readAt_ = position(*in_);
  setReadBuffer(readAt_, seen);
  reads_.add(&lanecall_user_counters::bytes, bytes);
  if (asked) tell(reads_);
}

void RingTransport::settle() {
  if (hasBuffered()) return;
  leaveGathered();
  release();
}

// Looks at the ring: bytes that were not seen, or -1.
__s64 RingTransport::lookForBytes() {
  if (carried_) io_->move(POLLIN);
  end_ = io_->end();
  const __s64 held = lanecall_ring_look(&in_->core);
  return held < 0 ? held : held - consumed() - readable();
}

// Is there a byte that was not seen, or the end?
bool RingTransport::isMoreThere() {
  const __s64 unseen = lookForBytes();
  if (unseen < 0) failRead(whyImpossible(*in_));
  return unseen > 0 || end_ != 0;
}

// The rest of the message's budget, or of its frame.
std::uint64_t RingTransport::allowance() const {
  if (framing_ == Framing::kFramed) return frameLeft_;
  const auto limit =
      static_cast<std::uint64_t>(configuration_->getMaxMessageSize());
  return limit - std::min(limit, received_);
}

// Lets up to `most` bytes that are there, and were not seen yet, be read.
void RingTransport::show(std::uint64_t most) {
  const std::uint32_t held = in_->core.other - in_->core.own;
  const std::uint32_t unseen = held - consumed() - readable();
  rBound_ += std::min<std::uint64_t>(unseen, most);
}

// Of the read that is under way, from its first wait on.
Deadline RingTransport::readDeadline() {
  if (!readDeadline_) readDeadline_ = Deadline::in(recvTimeoutMs_);
  return Deadline::earlier(*readDeadline_, receiveDeadline_);
}

void RingTransport::checkReceiveDeadline() {
  if (++sights_ % kChecksEvery == 0 && receiveDeadline_.passed())
    failLate("read");
}

void RingTransport::awaitBytes() {
  release();
  wait(
      readSpinner_, reads_, POLLIN, "read", [this] { return isMoreThere(); },
      [this] { lanecall_ring_arm(&in_->core); },
      [this] { return readDeadline(); });
}

// When nothing is readable: waits until something is; false at the end.
bool RingTransport::see(std::uint64_t most) {
  if (!in_ || abandoned_) fail(Exception::NOT_OPEN, "read", ENOTCONN);
  leaveGathered();
  checkReceiveDeadline();
  if (consumed() >= in_->core.size / 2) release();
  if (!isMoreThere()) awaitBytes();
  show(most);
  if (hasBuffered()) return true;
  if (end_ != -ESHUTDOWN) failRead(-end_);
  return false;
}

// The same for bytes of a message, which are counted.
bool RingTransport::fill() {
  readDeadline_.reset();
  if (framing_ == Framing::kFramed && frameLeft_ == 0 && !beginFrame())
    return false;
  const std::uint64_t most = allowance();
  if (most == 0) {
    checkRead();
    abandon();  // what is left of it must not be taken for the next
    overLimit(getOrigin(), "a message received", getMaxMessageSize());
  }
  if (!see(most)) {
    if (frameLeft_ > 0) failInside("frame");
    return false;
  }
  if (framing_ == Framing::kFramed)
    frameLeft_ -= readable();
  else
    received_ += readable();
  return true;
}

// False at the end.
bool RingTransport::beginFrame() {
  std::uint8_t header[kFrameHeader];
  for (headerBytes_ = 0; headerBytes_ < kFrameHeader;) {
    if (!see(kFrameHeader - headerBytes_)) {
      if (headerBytes_ > 0) failInside("frame");
      return false;
    }
    headerBytes_ += take(header + headerBytes_, readable());
  }
  headerBytes_ = 0;
  std::uint32_t size;
  std::memcpy(&size, header, sizeof size);
  size = ntohl(size);
  const auto limit = static_cast<std::uint64_t>(getMaxMessageSize());
  if (size == 0 || size > limit - std::min(limit, received_)) {
    checkRead();
    abandon();  // what is in it must not be taken for frames
    badFrame(getOrigin(), size, getMaxMessageSize());
  }
  received_ += size;
  frameLeft_ = size;
  return true;
}

bool RingTransport::peek() {
  if (hasBuffered()) return true;
  return isOpen() && fill();
}

bool RingTransport::isReadable() {
  return hasBuffered() || !in_ || lookForBytes() != 0 || end_ != 0;
}

bool RingTransport::armReadable() {
  if (isReadable()) return true;
  leaveGathered();
  release();
  lanecall_ring_arm(&in_->core);
  return isReadable();
}

std::uint32_t RingTransport::readSlow(std::uint8_t* data, std::uint32_t size) {
  if (!hasBuffered() && !fill()) return 0;
  return take(data, std::min(size, readable()));
}

void RingTransport::checkRead() {
  if (!in_) return;
  if (!lanecall_ring_is_there(&in_->core)) failRead(whyImpossible(*in_));
  // What a driver puts there instead is zeros, after it has said so.
  if (io_->end() == -EIO) failRead(EIO);
}

std::uint32_t RingTransport::readEnd() {
  checkRead();
  if (!hasBuffered()) {
    leaveGathered();
    gathered_.shrink();
  }
  // What was seen or announced already belongs to the next message.
  received_ = static_cast<std::uint64_t>(readable()) + frameLeft_;
  resetConsumedMessageSize();
  return 0;
}

// A protocol that brings no storage is about to read a string of *size bytes,
// all of which must come. What is all there is read in place; what is long and
// not yet there is gathered, in memory that grows with what arrives. For the
// rest the protocol calls readAll().
const std::uint8_t* RingTransport::borrowSlow(std::uint8_t* data,
                                              std::uint32_t* size) {
  if (data || !in_ || (gathering_ && hasBuffered())) return nullptr;
  checkReadBytesAvailable(*size);
  leaveGathered();
  if (isMoreThere()) {
    const std::uint32_t before = readable();
    show(allowance());
    const std::uint32_t more = readable() - before;
    if (framing_ == Framing::kFramed)
      frameLeft_ -= more;
    else
      received_ += more;
  }
  if (*size > readable()) {
    if (*size <= Gathered::kTrustedBytes + kTrust * readable()) return nullptr;
    gather(*size);
  }
  *size = readable();
  return rBase_;
}

const std::uint8_t* RingTransport::gather(std::uint32_t size) {
  std::uint32_t have = 0;
  while (have < size) {
    if (have == gathered_.room()) gathered_.grow(size);
    if (!hasBuffered() && !fill()) failInside("message");
    have += take(gathered_.data() + have,
                 std::min({readable(), gathered_.room() - have, size - have}));
  }
  // What was seen behind it is forgotten, to be looked at again.
  if (framing_ == Framing::kFramed)
    frameLeft_ += readable();
  else
    received_ -= readable();
  rBound_ = rBase_;
  release();
  gathering_ = true;
  setReadBuffer(gathered_.data(), size);
  return rBase_;
}

// Back to the ring, when a gathered string was read.
void RingTransport::leaveGathered() {
  if (!gathering_) return;
  gathering_ = false;
  setReadBuffer(readAt_, 0);
}

// ---- Sending ---------------------------------------------------------------

void RingTransport::failWrite(int error) {
  abandon();
  fail(writeFailure(error), "write", error);
}

// Space as last known, of which some is written to and not published.
std::uint32_t RingTransport::room() const {
  return out_->core.size - (out_->core.own - out_->core.other);
}

// Looks at the ring.
bool RingTransport::isRoomThere(std::uint32_t least) {
  if (carried_) io_->move(POLLOUT);
  if (int end = io_->end()) failWrite(end == -ESHUTDOWN ? EPIPE : -end);
  const __s64 space = lanecall_ring_space(&out_->core);
  if (space < 0) failWrite(whyImpossible(*out_));
  return space >= least;
}

// Of the message that is being sent, from its first wait on.
const Deadline& RingTransport::sendDeadline() {
  if (!sendDeadline_) sendDeadline_ = Deadline::in(sendTimeoutMs_);
  return *sendDeadline_;
}

void RingTransport::awaitRoom(std::uint32_t least) {
  if (++shortages_ % kChecksEvery == 0 && sendDeadline().passed())
    failLate("write");
  if (isRoomThere(least)) return;
  writes_.add(&lanecall_user_counters::full_waits);
  io_->hurry();
  wait(
      writeSpinner_, writes_, POLLOUT, "write",
      [&] { return isRoomThere(least); },
      [&] { lanecall_ring_arm_space(&out_->core, least); },
      [this] { return sendDeadline(); });
}

// Of a ring that holds only a few, so that the other side has some to read
// while others are written.
std::uint32_t RingTransport::piece() const {
  return std::min(kPublishBytes, out_->core.size / 4);
}

// What a frame in the ring may have, without its size.
std::uint32_t RingTransport::frameRoom() const {
  return std::min(
      room() - kFrameHeader,
      static_cast<std::uint32_t>(configuration_->getMaxMessageSize()));
}

// Where write() may write, when all that it wrote was published or dropped.
void RingTransport::openWindow() {
  frameInRing_ = framing_ == Framing::kFramed && room() > kFrameHeader;
  if (framing_ == Framing::kBuffered)
    setWriteBuffer(writeAt_, std::min(room(), piece()));
  else if (frameInRing_)
    setWriteBuffer(writeAt_ + kFrameHeader, frameRoom());
  else
    setWriteBuffer(writeAt_, 0);
}

void RingTransport::publish() {
  const auto bytes = static_cast<std::uint32_t>(wBase_ - writeAt_);
  if (bytes == 0) return;
  const bool asked = lanecall_ring_publish(&out_->core, bytes);
  sent_ += bytes;
  writeAt_ = wBase_ = position(*out_);
  writes_.add(&lanecall_user_counters::flushes);
  writes_.add(&lanecall_user_counters::bytes, bytes);
  if (asked) tell(writes_);
}

// Through the ring, however little there is of it.
void RingTransport::put(const std::uint8_t* data, std::uint32_t size) {
  while (size > 0) {
    if (writable() == 0) {
      publish();
      if (room() == 0) awaitRoom(1);
      setWriteBuffer(writeAt_, std::min(room(), piece()));
    }
    const std::uint32_t part = std::min(size, writable());
    std::memcpy(wBase_, data, part);
    wBase_ += part;
    data += part;
    size -= part;
  }
}

// A part may have been sent: nothing may follow it.
void RingTransport::checkSize(std::uint64_t more) {
  const auto limit = static_cast<std::uint64_t>(getMaxMessageSize());
  if (sent_ + static_cast<std::uint64_t>(wBase_ - writeAt_) + more <= limit)
    return;
  abandon();
  overLimit(getOrigin(), "a message to send", getMaxMessageSize());
}

void RingTransport::writeSlow(const std::uint8_t* data, std::uint32_t size) {
  if (!out_ || abandoned_) fail(Exception::NOT_OPEN, "write", ENOTCONN);
  if (framing_ == Framing::kFramed) return putIntoFrame(data, size);
  checkSize(size);
  put(data, size);
}

// Of the frame that is being written.
std::uint32_t RingTransport::frameBytes() const {
  if (isFrameOnHeap())
    return static_cast<std::uint32_t>(wBase_ - frame_.data());
  if (!frameInRing_) return 0;
  return static_cast<std::uint32_t>(wBase_ - writeAt_) - kFrameHeader;
}

void RingTransport::putIntoFrame(const std::uint8_t* data, std::uint32_t size) {
  const std::uint64_t whole = std::uint64_t{frameBytes()} + size;
  if (whole > static_cast<std::uint64_t>(getMaxMessageSize())) {
    // The frame is still all here: refusing it leaves the connection usable.
    frame_.clear();
    openWindow();
    overLimit(getOrigin(), "a message to send", getMaxMessageSize());
  }
  if (!isFrameOnHeap() && whole + kFrameHeader <= out_->core.size &&
      isRoomThere(static_cast<std::uint32_t>(whole) + kFrameHeader)) {
    if (!frameInRing_) wBase_ = writeAt_ + kFrameHeader;
    frameInRing_ = true;
    wBound_ = writeAt_ + kFrameHeader + frameRoom();
  } else if (size > writable() || !isFrameOnHeap()) {
    growFrame(static_cast<std::uint32_t>(whole));
  }
  std::memcpy(wBase_, data, size);
  wBase_ += size;
}

// Makes room for so many bytes of the frame on the heap, and moves it there.
void RingTransport::growFrame(std::uint32_t size) {
  const std::uint32_t have = frameBytes();
  const bool move = !isFrameOnHeap();
  const std::uint8_t* from = writeAt_ + kFrameHeader;
  frame_.resize(
      std::max<std::size_t>({size, 2 * frame_.size(), kPublishBytes}));
  if (move) std::memcpy(frame_.data(), from, have);
  const std::size_t most = getMaxMessageSize();
  setWriteBuffer(frame_.data(),
                 static_cast<std::uint32_t>(std::min(frame_.size(), most)));
  wBase_ += have;
}

void RingTransport::endFrame() {
  const std::uint32_t size = frameBytes();
  const std::uint32_t header = htonl(size);
  if (isFrameOnHeap()) {
    const std::vector<std::uint8_t> frame = std::move(frame_);
    frame_.clear();
    setWriteBuffer(writeAt_, 0);
    put(reinterpret_cast<const std::uint8_t*>(&header), kFrameHeader);
    put(frame.data(), size);
  } else if (size > 0) {
    std::memcpy(writeAt_, &header, kFrameHeader);
  } else {
    wBase_ = writeAt_;
  }
}

void RingTransport::flush() {
  if (!out_) return;
  if (abandoned_) fail(Exception::NOT_OPEN, "write", ENOTCONN);
  if (framing_ == Framing::kFramed)
    endFrame();
  else
    checkSize(0);
  if (wBase_ > writeAt_) isRoomThere(0);  // not after the end
  publish();
  if (carried_) awaitRoom(out_->core.size);
  openWindow();
  sent_ = 0;
  sendDeadline_.reset();
}

}  // namespace lanecall
