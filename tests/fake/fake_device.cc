// SPDX-License-Identifier: Apache-2.0
#include "fake_device.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace lanecall::test {
namespace {

constexpr uint64_t kMemoryBase = 0x10000000;
constexpr size_t kMemoryBytes = size_t{256} << 20;
constexpr uint64_t kBarAddress = 0xfe000000;

constexpr uint32_t kChannelOffset = 0x1000;
constexpr uint32_t kChannelStride = 0x80;
constexpr uint32_t kDoorbellOffset = 0x10000;
constexpr uint32_t kDoorbellStride = 0x10000;

constexpr uint64_t kQuit = ~uint64_t{0}, kTimer = kQuit - 1;
constexpr auto kRetryIn = std::chrono::milliseconds(5);

unsigned defaultVectors(unsigned channels) {
  return std::min(channels + 1, 65u);
}

bool is_subset(uint64_t accepted, uint64_t offered) {
  return (accepted & ~offered) == 0;
}

// A place in an array of equal parts of the BAR.
struct Part {
  size_t index;
  uint32_t offset;
};
bool find(uint64_t offset, uint32_t base, uint32_t stride, size_t count,
          Part& part) {
  if (offset < base || (offset - base) / stride >= count) return false;
  part = {(offset - base) / stride,
          static_cast<uint32_t>((offset - base) % stride)};
  return true;
}

}  // namespace

FakeDevice::FakeDevice(const DeviceOptions& options)
    : vectors_(options.vectors ? options.vectors
                               : defaultVectors(options.channels)),
      memory_(kMemoryBase, kMemoryBytes),
      interrupts_(vectors_),
      watches_(2 * options.channels + 1),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      quit_(eventfd(0, EFD_CLOEXEC)) {
  if (!epoll_.valid() || !timer_.valid() || !quit_.valid()) {
    throw std::system_error(errno, std::generic_category(), "fake device");
  }
  if (!options.rpc.empty()) server_.emplace(options.rpc);
  for (unsigned i = 0; i < options.channels; ++i) {
    channels_.push_back(std::make_unique<FakeChannel>(channelHost(), i));
  }
  const auto add = [this](const Descriptor& fd, uint64_t key) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = key}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event);
  };
  add(quit_, kQuit);
  add(timer_, kTimer);
  if (!options.card.empty()) {
    card_ = std::make_unique<FakeCardPort>(
        static_cast<FakeCardPortHost&>(*this), options.card,
        options.card_memory, options.channels);
    card_->connect();  // else the next open does
  }
  thread_ = std::thread([this] { serve(); });
}

FakeDevice::~FakeDevice() {
  eventfd_write(quit_.get(), 1);
  thread_.join();
}

std::vector<uint64_t> FakeDevice::notMemory() {
  return {0, kMemoryBase + kMemoryBytes, kBarAddress, uint64_t{1} << 40,
          ~uint64_t{0} << LANECALL_PAGE_SHIFT_MAX};
}

std::span<unsigned char> FakeDevice::cardMemory() {
  return card_ ? card_->memory().bytes() : std::span<unsigned char>();
}

uint64_t FakeDevice::features() const {
  return LANECALL_FEATURE_MODERATION | LANECALL_FEATURE_USERS |
         (card_ ? LANECALL_FEATURE_CARD_RINGS : 0);
}

uint64_t FakeDevice::read(uint64_t offset, unsigned width) {
  if (width != 4 || offset % 4 != 0) return 0;
  std::lock_guard lock(mutex_);
  Part part;
  if (find(offset, kChannelOffset, kChannelStride, channels_.size(), part)) {
    return channels_[part.index]->readRegister(part.offset);
  }
  return readDeviceRegister(offset);
}

