// SPDX-License-Identifier: Apache-2.0
#include "user_driver.h"

#include <lanecall/card.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace lanecall::test {
namespace {

constexpr int kCloseMs = 20000;

}  // namespace

Geometry::Geometry(DeviceUnderTest& device)
    : channels(device.read32(LANECALL_REG_CHANNELS)),
      vectors(device.read32(LANECALL_REG_VECTORS)),
      channel_offset(device.read32(LANECALL_REG_CHANNEL_OFFSET)),
      channel_stride(device.read32(LANECALL_REG_CHANNEL_STRIDE)),
      doorbell_offset(device.read32(LANECALL_REG_DOORBELL_OFFSET)),
      doorbell_stride(device.read32(LANECALL_REG_DOORBELL_STRIDE)),
      ring_shift_min(device.read32(LANECALL_REG_RING_SHIFTS) & 0xff),
      ring_shift_max(device.read32(LANECALL_REG_RING_SHIFTS) >> 8 & 0xff),
      page_shift_min(device.read32(LANECALL_REG_PAGE_SHIFTS) & 0xff),
      page_shift_max(device.read32(LANECALL_REG_PAGE_SHIFTS) >> 8 & 0xff) {}

void enableEngine(DeviceUnderTest& device, uint32_t features) {
  if (device.read32(LANECALL_REG_MAGIC) != LANECALL_MAGIC ||
      device.read32(LANECALL_REG_VERSION) >> 16 != LANECALL_VERSION_MAJOR) {
    throw std::runtime_error("not a Lanecall device of this version");
  }
  if (features) {
    device.write32(LANECALL_REG_ACCEPTED_LO,
                   features & device.read32(LANECALL_REG_FEATURES_LO));
  }
  device.write32(LANECALL_REG_CONTROL, LANECALL_CONTROL_ENABLE);
  if (device.read32(LANECALL_REG_STATUS) != LANECALL_STATUS_ENABLED) {
    throw std::runtime_error("the device refused to be enabled");
  }
}

// ---- UserRing --------------------------------------------------------------

namespace {

size_t pagesOf(unsigned shift, unsigned page_shift) {
  return shift > page_shift ? size_t{1} << (shift - page_shift) : 1;
}

}  // namespace

UserRing::UserRing(GuestMemory& memory, unsigned shift, unsigned page_shift)
    : shift_(shift),
      page_shift_(page_shift),
      table_(memory, pagesOf(shift, page_shift) * sizeof(uint64_t), 8) {
  const size_t page = size_t{1} << page_shift;
  const size_t count = pagesOf(shift, page_shift);
  for (size_t i = 0; i < count; ++i) {
    pages_.emplace_back(memory, page, page);
    order_.push_back(i);
  }
  // Neighbours in the ring are not neighbours in memory.
  std::reverse(order_.begin(), order_.end());
  for (size_t i = 0; i < count; ++i) setEntry(i, pages_[order_[i]].address());
}

void UserRing::setEntry(size_t page, uint64_t address) {
  std::memcpy(table_.data() + page * sizeof address, &address, sizeof address);
}

template <typename Copy>
void UserRing::walk(uint32_t index, size_t bytes, Copy copy) const {
  const uint32_t page = 1u << page_shift_;
  for (size_t done = 0; done < bytes;) {
    const uint32_t offset =
        (index + static_cast<uint32_t>(done)) & (size() - 1);
    const uint32_t inside = offset & (page - 1);
    const size_t n =
        std::min<size_t>({bytes - done, page - inside, size() - offset});
    copy(at(offset), done, n);
    done += n;
  }
}

unsigned char* UserRing::at(uint32_t offset) const {
  if (card_) return card_ + offset;
  const uint32_t inside = offset & ((1u << page_shift_) - 1);
  return pages_[order_[offset >> page_shift_]].data() + inside;
}

void UserRing::store(uint32_t index, std::span<const unsigned char> from) {
  walk(index, from.size(), [&](unsigned char* at, size_t done, size_t n) {
    std::memcpy(at, from.data() + done, n);
  });
}

void UserRing::load(uint32_t index, std::span<unsigned char> to) const {
  walk(index, to.size(), [&](unsigned char* at, size_t done, size_t n) {
    std::memcpy(to.data() + done, at, n);
  });
}

// ---- UserChannel -----------------------------------------------------------

