// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_port.h>
#include <lanecall/card_session.h>
#include <lanecall/denials.h>
#include <lanecall/event_loop.h>
#include <lanecall/interrupter.h>
#include <lanecall/listener.h>
#include <lanecall/log_field.h>
#include <lanecall/wake.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace lanecall {
namespace {

// Devices at a time; one more is sent away at once.
constexpr std::size_t kSessionsMost = 256;

// Devices taken before those that are there are looked at.
constexpr int kAcceptsInOneTurn = 16;

// After running out of descriptors, listening pauses this long: they do not
// come back with an event of their own.
constexpr long kResourcePauseNs = 100'000'000;

std::shared_ptr<spdlog::logger> orSilent(std::shared_ptr<spdlog::logger> log) {
  if (!log) log = std::make_shared<spdlog::logger>("lanecall");
  return log;
}

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Uri parseCardUri(const std::string& address) {
  Uri uri = parseUri(address);
  if (uri.scheme != Uri::Scheme::kUnix)
    throw std::invalid_argument("'" + address +
                                "': memory can only be shared through a Unix "
                                "socket; use unix:/path");
  return uri;
}

class CardPort::Impl final : public CardSessionHost {
 public:
  Impl(const std::string& address, std::shared_ptr<spdlog::logger> log,
       CardPortOptions options)
      : log_(orSilent(std::move(log))),
        options_(std::move(options)),
        pause_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
        listener_(std::make_unique<Listener>(parseCardUri(address),
                                             options_.access, SOCK_SEQPACKET)),
        address_("card:" + listener_->uri().str()) {
    if (!pause_.valid()) fail("timerfd_create");
    loop_.watch(listener_->fd(), EPOLLIN, [this](auto) { acceptDevices(); });
    loop_.watch(pause_.get(), EPOLLIN, [this](auto) { resume(); });
    thread_ = std::thread([this] { loop_.run(); });
  }

  ~Impl() {
    loop_.stop();
    thread_.join();
    sessions_.clear();
  }

  const std::string& address() const { return address_; }
  int fd() const { return waiting_.fd(); }
  bool hasWaiting() const { return hasReady_.load(std::memory_order_acquire); }

