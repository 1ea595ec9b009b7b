// SPDX-License-Identifier: Apache-2.0
// A channel on the direct plane: the device only passes on what the driver does
// by register writes and what the server says by frames. The bytes in the rings
// are between these two.
//
//   CONNECTING   waits for a session, then is offered: it has an id
//   READY        accepted; placing once the driver has given ATTACH
//   RUNNING, DRAINING
//   ENDED        by the server's END: it is told CLOSE when the driver closes,
//                too; else it was told at once
#include <poll.h>
#include <sys/eventfd.h>

#include "fake_channel.h"

namespace lanecall::test {

// ---- From the driver -------------------------------------------------------

// Whether the direct plane is tried.
bool FakeChannel::openInCard() {
  FakeCardPort* card = host_.card();
  if (registers_[LANECALL_CH_FLAGS / 4] != LANECALL_CHF_IN_CARD ||
      !card->connect()) {
    return false;
  }
  direct_.waiting = true;
  if (card->isLive()) offer();
  return true;
}

void FakeChannel::offer() {
  direct_.waiting = false;
  direct_.doorbell = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  direct_.interrupt = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!direct_.doorbell.valid() || !direct_.interrupt.valid()) {
    return fallBack(LANECALL_ERR_RESOURCES);
  }
  direct_.id = host_.card()->offer(
      {number_, has_user_ ? LANECALL_CARD_OFFER_USER : 0u, user_},
      direct_.doorbell.get(), direct_.interrupt.get());
}

void FakeChannel::attachInCard() {
  const uint32_t tx = registers_[LANECALL_CH_TX_SHIFT / 4];
  const uint32_t rx = registers_[LANECALL_CH_RX_SHIFT / 4];
  const uint32_t page = registers_[LANECALL_CH_PAGE_SHIFT / 4];
  const auto is_ring = [](uint32_t shift) {
    return shift >= LANECALL_RING_SHIFT_MIN && shift <= LANECALL_RING_SHIFT_MAX;
  };
  if (takeModeration() != 0 || !is_ring(tx) || !is_ring(rx) ||
      page < LANECALL_PAGE_SHIFT_MIN || page > LANECALL_PAGE_SHIFT_MAX) {
    return end(LANECALL_ERR_PROTOCOL);
  }
  lanecall_card_frame frame{};
  frame.place.tx_bytes = 1u << tx;
  frame.place.rx_bytes = 1u << rx;
  frame.place.page_bytes = 1u << page;
  frame.place.moderate_bytes = moderate_bytes_;
  frame.place.moderate_us = moderate_us_;
  direct_.placing = true;
  direct_.busy = 0;
  direct_.page_bytes = 1u << page;
  direct_.places[0].bytes = lanecall_card_index_bytes(1u << page);
  direct_.places[1].bytes = lanecall_card_ring_bytes(1u << tx, 1u << page);
  direct_.places[2].bytes = lanecall_card_ring_bytes(1u << rx, 1u << page);
  send(LANECALL_CARD_PLACE, frame);
}

void FakeChannel::drainInCard() {
  setStatus(LANECALL_DRAINING);
  send(LANECALL_CARD_DRAIN);
}

// The server has this eventfd too, and may have filled it and made it blocking.
void FakeChannel::ringServer() {
  pollfd p{.fd = direct_.doorbell.get(), .events = POLLOUT, .revents = 0};
  if (poll(&p, 1, 0) > 0) eventfd_write(p.fd, 1);
}

// ---- From the server -------------------------------------------------------

const char* FakeChannel::frameArrives(const lanecall_card_frame& frame) {
  // The server has ended it, and may have sent this on the way to that.
  if (direct_.ended && frame.type != LANECALL_CARD_RELEASED) return nullptr;
  switch (frame.type) {
    case LANECALL_CARD_ACCEPT:
      return accepted();
    case LANECALL_CARD_DECLINE:
      return declined(frame.error);
    case LANECALL_CARD_PLACED:
      return placed(frame.placed);
    case LANECALL_CARD_END:
      return ended(frame.error);
    default:
      return released();
  }
}