UserChannel::UserChannel(DeviceUnderTest& device, ChannelOptions options)
    : device_(device),
      options_(options),
      geometry_(device),
      vector_(
          options.vector.value_or((options.channel + 1) % geometry_.vectors)),
      index_(device.memory(), LANECALL_INDEX_BYTES),
      tx_ring_(device.memory(), options.tx_shift, options.page_shift),
      rx_ring_(device.memory(), options.rx_shift, options.page_shift) {
  clear();
}

UserChannel::~UserChannel() {
  try {
    if (LANECALL_STATE(statusRegister()) != LANECALL_CLOSED) {
      close(Deadline::in(kCloseMs));
    }
  } catch (const std::exception&) {
    // The device is gone, and with it whatever might touch the memory.
  }
}

lanecall_index_page& UserChannel::statusPage() const {
  return *reinterpret_cast<lanecall_index_page*>(index_.data());
}

void UserChannel::clear() {
  std::memset(index_.data(), 0, LANECALL_INDEX_BYTES);
  in_card_ = false;
  tx_ring_.place(nullptr);
  rx_ring_.place(nullptr);
  useWords(statusPage());
}

void UserChannel::useWords(lanecall_index_page& words) {
  words_ = &words;
  lanecall_ring_init(&tx_, &words.tx_producer, &words.tx_consumer,
                     tx_ring_.size());
  lanecall_ring_init(&rx_, &words.rx_producer, &words.rx_consumer,
                     rx_ring_.size());
}

uint32_t UserChannel::status() {
  const uint32_t now = lanecall_get32(&statusPage().status);
  const bool placed =
      (now & LANECALL_IN_CARD) && LANECALL_STATE(now) >= LANECALL_RUNNING;
  if (placed && !in_card_) {
    lanecall_rmb();  // the device writes the places before the status
    enterCard();
  }
  return now;
}

// Believes places inside card memory only. A channel may have ended without
// them: then all are 0.
void UserChannel::enterCard() {
  const std::span<unsigned char> card = device_.cardMemory();
  const uint32_t page = 1u << options_.page_shift;
  const lanecall_places at = statusPage().card;
  if (at.index == at.tx ||
      !lanecall_card_fits(at.index, LANECALL_INDEX_BYTES, page, card.size()) ||
      !lanecall_card_fits(at.tx, tx_ring_.size(), page, card.size()) ||
      !lanecall_card_fits(at.rx, rx_ring_.size(), page, card.size())) {
    return;
  }
  in_card_ = true;
  tx_ring_.place(&card[at.tx]);
  rx_ring_.place(&card[at.rx]);
  useWords(*reinterpret_cast<lanecall_index_page*>(&card[at.index]));
}

void UserChannel::writeControl(uint32_t offset, uint32_t value) {
  device_.write32(geometry_.control(options_.channel) + offset, value);
}

void UserChannel::writeControl64(uint32_t offset, uint64_t value) {
  writeControl(offset, static_cast<uint32_t>(value));
  writeControl(offset + 4, static_cast<uint32_t>(value >> 32));
}

uint32_t UserChannel::readControl(uint32_t offset) const {
  return device_.read32(geometry_.control(options_.channel) + offset);
}

uint32_t UserChannel::statusRegister() const {
  return readControl(LANECALL_CH_STATUS);
}

void UserChannel::command(uint32_t command) {
  lanecall_wmb();  // what the device is about to read is stored
  writeControl(LANECALL_CH_COMMAND, command);
}

void UserChannel::doorbell() {
  device_.write32(geometry_.doorbell(options_.channel), 1);
}

void UserChannel::open() {
  writeControl64(LANECALL_CH_INDEX_LO, index_.address());
  writeControl(LANECALL_CH_VECTOR, vector_);
  writeControl(LANECALL_CH_USER, options_.user);
  const bool card =
      device_.read32(LANECALL_REG_ACCEPTED_LO) & LANECALL_FEATURE_CARD_RINGS;
  writeControl(LANECALL_CH_FLAGS,
               options_.flags.value_or(card ? LANECALL_CHF_IN_CARD : 0));
  command(LANECALL_CMD_OPEN);
}

void UserChannel::attach() {
  writeControl64(LANECALL_CH_TX_TABLE_LO, tx_ring_.table());
  writeControl64(LANECALL_CH_RX_TABLE_LO, rx_ring_.table());
  writeControl(LANECALL_CH_TX_SHIFT, options_.tx_shift);
  writeControl(LANECALL_CH_RX_SHIFT, options_.rx_shift);
  writeControl(LANECALL_CH_PAGE_SHIFT, options_.page_shift);
  writeControl(LANECALL_CH_MODERATE_BYTES, options_.moderate_bytes);
  writeControl(LANECALL_CH_MODERATE_US, options_.moderate_us);
  command(LANECALL_CMD_ATTACH);
}

