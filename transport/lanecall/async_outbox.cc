// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <lanecall/async_outbox.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lanecall {
namespace {

// Before a frame: its size, big-endian.
constexpr std::size_t kFrameHeader = 4;

// Of a large message so much is published while the rest is being copied.
constexpr std::uint32_t kPublishBytes = 64 << 10;

}  // namespace

void AsyncOutbox::attach(RingIo& io) {
  io_ = &io;
  tally_.begin(io.outgoing().counters);
}

void AsyncOutbox::clear() {
  io_ = nullptr;
  tally_.hide();
  staged_ = 0;
  waiting_.clear();
  sent_ = queued_ = 0;
}

// ---- The ring --------------------------------------------------------------

// Space as last known.
std::uint32_t AsyncOutbox::room() const {
  const lanecall_ring& ring = io_->outgoing().core;
  return ring.size - (ring.own - ring.other) - staged_;
}

// An index that cannot be leaves what was known; push() will find it again.
bool AsyncOutbox::makeRoom(std::uint32_t least) {
  if (room() >= least) return true;
  lanecall_ring_space(&io_->outgoing().core);
  return room() >= least;
}

std::uint32_t AsyncOutbox::piece() const {
  return std::min(kPublishBytes, io_->outgoing().core.size / 4);
}

// There is room.
void AsyncOutbox::stage(const std::uint8_t* data, std::uint32_t size) {
  if (size == 0) return;  // and perhaps no data
  const RingIo::Ring& ring = io_->outgoing();
  std::memcpy(
      ring.bytes + lanecall_ring_offset(&ring.core, ring.core.own + staged_),
      data, size);
  staged_ += size;
}

void AsyncOutbox::publish() {
  if (staged_ == 0) return;
  const bool asked = lanecall_ring_publish(&io_->outgoing().core, staged_);
  tally_.add(&lanecall_user_counters::flushes);
  tally_.add(&lanecall_user_counters::bytes, staged_);
  staged_ = 0;
  if (!asked) return;
  tally_.add(&lanecall_user_counters::doorbells);
  io_->notify();
}

// ---- Messages --------------------------------------------------------------

void AsyncOutbox::add(std::uint64_t id, const std::uint8_t* data,
                      std::size_t size) {
  std::uint8_t header[kFrameHeader];
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(size));
  std::memcpy(header, &length, sizeof length);
  const std::size_t head =
      framing_ == Framing::kFramed && size > 0 ? kFrameHeader : 0;
  const std::size_t whole = head + size;
  if (io_ && waiting_.empty() && whole <= io_->outgoing().core.size &&
      makeRoom(static_cast<std::uint32_t>(whole))) {
    stage(header, static_cast<std::uint32_t>(head));
    stage(data, static_cast<std::uint32_t>(size));
    handed_ = id;
    if (staged_ >= piece()) publish();
    return;
  }
  Waiting& waiting = waiting_.emplace_back();
  waiting.id = id;
  waiting.bytes.reserve(whole);
  waiting.bytes.insert(waiting.bytes.end(), header, header + head);
  waiting.bytes.insert(waiting.bytes.end(), data, data + size);
  queued_ += whole;
}

bool AsyncOutbox::drop(std::uint64_t id) {
  const auto at = std::lower_bound(
      waiting_.begin(), waiting_.end(), id,
      [](const Waiting& one, std::uint64_t wanted) { return one.id < wanted; });
  if (at == waiting_.end() || at->id != id) return false;
  if (at == waiting_.begin() && sent_ > 0) return false;
  if (at->bytes.empty()) return false;
  queued_ -= at->bytes.size();
  waiting_.erase(at);
  return true;
}

// Fills the ring.
int AsyncOutbox::fill(std::size_t most) {
  while (!waiting_.empty()) {
    const Waiting& first = waiting_.front();
    const std::size_t left = first.bytes.size() - sent_;
    if (left > 0) {
      if (most == 0) return 0;
      if (lanecall_ring_space(&io_->outgoing().core) < 0) return -EPROTO;
      const auto part = static_cast<std::uint32_t>(
          std::min({left, most, std::size_t{room()}, std::size_t{piece()}}));
      if (part == 0) return 0;
      stage(first.bytes.data() + sent_, part);
      publish();
      sent_ += part;
      queued_ -= part;
      most -= part;
      if (part < left) continue;
    }
    handed_ = first.id;
    waiting_.pop_front();
    sent_ = 0;
  }
  return 0;
}

int AsyncOutbox::push(std::size_t most) {
  if (!io_) return 0;
  publish();
  if (!io_->isCarried()) return fill(most);
  // The ring is carried away as it is filled.
  for (;;) {
    const std::size_t before = queued_;
    io_->move(POLLOUT);
    if (int error = fill(most)) return error;
    const std::size_t filled = before - queued_;
    if (filled == 0) return 0;
    most -= filled;
  }
}

bool AsyncOutbox::isStuck() {
  if (!io_) return false;
  if (!waiting_.empty()) return true;
  // A carried ring that is not empty is what the channel would not take.
  return io_->isCarried() && !makeRoom(io_->outgoing().core.size);
}

bool AsyncOutbox::canGoOn() {
  if (!io_ || waiting_.empty()) return false;
  const std::size_t left = waiting_.front().bytes.size() - sent_;
  return makeRoom(std::min<std::size_t>(left, piece()));
}

// A carried ring's channel is what has to take bytes, and nobody can ask it.
bool AsyncOutbox::armRoom() {
  if (io_->isCarried()) return false;
  tally_.add(&lanecall_user_counters::full_waits);
  io_->hurry();
  return lanecall_ring_arm_space(&io_->outgoing().core, 1) != 0;
}

}  // namespace lanecall
