// SPDX-License-Identifier: Apache-2.0
#include "fake_channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lanecall::test {
namespace {

constexpr uint32_t kLargestSocketCall = 256 * 1024;

bool is_valid_shift(uint32_t shift, uint32_t min, uint32_t max) {
  return shift >= min && shift <= max;
}

bool is_aligned(uint64_t address, uint64_t to) {
  return (address & (to - 1)) == 0;
}

bool is_writable_register(uint32_t offset) {
  return offset >= LANECALL_CH_VECTOR && offset <= LANECALL_CH_USER;
}

uint32_t errorOf(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ENOENT:
      return LANECALL_ERR_REFUSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
      return LANECALL_ERR_UNREACHABLE;
    case ETIMEDOUT:
      return LANECALL_ERR_TIMED_OUT;
    case ECONNRESET:
    case EPIPE:
      return LANECALL_ERR_RESET;
    case EACCES:
    case EPERM:
      return LANECALL_ERR_ACCESS;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return LANECALL_ERR_RESOURCES;
    default:
      return LANECALL_ERR_IO;
  }
}

}  // namespace

uint32_t FakeChannel::readRegister(uint32_t offset) const {
  if (offset == LANECALL_CH_STATUS) return status_;
  return is_writable_register(offset) ? registers_[offset / 4] : 0;
}

void FakeChannel::writeRegister(uint32_t offset, uint32_t value) {
  if (is_writable_register(offset)) registers_[offset / 4] = value;
}

uint64_t FakeChannel::address(uint32_t low_register) const {
  return registers_[low_register / 4] |
         uint64_t{registers_[low_register / 4 + 1]} << 32;
}

void FakeChannel::command(uint32_t command) {
  const bool closed = state() == LANECALL_CLOSED;
  if (command == LANECALL_CMD_OPEN && closed) return open();
  if (command == LANECALL_CMD_ATTACH && state() == LANECALL_READY &&
      !direct_.placing) {
    return attach();
  }
  if (command == LANECALL_CMD_DRAIN && !closed &&
      state() != LANECALL_DRAINING) {
    return drain();
  }
  if (command == LANECALL_CMD_CLOSE && !closed) return close();
  breach();
}

// A command that has no place in this state.
void FakeChannel::breach() {
  if (state() == LANECALL_CLOSED || state() == LANECALL_ENDED) {
    host_.countGuestError();
  } else {
    end(LANECALL_ERR_PROTOCOL);
  }
}

void FakeChannel::open() {
  const uint64_t index = address(LANECALL_CH_INDEX_LO);
  vector_ = registers_[LANECALL_CH_VECTOR / 4];
  has_user_ = host_.accepted(LANECALL_FEATURE_USERS);
  user_ = has_user_ ? registers_[LANECALL_CH_USER / 4] : 0;
  if (!is_aligned(index, LANECALL_INDEX_BYTES)) {
    return end(LANECALL_ERR_PROTOCOL);
  }
  index_ = reinterpret_cast<lanecall_index_page*>(
      host_.memory().at(index, LANECALL_INDEX_BYTES));
  if (!index_) return end(LANECALL_ERR_DMA);
  const uint32_t flags =
      host_.accepted(LANECALL_FEATURE_CARD_RINGS) ? LANECALL_CHF_IN_CARD : 0;
  if (vector_ >= host_.vectors() ||
      (registers_[LANECALL_CH_FLAGS / 4] & ~flags) != 0) {
    return end(LANECALL_ERR_PROTOCOL);
  }
  setStatus(LANECALL_CONNECTING);
  if (!openInCard()) fallBack(LANECALL_ERR_REFUSED);
}

// It will not be the direct plane.
void FakeChannel::fallBack(uint32_t error) {
  leaveCard();
  if (!host_.server()) return end(error);
  connect();
}