std::optional<uint32_t> UserChannel::waitWhile(uint32_t state,
                                               const Deadline& deadline) {
  for (;;) {
    const uint32_t now = status();
    if (LANECALL_STATE(now) != state) return now;
    if (!device_.waitInterrupt(vector_, deadline)) return std::nullopt;
  }
}

std::optional<uint32_t> UserChannel::waitFor(uint32_t state,
                                             const Deadline& deadline) {
  for (;;) {
    const uint32_t now = status();
    if (LANECALL_STATE(now) == state) return now;
    if (!device_.waitInterrupt(vector_, deadline)) return std::nullopt;
  }
}

bool UserChannel::start(const Deadline& deadline) {
  open();
  const auto connected = waitWhile(LANECALL_CONNECTING, deadline);
  if (!connected || LANECALL_STATE(*connected) != LANECALL_READY) return false;
  attach();
  const auto attached = waitWhile(LANECALL_READY, deadline);
  return attached && LANECALL_STATE(*attached) == LANECALL_RUNNING;
}

bool UserChannel::drain(const Deadline& deadline) {
  command(LANECALL_CMD_DRAIN);
  return waitFor(LANECALL_CLOSED, deadline).has_value();
}

bool UserChannel::close(const Deadline& deadline) {
  command(LANECALL_CMD_CLOSE);
  return waitFor(LANECALL_CLOSED, deadline).has_value();
}

__s64 UserChannel::tryWrite(std::span<const unsigned char> bytes) {
  const __s64 space = lanecall_ring_space(&tx_);
  if (space <= 0) return space;
  const auto n = static_cast<uint32_t>(
      std::min<uint64_t>(static_cast<uint64_t>(space), bytes.size()));
  tx_ring_.store(tx_.own, bytes.first(n));
  if (lanecall_ring_publish(&tx_, n)) doorbell();
  return n;
}

__s64 UserChannel::tryRead(std::span<unsigned char> bytes) {
  const __s64 held = lanecall_ring_look(&rx_);
  if (held <= 0) return held;
  const auto n = static_cast<uint32_t>(
      std::min<uint64_t>(static_cast<uint64_t>(held), bytes.size()));
  rx_ring_.load(rx_.own, bytes.first(n));
  if (lanecall_ring_release(&rx_, n)) doorbell();
  return n;
}

// Nothing will come or go any more but what is in RX.
bool UserChannel::ended() {
  const uint32_t now = state();
  lanecall_rmb();  // whoever has read ENDED finds the last head
  return now != LANECALL_RUNNING;
}

bool UserChannel::readable() {
  const bool over = ended();
  return lanecall_ring_look(&rx_) != 0 || over;
}

bool UserChannel::writable() {
  return lanecall_ring_space(&tx_) != 0 || ended();
}

bool UserChannel::waitReadable(const Deadline& deadline) {
  for (;;) {
    if (readable()) return true;
    if (lanecall_ring_arm(&rx_) != 0 || ended()) continue;
    if (!device_.waitInterrupt(vector_, deadline)) return false;
  }
}

bool UserChannel::waitWritable(uint32_t room, const Deadline& deadline) {
  for (;;) {
    if (ended() || lanecall_ring_space(&tx_) >= room) return true;
    if (lanecall_ring_arm_space(&tx_, room) >= room || ended()) continue;
    if (!device_.waitInterrupt(vector_, deadline)) return false;
  }
}

bool UserChannel::write(std::span<const unsigned char> bytes,
                        const Deadline& deadline) {
  while (!bytes.empty()) {
    if (ended()) return false;
    const __s64 n = tryWrite(bytes);
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
    if (n == 0 && !waitWritable(1, deadline)) return false;
  }
  return true;
}

std::optional<Bytes> UserChannel::readSome(size_t size,
                                           const Deadline& deadline) {
  if (!waitReadable(deadline)) return std::nullopt;
  Bytes bytes(size);
  const __s64 n = tryRead(bytes);
  bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return bytes;
}

Bytes UserChannel::read(size_t size, const Deadline& deadline) {
  Bytes all;
  while (all.size() < size) {
    const auto some = readSome(size - all.size(), deadline);
    if (!some || some->empty()) break;
    all.insert(all.end(), some->begin(), some->end());
  }
  return all;
}

}  // namespace lanecall::test