void FakeDevice::write(uint64_t offset, unsigned width, uint64_t value) {
  if (width != 4 || offset % 4 != 0) return;
  const auto word = static_cast<uint32_t>(value);
  std::lock_guard lock(mutex_);
  const bool enabled = status_ & LANECALL_STATUS_ENABLED;
  Part part;
  if (find(offset, kChannelOffset, kChannelStride, channels_.size(), part)) {
    if (part.offset != LANECALL_CH_COMMAND) {
      channels_[part.index]->writeRegister(part.offset, word);
    } else if (enabled) {
      channels_[part.index]->command(word);
    }
  } else if (find(offset, kDoorbellOffset, kDoorbellStride, channels_.size(),
                  part)) {
    if (part.offset == 0 && enabled) channels_[part.index]->doorbell();
  } else {
    writeDeviceRegister(offset, word);
  }
}

uint32_t FakeDevice::readDeviceRegister(uint64_t offset) const {
  const auto range = [](uint32_t min, uint32_t max) { return min | max << 8; };
  switch (offset) {
    case LANECALL_REG_MAGIC:
      return LANECALL_MAGIC;
    case LANECALL_REG_VERSION:
      return LANECALL_VERSION;
    case LANECALL_REG_FEATURES_LO:
      return static_cast<uint32_t>(features());
    case LANECALL_REG_FEATURES_HI:
      return static_cast<uint32_t>(features() >> 32);
    case LANECALL_REG_ACCEPTED_LO:
      return static_cast<uint32_t>(accepted_);
    case LANECALL_REG_ACCEPTED_HI:
      return static_cast<uint32_t>(accepted_ >> 32);
    case LANECALL_REG_CONTROL:
      return control_;
    case LANECALL_REG_STATUS:
      return status_;
    case LANECALL_REG_CHANNELS:
      return static_cast<uint32_t>(channels_.size());
    case LANECALL_REG_VECTORS:
      return vectors_;
    case LANECALL_REG_CHANNEL_OFFSET:
      return kChannelOffset;
    case LANECALL_REG_CHANNEL_STRIDE:
      return kChannelStride;
    case LANECALL_REG_DOORBELL_OFFSET:
      return kDoorbellOffset;
    case LANECALL_REG_DOORBELL_STRIDE:
      return kDoorbellStride;
    case LANECALL_REG_RING_SHIFTS:
      return range(LANECALL_RING_SHIFT_MIN, LANECALL_RING_SHIFT_MAX);
    case LANECALL_REG_PAGE_SHIFTS:
      return range(LANECALL_PAGE_SHIFT_MIN, LANECALL_PAGE_SHIFT_MAX);
    case LANECALL_REG_GENERATION:
      return generation_;
    case LANECALL_REG_GUEST_ERRORS:
      return guest_errors_;
    default:
      return 0;
  }
}

void FakeDevice::writeDeviceRegister(uint64_t offset, uint32_t value) {
  const bool enabled = status_ & LANECALL_STATUS_ENABLED;
  switch (offset) {
    case LANECALL_REG_ACCEPTED_LO:
      if (!enabled) accepted_ = (accepted_ >> 32 << 32) | value;
      break;
    case LANECALL_REG_ACCEPTED_HI:
      if (!enabled) {
        accepted_ = static_cast<uint32_t>(accepted_) | uint64_t{value} << 32;
      }
      break;
    case LANECALL_REG_CONTROL:
      if (value & LANECALL_CONTROL_ENABLE) {
        enable();
      } else {
        resetEngine();
      }
      break;
  }
}

void FakeDevice::enable() {
  control_ = LANECALL_CONTROL_ENABLE;
  status_ = is_subset(accepted_, features()) ? LANECALL_STATUS_ENABLED
                                             : LANECALL_STATUS_REFUSED;
}

void FakeDevice::resetEngine() {
  for (auto& channel : channels_) channel->reset();
  accepted_ = 0;
  control_ = 0;
  status_ = 0;
  ++generation_;
}

void FakeDevice::busReset() {
  std::lock_guard lock(mutex_);
  resetEngine();
}

// ---- Events ----------------------------------------------------------------

// The channels' sockets come first, then their interrupt eventfds, then the
// card port's socket.
void FakeDevice::watchSlot(size_t slot, int fd, uint32_t events) {
  Watch& watch = watches_[slot];
  if (events == 0) {
    if (watch.fd >= 0)
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watch.fd, nullptr);
    watch.fd = -1;
    return;
  }
  const int operation = watch.fd < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (operation == EPOLL_CTL_ADD) ++watch.serial;
  watch.fd = fd;
  epoll_event event{.events = events,
                    .data = {.u64 = uint64_t{watch.serial} << 32 | slot}};
  epoll_ctl(epoll_.get(), operation, fd, &event);
}