void FakeChannel::connect() {
  auto [socket, error] = host_.server()->connect();
  if (error == EAGAIN) {
    // A Unix socket whose queue is full gives no event to wait for.
    return host_.retryLater(number_);
  }
  if (error != 0 && error != EINPROGRESS) return end(errorOf(error));
  socket_ = std::move(socket);
  if (error == 0) return setStatus(LANECALL_READY);
  watchWhatIsNeeded();
}

void FakeChannel::retry() {
  const bool in_card = direct_.id != 0 || direct_.waiting;
  if (state() == LANECALL_CONNECTING && !socket_.valid() && !in_card) connect();
}

void FakeChannel::connected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return end(errorOf(error));
  setStatus(LANECALL_READY);
  watchWhatIsNeeded();
}

void FakeChannel::attach() {
  if (in_card_) return attachInCard();
  int error = takeModeration();
  if (!error) {
    error =
        attachRing(LANECALL_CH_TX_TABLE_LO, LANECALL_CH_TX_SHIFT, tx_pages_);
  }
  if (!error) {
    error =
        attachRing(LANECALL_CH_RX_TABLE_LO, LANECALL_CH_RX_SHIFT, rx_pages_);
  }
  if (error) return end(error);
  lanecall_ring_init(&tx_, &index_->tx_producer, &index_->tx_consumer,
                     1u << registers_[LANECALL_CH_TX_SHIFT / 4]);
  lanecall_ring_init(&rx_, &index_->rx_producer, &index_->rx_consumer,
                     1u << registers_[LANECALL_CH_RX_SHIFT / 4]);
  rx_full_ = false;
  const __s64 held = lanecall_ring_arm(&tx_);
  if (held < 0) return end(LANECALL_ERR_PROTOCOL);
  tx_left_ = held > 0;
  setStatus(LANECALL_RUNNING);
  watchWhatIsNeeded();
}

int FakeChannel::takeModeration() {
  const bool on = host_.accepted(LANECALL_FEATURE_MODERATION);
  moderate_bytes_ = on ? registers_[LANECALL_CH_MODERATE_BYTES / 4] : 0;
  moderate_us_ = on ? registers_[LANECALL_CH_MODERATE_US / 4] : 0;
  return moderate_us_ <= LANECALL_MODERATE_US_MAX ? 0 : LANECALL_ERR_PROTOCOL;
}

// 0, or why the table is refused. The driver may change it at any time, so
// that each entry is fetched once.
int FakeChannel::attachRing(uint32_t table_register, uint32_t shift_register,
                            Pages& pages) {
  const uint32_t shift = registers_[shift_register / 4];
  const uint32_t page_shift = registers_[LANECALL_CH_PAGE_SHIFT / 4];
  const uint64_t table = address(table_register);
  if (!is_valid_shift(shift, LANECALL_RING_SHIFT_MIN,
                      LANECALL_RING_SHIFT_MAX) ||
      !is_valid_shift(page_shift, LANECALL_PAGE_SHIFT_MIN,
                      LANECALL_PAGE_SHIFT_MAX) ||
      !is_aligned(table, sizeof(uint64_t))) {
    return LANECALL_ERR_PROTOCOL;
  }
  const size_t count =
      shift > page_shift ? size_t{1} << (shift - page_shift) : 1;
  const size_t bytes = size_t{1} << std::min(shift, page_shift);
  const unsigned char* entries =
      host_.memory().at(table, count * sizeof(uint64_t));
  if (!entries) return LANECALL_ERR_DMA;
  pages.shift = page_shift;
  pages.page.clear();
  for (size_t i = 0; i < count; ++i) {
    uint64_t entry;
    std::memcpy(&entry, entries + i * sizeof entry, sizeof entry);
    if (!is_aligned(entry, uint64_t{1} << page_shift)) {
      return LANECALL_ERR_PROTOCOL;
    }
    unsigned char* page = host_.memory().at(entry, bytes);
    if (!page) return LANECALL_ERR_DMA;
    pages.page.push_back(page);
  }
  return 0;
}