const char* FakeChannel::accepted() {
  if (state() != LANECALL_CONNECTING) return "answers an OFFER twice";
  in_card_ = true;
  setStatus(LANECALL_READY);
  return nullptr;
}

const char* FakeChannel::declined(uint32_t error) {
  if (state() != LANECALL_CONNECTING) return "answers an OFFER twice";
  if (error > LANECALL_ERR_IO) return "DECLINE with an unknown error";
  direct_.id = 0;  // closed by this frame
  fallBack(error ? error : LANECALL_ERR_REFUSED);
  return nullptr;
}

const char* FakeChannel::placed(const lanecall_places& where) {
  FakeCardMemory& memory = host_.card()->memory();
  if (!direct_.placing) return "PLACED without a PLACE";
  direct_.places[0].offset = where.index;
  direct_.places[1].offset = where.tx;
  direct_.places[2].offset = where.rx;
  if (!memory.is_valid(direct_.places, direct_.page_bytes)) {
    end(LANECALL_ERR_IO);
  } else if (const Place* in_use = memory.inUse(direct_.places)) {
    busy(*in_use);
  } else {
    memory.hold(number_, direct_.places);
    start();
  }
  return nullptr;
}

void FakeChannel::busy(const Place& in_use) {
  if (++direct_.busy > LANECALL_CARD_BUSY_MAX) return end(LANECALL_ERR_IO);
  lanecall_card_frame frame{};
  frame.busy.offset = in_use.offset;
  frame.busy.bytes = in_use.bytes;
  send(LANECALL_CARD_BUSY, frame);
}

void FakeChannel::start() {
  direct_.placing = false;
  index_->card.index = direct_.places[0].offset;
  index_->card.tx = direct_.places[1].offset;
  index_->card.rx = direct_.places[2].offset;
  host_.watchInterrupt(number_, direct_.interrupt.get());
  send(LANECALL_CARD_START);
  setStatus(LANECALL_RUNNING);
}

// A server that finds the driver's indices impossible says PROTOCOL; that is
// counted as if the device had found it.
const char* FakeChannel::ended(uint32_t error) {
  if (state() == LANECALL_CONNECTING) return "END before ACCEPT";
  if (error > LANECALL_ERR_IO) return "END with an unknown error";
  direct_.ended = true;
  direct_.placing = false;
  if (error == LANECALL_ERR_PROTOCOL || error == LANECALL_ERR_DMA) {
    host_.countGuestError();
  }
  if (state() != LANECALL_DRAINING) setStatus(LANECALL_ENDED, error);
  return nullptr;
}

const char* FakeChannel::released() {
  if (state() != LANECALL_DRAINING) return "RELEASED without a DRAIN";
  direct_.id = 0;  // closed by this frame
  close();
  return nullptr;
}

// ---- The session -----------------------------------------------------------

void FakeChannel::sessionBegins() {
  if (direct_.waiting) offer();
}

void FakeChannel::sessionEnds() {
  if (direct_.id == 0 && !direct_.waiting) return;
  direct_.id = 0;
  switch (state()) {
    case LANECALL_CONNECTING:
      return fallBack(LANECALL_ERR_REFUSED);
    case LANECALL_DRAINING:
      return close();
    case LANECALL_ENDED:
      return leaveCard();
    default:
      return end(LANECALL_ERR_RESET);
  }
}

// To a server that knows of the channel.
void FakeChannel::send(uint32_t type, const lanecall_card_frame& frame) {
  if (direct_.id != 0) host_.card()->send(type, direct_.id, frame);
}

// All but its places, which a program may have mapped until it is CLOSED.
void FakeChannel::leaveCard() {
  send(LANECALL_CARD_CLOSE);
  host_.watchInterrupt(number_, -1);
  direct_ = Direct();
}

}  // namespace lanecall::test