  std::unique_ptr<CardChannel> accept() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ready_.empty()) return nullptr;
    auto channel = std::move(ready_.front());
    ready_.pop_front();
    if (ready_.empty()) {
      hasReady_.store(false, std::memory_order_release);
      waiting_.clear();
    }
    return channel;
  }

  void stopListening() {
    loop_.inbox()->post([this] {
      if (!listener_) return;
      loop_.forget(listener_->fd());
      listener_.reset();
    });
  }

 private:
  // ---- CardSessionHost

  EventLoop& loop() override { return loop_; }

  std::shared_ptr<const Interrupter> interrupter() override {
    return interrupter_;
  }

  std::shared_ptr<CardPlaces> placesOf(dev_t device, ino_t inode,
                                       std::uint64_t bytes) override {
    std::erase_if(books_,
                  [](const auto& book) { return book.second.expired(); });
    auto& book = books_[{device, inode, bytes}];
    auto places = book.lock();
    if (!places)
      book = places = std::make_shared<CardPlaces>(bytes, buffersMost(bytes));
    return places;
  }

  // Without a product that could overflow.
  std::uint64_t buffersMost(std::uint64_t bytes) const {
    const std::uint64_t percent = std::clamp(options_.buffersPercent, 0, 100);
    return bytes / 100 * percent + bytes % 100 * percent / 100;
  }

  void attached(const CardSession& session) override {
    log_->info(
        "event=card_attached at={} device={} from={} card_bytes={} channels={}",
        address_, session.device(), session.peer(), session.cardBytes(),
        session.channels());
  }

  std::uint32_t refusal(const Caller& caller) override {
    if (!listener_) return LANECALL_ERR_REFUSED;
    if (const std::string rule = options_.policy.refusal(caller);
        !rule.empty()) {
      if (const auto denied = denied_.add())
        log_->warn("event=denied at={} {} denied={} rule=\"{}\"", address_,
                   caller.str(), *denied, rule);
      return LANECALL_ERR_ACCESS;
    }
    const int live = *live_;
    if (live < options_.maxChannels) {
      declined_ = false;
      return LANECALL_ERR_NONE;
    }
    // Said when it begins, not at every one.
    if (!std::exchange(declined_, true))
      log_->warn("event=full at={} channels={} action=\"declining more\"",
                 address_, live);
    return LANECALL_ERR_RESOURCES;
  }

  std::shared_ptr<void> admit() override {
    ++*live_;
    return {live_.get(), [live = live_](void*) { --*live; }};
  }

  void declined(const CardSession& session, const std::string& why) override {
    log_->warn(
        "event=card_declined at={} device={} reason=\"{}\" "
        "action=\"declining more\"",
        address_, session.device(), logField(why));
  }

  void channelReady(std::unique_ptr<CardChannel> channel) override {
    std::lock_guard<std::mutex> lock(mutex_);
    ready_.push_back(std::move(channel));
    hasReady_.store(true, std::memory_order_release);
    waiting_.raise();
  }

  void ended(CardSession& session, const std::string& why) override {
    if (session.device().empty())
      log_->warn("event=card_refused at={} from={} reason=\"{}\"", address_,
                 session.peer(), logField(why));
    else
      log_->info("event=card_detached at={} device={} reason=\"{}\"", address_,
                 session.device(), logField(why));
    std::erase_if(sessions_,
                  [&](const auto& other) { return other.get() == &session; });
  }

  // ---- Listening

  void tellOfDeniedDevice() {
    if (const auto denied = deniedDevices_.add())
      log_->warn("event=card_denied at={} from={} denied={}", address_,
                 listener_->whoWasDenied(), *denied);
  }

  void acceptDevices() {
    for (int i = 0; i < kAcceptsInOneTurn && listener_; ++i) {
      int error = 0;
      Descriptor socket = listener_->acceptSocket(&error);
      if (!socket.valid()) {
        if (error == -EMFILE || error == -ENFILE || error == -ENOBUFS ||
            error == -ENOMEM)
          pause(-error);
        if (error == -EACCES)
          tellOfDeniedDevice();
        else if (error != -ECONNABORTED)
          return;
        continue;
      }
      startSession(std::move(socket));
    }
  }

  void startSession(Descriptor socket) {
    std::string peer = listener_->peerName(socket.get());
    if (sessions_.size() >= kSessionsMost) {
      log_->warn("event=card_refused at={} from={} reason=\"{} devices\"",
                 address_, peer, sessions_.size());
      return;
    }
    auto session =
        std::make_shared<CardSession>(*this, std::move(socket), peer);
    try {
      session->start();
      sessions_.push_back(std::move(session));
    } catch (const std::system_error& error) {
      log_->error("event=card_refused at={} from={} reason=\"{}\"", address_,
                  peer, logField(error.what()));
    }
  }

  void pause(int error) {
    log_->error("event=accept_failed at={} error=\"{}\"", address_,
                std::generic_category().message(error));
    loop_.change(listener_->fd(), 0);
    itimerspec once{};
    once.it_value.tv_nsec = kResourcePauseNs;
    ::timerfd_settime(pause_.get(), 0, &once, nullptr);
  }

  void resume() {
    std::uint64_t times;
    if (::read(pause_.get(), &times, sizeof times) > 0 && listener_)
      loop_.change(listener_->fd(), EPOLLIN);
  }

  const std::shared_ptr<spdlog::logger> log_;
  const CardPortOptions options_;
  // Channels that are or will be served; they may outlive the port.
  const std::shared_ptr<std::atomic<int>> live_ =
      std::make_shared<std::atomic<int>>(0);
  // Channels may outlive the port.
  const std::shared_ptr<const Interrupter> interrupter_ =
      std::make_shared<const Interrupter>();
  Wake waiting_;
  const Descriptor pause_;

  // The loop thread's own, once it runs.
  std::unique_ptr<Listener> listener_;
  const std::string address_;
  EventLoop loop_;
  std::map<std::tuple<dev_t, ino_t, std::uint64_t>, std::weak_ptr<CardPlaces>>
      books_;
  std::vector<std::shared_ptr<CardSession>> sessions_;
  bool declined_ = false;
  Denials denied_;         // channels
  Denials deniedDevices_;  // who connects for one

  // Guards ready_, and what says that it is not empty: hasReady_, waiting_.
  std::mutex mutex_;
  std::atomic<bool> hasReady_{false};
  std::deque<std::unique_ptr<CardChannel>> ready_;

  std::thread thread_;
};

CardPort::CardPort(const std::string& address,
                   std::shared_ptr<spdlog::logger> log, CardPortOptions options)
    : impl_(std::make_shared<Impl>(address, std::move(log),
                                   std::move(options))) {}

CardPort::~CardPort() = default;

std::string CardPort::address() const { return impl_->address(); }

int CardPort::fd() const { return impl_->fd(); }

bool CardPort::hasWaiting() const { return impl_->hasWaiting(); }

std::unique_ptr<CardChannel> CardPort::accept() { return impl_->accept(); }

void CardPort::stopListening() { impl_->stopListening(); }

}  // namespace lanecall