void FakeChannel::drain() {
  if (state() != LANECALL_RUNNING) return close();
  if (in_card_) return drainInCard();
  const __s64 held = lanecall_ring_look(&tx_);
  if (held < 0) return end(LANECALL_ERR_PROTOCOL);
  if (held == 0) return close();
  tx_left_ = true;
  setStatus(LANECALL_DRAINING);
  watchWhatIsNeeded();
}

void FakeChannel::doorbell() {
  if (!moving()) return;
  if (in_card_) return ringServer();
  sendOnce();
  if (state() == LANECALL_RUNNING && rx_full_) {
    const __s64 space = lanecall_ring_space(&rx_);
    if (space < 0) return end(LANECALL_ERR_PROTOCOL);
    rx_full_ = space == 0;
  }
  if (moving()) watchWhatIsNeeded();
}

void FakeChannel::socketReady() {
  if (state() == LANECALL_CONNECTING) return connected();
  if (moving() && tx_left_) sendOnce();
  if (state() == LANECALL_RUNNING && !rx_full_) receiveOnce();
  if (moving()) watchWhatIsNeeded();
}

namespace {

// The ring's bytes from `index` on as the system calls want them.
template <typename Pages>
std::vector<iovec> extents(const Pages& pages, const lanecall_ring& ring,
                           uint32_t index, uint32_t bytes) {
  std::vector<iovec> list;
  const uint32_t page = 1u << pages.shift;
  bytes = std::min(bytes, kLargestSocketCall);
  while (bytes > 0) {
    const uint32_t offset = lanecall_ring_offset(&ring, index);
    const uint32_t inside = offset & (page - 1);
    const uint32_t n = std::min({bytes, page - inside, ring.size - offset});
    list.push_back({pages.page[offset >> pages.shift] + inside, n});
    index += n;
    bytes -= n;
  }
  return list;
}

msghdr messageOf(std::vector<iovec>& list) {
  msghdr message{};
  message.msg_iov = list.data();
  message.msg_iovlen = list.size();
  return message;
}

}  // namespace

FakeChannel::Moved FakeChannel::sendOnce() {
  __s64 held = lanecall_ring_look(&tx_);
  if (held == 0) held = lanecall_ring_arm(&tx_);
  if (held < 0) return end(LANECALL_ERR_PROTOCOL), Moved::kEnd;
  if (held == 0) {
    tx_left_ = false;
    return Moved::kNothing;
  }
  auto list = extents(tx_pages_, tx_, tx_.own, static_cast<uint32_t>(held));
  const msghdr message = messageOf(list);
  const ssize_t sent =
      sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  tx_left_ = true;
  if (sent < 0) {
    if (errno == EAGAIN || errno == EINTR) return Moved::kNothing;
    return sendFailed(errno), Moved::kEnd;
  }
  if (lanecall_ring_release(&tx_, static_cast<uint32_t>(sent))) {
    raise();
  }
  held = lanecall_ring_look(&tx_);
  if (held == 0) held = lanecall_ring_arm(&tx_);
  if (held < 0) return end(LANECALL_ERR_PROTOCOL), Moved::kEnd;
  tx_left_ = held > 0;
  if (!tx_left_ && state() == LANECALL_DRAINING) {
    return close(), Moved::kEnd;
  }
  return Moved::kSome;
}

