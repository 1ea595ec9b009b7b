// SPDX-License-Identifier: Apache-2.0
#include "hostile_ring_io.h"

#include <lanecall/descriptor.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace lanecall::fuzz {
namespace {

constexpr std::uint32_t kRingBytes = 4096;

Mapping ringMemory() {
  Descriptor file(::memfd_create("ring", MFD_CLOEXEC));
  Mapping memory;
  if (!file.valid() || ::ftruncate(file.get(), kRingBytes) < 0 ||
      memory.mapTwice(file.get(), 0, kRingBytes, PROT_READ | PROT_WRITE) != 0)
    throw std::system_error(errno, std::generic_category(), "a test's ring");
  return memory;
}

// One channel lives at a time: making memory anew would be most of the work.
struct Memory {
  Mapping tx = ringMemory();
  Mapping rx = ringMemory();
  lanecall_index_page page{};
};

Memory& memory() {
  static Memory all;
  return all;
}

bool isPossible(const lanecall_ring& consumer, std::uint32_t head) {
  return head - consumer.own <= consumer.size &&
         head - consumer.other <=
             consumer.size - (consumer.other - consumer.own);
}

bool isRoomPossible(const lanecall_ring& producer, std::uint32_t tail) {
  return tail - producer.other <= producer.own - producer.other;
}

}  // namespace

HostileRingIo::HostileRingIo(Choices& choices, const Messages& messages)
    : choices_(choices), messages_(messages), page_(memory().page) {
  page_ = {};
  const std::uint32_t start = choices.flip() ? 0 : 0u - choices.upTo(8192);
  outgoing_.bytes = memory().tx.data();
  incoming_.bytes = memory().rx.data();
  lanecall_ring_init(&outgoing_.core, &page_.tx_producer, &page_.tx_consumer,
                     kRingBytes);
  lanecall_ring_init(&incoming_.core, &page_.rx_producer, &page_.rx_consumer,
                     kRingBytes);
  for (lanecall_ring* core : {&outgoing_.core, &incoming_.core}) {
    core->own = core->other = start;
    core->producer->head = core->consumer->tail = start;
  }
  said_ = page_.rx_producer;
  heard_ = page_.tx_consumer;
}

std::uint32_t HostileRingIo::lie(const lanecall_ring& victim) {
  constexpr std::array<std::uint32_t, 6> kBy = {
      1, 0u - 1, kRingBytes, kRingBytes + 1, 0u - kRingBytes, 0x80000000u};
  if (choices_.flip()) return choices_.word();
  return (choices_.flip() ? victim.own : victim.other) +
         kBy[choices_.below(kBy.size())];
}

// Bytes of its choice.
void HostileRingIo::say() {
  const std::uint32_t used = said_.head - incoming_.core.own;
  if (used >= kRingBytes) return;
  const std::uint32_t n = choices_.upTo(std::min(kRingBytes - used, 255u));
  for (std::uint32_t i = 0; i < n && !choices_.isOver(); ++i)
    incoming_.bytes[said_.head++ % kRingBytes] = choices_.byte();
}

// A right message, or a part of one, or with a byte that is not.
void HostileRingIo::sayMessage() {
  std::string message = messages_[choices_.below(
      static_cast<unsigned>(std::min<std::size_t>(messages_.size(), 256)))];
  if (choices_.flip())
    message[choices_.word() % message.size()] =
        static_cast<char>(choices_.byte());
  if (choices_.flip()) message.resize(choices_.word() % message.size());
  for (char byte : message) {
    if (said_.head - incoming_.core.own >= kRingBytes) return;
    incoming_.bytes[said_.head++ % kRingBytes] =
        static_cast<std::uint8_t>(byte);
  }
}

void HostileRingIo::take() {
  heard_.tail = page_.tx_producer.head;
  heard_.want_head = heard_.tail;
}

// What our side alone may write.
void HostileRingIo::writeOurs() {
  page_.rx_consumer.tail = lie(incoming_.core);
  wroteOurs_ = true;
}

void HostileRingIo::act() {
  if (choices_.isOver()) {
    end_ = -ESHUTDOWN;
    return;
  }
  constexpr std::array kEnds = {-ESHUTDOWN, -ECONNRESET, -EIO, -ENOENT};
  switch (choices_.below(12)) {
    case 0:
    case 1:
      break;
    case 2:
    case 3:
      say();
      break;
    case 4:
    case 5:
      sayMessage();
      break;
    case 6:
    case 7:
      take();
      break;
    case 8:
      incoming_.bytes[choices_.word() % kRingBytes] = choices_.byte();
      break;
    case 9:
      said_.want_tail = lie(outgoing_.core);
      heard_.want_head = lie(incoming_.core);
      break;
    case 10:
      if (choices_.flip()) said_.head = lie(incoming_.core);
      if (choices_.flip()) heard_.tail = lie(outgoing_.core);
      if (choices_.below(8) == 1) writeOurs();
      break;
    case 11:
      if (choices_.below(4) == 0 && !end_)
        end_ = kEnds[choices_.below(kEnds.size())];
      break;
  }
  page_.rx_producer = said_;
  page_.tx_consumer = heard_;
}

// Every look at a ring begins with this.
int HostileRingIo::end() const {
  const_cast<HostileRingIo*>(this)->act();
  if (!isPossible(incoming_.core, said_.head) &&
      !isRoomPossible(outgoing_.core, heard_.tail))
    const_cast<HostileRingIo*>(this)->onlyLied_ = true;
  return end_;
}

int HostileRingIo::poll(short events, int) {
  act();
  if (interrupted_) return -ECANCELED;
  if (end_) return POLLHUP;
  constexpr std::array kErrors = {-EINTR, -ECANCELED, -ENOMEM};
  if (choices_.below(16) == 1) return kErrors[choices_.below(kErrors.size())];
  return choices_.flip() ? events : 0;
}

void HostileRingIo::refuse() {
  refused_ = true;
  close();
}

void HostileRingIo::requireInOrder() {
  const lanecall_ring& in = incoming_.core;
  const lanecall_ring& out = outgoing_.core;
  require(in.other - in.own <= kRingBytes, "no more was seen than fits");
  require(out.own - out.other <= kRingBytes, "no more was sent than fits");
  require(page_.tx_producer.head == out.own, "what was sent was published");
  if (page_.rx_consumer.tail == in.own) wroteOurs_ = false;
  require(wroteOurs_ || page_.rx_consumer.tail == in.own,
          "what was read was given back");
  require(std::memcmp(&page_.rx_producer, &said_, sizeof said_) == 0 &&
              std::memcmp(&page_.tx_consumer, &heard_, sizeof heard_) == 0,
          "a side writes its own words only");
}

}  // namespace lanecall::fuzz