void FakeDevice::watch(unsigned channel, int fd, uint32_t events) {
  watchSlot(channel, fd, events);
}

// The server has this eventfd too. So nothing is ever read of it: the epoll
// tells, once for each write.
void FakeDevice::watchInterrupt(unsigned channel, int fd) {
  watchSlot(channels_.size() + channel, fd,
            fd < 0 ? 0 : uint32_t{EPOLLIN | EPOLLET});
}

void FakeDevice::watchCard(int fd) {
  watchSlot(2 * channels_.size(), fd, fd < 0 ? 0 : uint32_t{EPOLLIN});
}

void FakeDevice::setTimer(Timer timer, unsigned channel, Clock::duration in) {
  if (in == Clock::duration::zero()) {
    due_.erase({timer, channel});
  } else {
    due_[{timer, channel}] = Clock::now() + in;
    armTimer();
  }
}

void FakeDevice::retryLater(unsigned channel) {
  setTimer(Timer::kRetry, channel, kRetryIn);
}

void FakeDevice::announceLater(unsigned channel, uint32_t us) {
  setTimer(Timer::kAnnounce, channel, std::chrono::microseconds(us));
}

void FakeDevice::setGreetingTimer(int ms) {
  setTimer(Timer::kGreeting, 0, std::chrono::milliseconds(ms));
}

// For the earliest that is due; early or needless alarms do no harm.
void FakeDevice::armTimer() {
  if (due_.empty()) return;
  auto first = Clock::time_point::max();
  for (const auto& [timer, at] : due_) first = std::min(first, at);
  const auto left = std::max<std::chrono::nanoseconds>(
      first - Clock::now(), std::chrono::nanoseconds(1));
  const itimerspec once{
      .it_interval = {},
      .it_value = {left.count() / 1'000'000'000, left.count() % 1'000'000'000}};
  timerfd_settime(timer_.get(), 0, &once, nullptr);
}

void FakeDevice::serveTimers() {
  uint64_t expirations;
  if (::read(timer_.get(), &expirations, sizeof expirations) < 0) return;
  const auto now = Clock::now();
  for (auto it = due_.begin(); it != due_.end();) {
    if (it->second > now) {
      ++it;
      continue;
    }
    const auto [timer, channel] = it->first;
    due_.erase(it);
    if (timer == Timer::kRetry) channels_[channel]->retry();
    if (timer == Timer::kAnnounce) channels_[channel]->announce();
    if (timer == Timer::kGreeting) card_->greetingTimedOut();
    it = due_.begin();  // whoever was called may have set some
  }
  armTimer();
}

void FakeDevice::serveSlot(size_t slot) {
  const size_t n = channels_.size();
  if (slot < n) {
    channels_[slot]->socketReady();
  } else if (slot < 2 * n) {
    channels_[slot - n]->raise();
  } else {
    card_->socketReady();
  }
}

void FakeDevice::serve() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int n = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    std::lock_guard lock(mutex_);
    for (int i = 0; i < n; ++i) {
      const uint64_t key = events[i].data.u64;
      if (key == kQuit) return;
      if (key == kTimer) {
        serveTimers();
        continue;
      }
      const auto slot = static_cast<uint32_t>(key);
      const Watch& watch = watches_[slot];
      if (watch.fd >= 0 && watch.serial == key >> 32) serveSlot(slot);
    }
  }
}

// ---- The card port ---------------------------------------------------------

void FakeDevice::sessionBegins() {
  for (auto& channel : channels_) channel->sessionBegins();
}

void FakeDevice::sessionEnds() {
  for (auto& channel : channels_) channel->sessionEnds();
}

const char* FakeDevice::frameArrives(const lanecall_card_frame& frame) {
  for (auto& channel : channels_) {
    if (channel->is(frame.channel)) return channel->frameArrives(frame);
  }
  return nullptr;  // late: the id is closed
}

}  // namespace lanecall::test