FakeChannel::Moved FakeChannel::receiveOnce(uint32_t error_at_end) {
  __s64 space = lanecall_ring_space(&rx_);
  if (space == 0) space = lanecall_ring_arm_space(&rx_, rx_.size / 2);
  if (space < 0) return end(LANECALL_ERR_PROTOCOL), Moved::kEnd;
  rx_full_ = space == 0;
  if (rx_full_) return Moved::kNothing;
  auto list = extents(rx_pages_, rx_, rx_.own, static_cast<uint32_t>(space));
  msghdr message = messageOf(list);
  const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return Moved::kNothing;
    return end(errorOf(errno)), Moved::kEnd;
  }
  if (got == 0) return end(error_at_end), Moved::kEnd;
  const bool wanted = lanecall_ring_publish(&rx_, static_cast<uint32_t>(got));
  if (got == space) {
    // Full: says so before the interrupt, so that whoever is woken by it and
    // makes room knows to ring.
    const __s64 room = lanecall_ring_arm_space(&rx_, rx_.size / 2);
    rx_full_ = room == 0;
    if (room < 0) return end(LANECALL_ERR_PROTOCOL), Moved::kEnd;
  }
  tell(static_cast<uint32_t>(got), wanted);
  return Moved::kSome;
}

// So many bytes were put into RX; does that pass what the driver waits for? Its
// interrupt may be held back, but not if nothing more can come.
void FakeChannel::tell(uint32_t bytes, bool wanted) {
  if (wanted && !holding_ && moderate_us_ != 0) {
    holding_ = true;
    held_ = 0;
    host_.announceLater(number_, moderate_us_);
  } else if (wanted && !holding_) {
    announce();
  }
  if (!holding_) return;
  held_ += bytes;
  if (rx_full_ || held_ >= moderate_bytes_) announce();
}

void FakeChannel::announce() {
  host_.announceLater(number_, 0);
  holding_ = false;
  raise();
}

// What the server had sent before is not lost with the connection. Behind it
// is an orderly end only if the server had closed before the send; else the
// send took the error from the socket.
void FakeChannel::sendFailed(int error) {
  const uint32_t at_end = error == EPIPE ? LANECALL_ERR_NONE : errorOf(error);
  if (state() == LANECALL_RUNNING) {
    rx_full_ = false;
    Moved moved;
    do {
      moved = receiveOnce(at_end);
    } while (moved == Moved::kSome);
    if (moved == Moved::kEnd) return;
  }
  end(errorOf(error));
}

void FakeChannel::watchWhatIsNeeded() {
  uint32_t events = 0;
  if (state() == LANECALL_CONNECTING) events = EPOLLOUT;
  if (moving() && tx_left_) events |= EPOLLOUT;
  if (state() == LANECALL_RUNNING && !rx_full_) events |= EPOLLIN;
  host_.watch(number_, socket_.get(), events);
}

// The connection is over. In DRAINING nobody is left to ask why, unless the
// driver is to blame.
void FakeChannel::end(uint32_t error) {
  const bool blame =
      error == LANECALL_ERR_PROTOCOL || error == LANECALL_ERR_DMA;
  if (blame) host_.countGuestError();
  if (state() == LANECALL_DRAINING && !blame) return close();
  disconnect();
  setStatus(LANECALL_ENDED, error);
}

void FakeChannel::close() {
  disconnect();
  setStatus(LANECALL_CLOSED);
  index_ = nullptr;
  in_card_ = false;
  if (host_.card()) host_.card()->memory().vacate(number_);
}

void FakeChannel::setStatus(uint32_t state, uint32_t error) {
  status_ = LANECALL_STATUS_WORD(state, error);
  if (in_card_ && state != LANECALL_CLOSED) status_ |= LANECALL_IN_CARD;
  if (index_) {
    lanecall_mb();  // after everything it announces
    lanecall_put32(&index_->status, status_);
  }
  raise();
}

void FakeChannel::disconnect() {
  if (socket_.valid()) host_.watch(number_, socket_.get(), 0);
  socket_.reset();
  host_.announceLater(number_, 0);
  holding_ = false;
  leaveCard();
}

void FakeChannel::reset() {
  disconnect();
  in_card_ = false;
  if (host_.card()) host_.card()->memory().vacate(number_);
  registers_.fill(0);
  status_ = LANECALL_CLOSED;
  index_ = nullptr;
}

}  // namespace lanecall::test
