// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_channel.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace lanecall {
namespace {

constexpr char kEventfd[] = "anon_inode:[eventfd]";

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

int watchEdge(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int watchLevel(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

// ---- CardChannelSignals

CardChannelSignals::CardChannelSignals(
    Descriptor doorbell, Descriptor interrupt,
    std::shared_ptr<const Interrupter> interrupter)
    : doorbell_(std::move(doorbell)),
      interrupt_(std::move(interrupt)),
      interrupter_(std::move(interrupter)) {}

// Anything else could not be raised, or never become readable.
std::string CardChannelSignals::refusal(int fd) {
  std::array<char, sizeof kEventfd> target{};
  std::string link = "/proc/self/fd/" + std::to_string(fd);
  ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
  if (length < 0) return link + " cannot be read; mount /proc";
  if (std::string(target.data(), length) != kEventfd) return "is no eventfd";
  return {};
}

void CardChannelSignals::end(int error) {
  int none = 0;
  if (error_.compare_exchange_strong(none, error, std::memory_order_acq_rel))
    wake_.raise();
}

void CardChannelSignals::interrupt() {
  interrupted_.store(true, std::memory_order_release);
  wake_.raise();
}

void CardChannelSignals::tell() {
  if (!interrupter_->raise(interrupt_.get())) end(kInterruptLost);
}

// ---- CardModeration

CardModeration::CardModeration(std::uint32_t bytes, std::uint32_t microseconds)
    : bytes_(bytes),
      microseconds_(microseconds),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  if (!timer_.valid()) fail("timerfd_create");
}

bool CardModeration::holds(std::uint32_t bytes) {
  if (is_enough(bytes)) return false;
  if (held_.exchange(true)) return true;  // the timer runs already
  itimerspec once{};
  once.it_value.tv_sec = microseconds_ / 1'000'000;
  once.it_value.tv_nsec = microseconds_ % 1'000'000 * 1000L;
  if (::timerfd_settime(timer_.get(), 0, &once, nullptr) == 0) return true;
  held_.store(false);
  return false;
}

bool CardModeration::expired() {
  std::uint64_t times;
  // Not expired: it was set anew, or woken without need.
  if (::read(timer_.get(), &times, sizeof times) < 0) return false;
  return drop();
}

// ---- CardChannel

CardChannel::CardChannel(Parts parts)
    : parts_(std::move(parts)),
      words_(reinterpret_cast<lanecall_index_page*>(parts_.index.data())) {
  lanecall_ring_init(&tx_.core, &words_->tx_producer, &words_->tx_consumer,
                     parts_.txBytes);
  tx_.bytes = parts_.tx.data();
  lanecall_ring_init(&rx_.core, &words_->rx_producer, &words_->rx_consumer,
                     parts_.rxBytes);
  rx_.bytes = parts_.rx.data();
}

int CardChannel::open() { return -ENOTCONN; }

int CardChannel::status() { return open_ ? 0 : -ENOTCONN; }

// Room is announced at once, and only once.
bool CardChannel::is_room_announced(std::uint32_t tail) {
  const std::uint32_t before = announcedTail_.exchange(tail);
  return lanecall_ring_passes(lanecall_get32(&words_->tx_producer.want_tail),
                              before, tail);
}

// Bytes that came since the client has asked to be told. Looks at the shared
// words rather than the rings' private ones, which belong to one thread each; a
// client that scribbles there moves its own interrupts.
std::uint32_t CardChannel::unannounced() const {
  return lanecall_get32(&words_->rx_producer.head) -
         lanecall_get32(&words_->rx_consumer.want_head);
}

bool CardChannel::is_held() {
  CardModeration* moderation = parts_.moderation.get();
  if (!moderation) return false;
  if (is_room_announced(lanecall_get32(&words_->tx_consumer.tail)))
    return false;
  const std::uint32_t bytes = unannounced();
  return bytes <= parts_.rxBytes && moderation->holds(bytes);
}

void CardChannel::announce() {
  CardModeration* moderation = parts_.moderation.get();
  if (moderation && moderation->isHolding() &&
      moderation->is_enough(unannounced()) && moderation->drop())
    parts_.signals->tell();
}

void CardChannel::notify() {
  if (is_held()) return;
  if (parts_.moderation) parts_.moderation->drop();
  parts_.signals->tell();
}

// 0 or a negated errno value.
int CardChannel::prepare(Descriptor& sleeper) const {
  if (sleeper.valid()) return 0;
  Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid() || watchEdge(epoll.get(), doorbell()) < 0 ||
      watchLevel(epoll.get(), wake()) < 0)
    return -errno;
  sleeper = std::move(epoll);
  return 0;
}

// There is no room for more bytes: it does not help to wait for them.
void CardChannel::hurry() {
  if (parts_.moderation && parts_.moderation->drop()) parts_.signals->tell();
}

int CardChannel::poll(short events, int timeoutMs) {
  Descriptor& sleeper = events & POLLIN ? inSleeper_ : outSleeper_;
  if (int error = prepare(sleeper)) return error;
  if (events & POLLOUT) hurry();
  if (beforeSleep_) beforeSleep_();
  epoll_event got[2];
  int ready = ::epoll_wait(sleeper.get(), got, 2, timeoutMs);
  if (ready < 0) return -errno;
  if (parts_.signals->interrupted()) return -ECANCELED;
  if (end()) return POLLHUP;
  return ready ? events : 0;
}

void CardChannel::leave(std::uint32_t error) {
  if (!open_) return;
  open_ = false;
  parts_.admission.reset();
  parts_.closed(error);
}

}  // namespace lanecall
