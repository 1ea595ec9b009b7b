// SPDX-License-Identifier: Apache-2.0
//
// Threads and the lead. One thread leads: it alone touches the list of
// connections, and holds every connection that is not claimed. Before a call it
// claims the connection and puts the call's number into call_; after it, it
// takes the number away again. Whoever takes it away first (the thread itself,
// going to sleep or wait inside the call, or the watch, seeing the same number
// for too long) has taken the lead, and gives it to another thread. The one in
// the call finds out when it is done, gives the connection back, and becomes a
// spare.
//
// What is said of calls is true of all turns of a connection: of the first, in
// which its handler is made, and the last, in which it is destroyed.
//
// The watch is the thread in serve(). It also stands in for the leader where no
// thread can be made for the lead: it tries again, and stops if it has to.
#include <lanecall/card_connection.h>
#include <lanecall/card_port.h>
#include <lanecall/log_field.h>
#include <lanecall/polling_server.h>
#include <lanecall/wake.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace lanecall {
namespace {

// A call that the watch finds twice in a row loses the lead.
constexpr auto kWatchEvery = std::chrono::milliseconds(3);

// The watch goes to sleep after so many looks without a call.
constexpr int kQuietLooks = 30;

// Connections looked at before the favourite is again.
constexpr std::size_t kLooksAtOnce = 4;

// Calls after which idle connections are looked for, if there was no pause.
constexpr std::uint64_t kCallsToHousekeeping = 4096;

// Spare threads kept; more end.
constexpr int kSpareMost = 4;

// After cutting connections, their threads get this long to notice.
constexpr int kCutGraceMs = 1000;

// Why a connection ends.
constexpr char kStopping[] = "the server stops";

// call_ when no call runs in the leader's hands, and when the lead is on its
// way to another thread; else a call's number.
constexpr std::uint64_t kNoCall = 0;
constexpr std::uint64_t kHandedOn = 1;
constexpr std::uint64_t kFirstCall = 2;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

class PollingServer::Poller
    : public std::enable_shared_from_this<PollingServer::Poller> {
 public:
  Poller(ServerOptions options, ProcessorMaker maker,
         std::shared_ptr<spdlog::logger> log)
      : options_(std::move(options)),
        maker_(std::move(maker)),
        log_(std::move(log)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        spinner_(options_.spin) {
    if (!epoll_.valid()) fail("epoll_create1");
    if (options_.card.empty())
      throw std::invalid_argument(
          "no place for devices to attach; give --card unix:/path");
    watch(wake_.fd(), EPOLLIN);
    for (const std::string& address : options_.card) {
      ports_.push_back(std::make_unique<CardPort>(
          address, log_,
          CardPortOptions{options_.maxConnections, options_.cardBuffers,
                          options_.access, options_.policy}));
      watch(ports_.back()->fd(), EPOLLIN);
    }
  }

  std::vector<std::string> addresses() const {
    std::vector<std::string> all;
    for (const auto& port : ports_) all.push_back(port->address());
    return all;
  }

  bool serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    leadIsFree_ = true;
    startThread();
    watchCalls(lock);
    changed_.wait(lock, [this] { return threads_ == 0 || !inOrder_; });
    lock.unlock();
    // Nobody leads any more; threads that are left hold connections only.
    ports_.clear();
    return inOrder_;
  }

  // Safe in a signal handler.
  void stop() {
    stop_.store(true);
    wake_.raise();
  }

 private:
  using Connections = std::vector<std::shared_ptr<CardConnection>>;

  // ---- Threads

  // To a spare thread, or a new one, or else the next that becomes spare.
  void giveLead() {
    std::lock_guard<std::mutex> lock(mutex_);
    leadIsFree_ = true;
    if (spare_ > 0) return changed_.notify_all();
    findLeader();
  }

  // With mutex_ held. Throws std::system_error.
  void startThread() {
    std::thread(&Poller::work, this, shared_from_this()).detach();
    ++threads_;
  }

  // With mutex_ held. Whether there will be one.
  bool findLeader() {
    try {
      startThread();
      outOfThreads_ = false;
    } catch (const std::exception& error) {
      // Said when it begins, not at every try.
      if (!std::exchange(outOfThreads_, true))
        log_->error("event=no_thread error=\"{}\" action=\"trying again\"",
                    logField(error.what()));
    }
    return !outOfThreads_;
  }

  // With mutex_ held, when nobody leads for want of a thread: clients wait, but
  // stopping must not.
  void standIn() {
    if (findLeader() || !stop_) return;
    if (!stopping_) beginStop();
    if (isOver()) finish();
  }

  void work(std::shared_ptr<Poller> self) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!finished_ && (leadIsFree_ || spare_ < kSpareMost)) {
      ++spare_;
      changed_.wait(lock, [this] { return leadIsFree_ || finished_; });
      --spare_;
      if (finished_) break;
      leadIsFree_ = false;
      lock.unlock();
      lead();
      lock.lock();
    }
    // While serve() runs its caller keeps the server alive; once it has
    // returned in order, nothing of this thread may be left to destroy.
    if (!finished_ || inOrder_) self.reset();
    --threads_;
    changed_.notify_all();
  }

  // Takes the lead from the thread that runs this call, if it still has it.
  void handOn(std::uint64_t call) {
    std::uint64_t expected = call;
    if (!call_.compare_exchange_strong(expected, kHandedOn)) return;
    ++followers_;
    giveLead();
  }

  // Before the handler waits. Where there are no others to be served the watch
  // is soon enough: newcomers can wait, and this client's calls stay fast.
  void handOnFor(const CardConnection& waiter) {
    if (clients_ > 1) handOn(waiter.call);
  }

  // Until the server has stopped: finds calls that take long.
  void watchCalls(std::unique_lock<std::mutex>& lock) {
    std::uint64_t before = kNoCall;
    std::uint64_t callsBefore = 0;
    int quiet = 0;
    while (!finished_) {
      if (quiet < kQuietLooks)
        watchChanged_.wait_for(lock, kWatchEvery, [this] { return finished_; });
      else
        watchSleeps(lock, callsBefore, &quiet);
      if (leadIsFree_ && outOfThreads_) standIn();
      const std::uint64_t now = call_.load();
      const std::uint64_t calls = calls_.load();
      quiet = calls == callsBefore && now == kNoCall ? quiet + 1 : 0;
      if (now >= kFirstCall && now == before) {
        lock.unlock();
        handOn(now);
        lock.lock();
      }
      before = now;
      callsBefore = calls;
    }
  }

  // Until the next call. Whichever of beginCall() and this comes second sees
  // the other.
  void watchSleeps(std::unique_lock<std::mutex>& lock, std::uint64_t calls,
                   int* quiet) {
    watchSleeps_.store(true);
    if (calls_.load() == calls)
      watchChanged_.wait(lock, [this] { return finished_ || !watchSleeps_; });
    watchSleeps_.store(false);
    *quiet = 0;
  }

  void wakeWatch() {
    std::lock_guard<std::mutex> lock(mutex_);
    watchSleeps_.store(false);
    watchChanged_.notify_all();
  }

  // ---- The leader

  // Until the lead is lost, or the server has stopped.
  void lead() {
    call_.store(kNoCall);
    for (;;) {
      if (lookAtAll() && !serveTurn(*std::exchange(found_, nullptr))) return;
      if (++sinceHousekeeping_ >= kCallsToHousekeeping) endIdle();
      if (needsAttention()) attend();
      if (isOver()) {
        std::lock_guard<std::mutex> lock(mutex_);
        return finish();
      }
      if (!lookAtAll() && !spin()) sleep();
    }
  }

  static bool isReady(CardConnection& connection) {
    return !connection.claimed.load(std::memory_order_acquire) &&
           !connection.ended && connection.isReadable();
  }

  bool hasWork() const {
    return std::any_of(
        connections_.begin(), connections_.end(),
        [](const auto& connection) { return isReady(*connection); });
  }

  // Whether found_ is a connection to serve. Looks at a few, from the one
  // behind that served last on; then at the favourite.
  bool look() {
    const std::size_t most = std::min(connections_.size(), kLooksAtOnce);
    for (std::size_t i = 0; i < most && !found_; ++i) {
      if (next_ >= connections_.size()) beginRound();
      CardConnection* connection = connections_[next_++].get();
      if (isReady(*connection)) found(connection);
    }
    if (!found_ && favourite_ && isReady(*favourite_)) found(favourite_);
    return found_ != nullptr;
  }

  bool lookAtAll() {
    for (std::size_t i = 0; i <= connections_.size() && !found_;
         i += kLooksAtOnce)
      look();
    return found_ != nullptr;
  }

  // The favourite: the only connection that had calls in the last round. The
  // next one is probably its too, as when the clients share a processor, and
  // would have to wait until all others were looked at. A second one with calls
  // ends that, so that two have the same share wherever they are in the list.
  void found(CardConnection* connection) {
    found_ = connection;
    if (favourite_ != connection) favourite_ = nullptr;
    if (only_ && only_ != connection) several_ = true;
    only_ = connection;
  }

  void beginRound() {
    next_ = 0;
    if (only_ && !several_) favourite_ = only_;
    only_ = nullptr;
    several_ = false;
  }

  // Before connections go.
  void forgetLooks() {
    found_ = favourite_ = only_ = nullptr;
    several_ = false;
  }

  // A turn of it. False when the lead was lost meanwhile.
  bool serveTurn(CardConnection& connection) {
    if (stopping_) connection.endNext(kStopping);
    connection.claimed.store(true, std::memory_order_relaxed);
    // The watch may take the lead, and with it connections_, from beginCall()
    // on.
    const bool hasOthers = followers_ + 1 < options_.cardThreads && hasWork();
    beginCall(connection);
    if (hasOthers) handOn(connection.call);
    const bool goesOn = connection.serveTurn();
    std::uint64_t call = connection.call;
    const bool leads = call_.compare_exchange_strong(call, kNoCall);
    if (!goesOn) connection.ended = true;
    connection.claimed.store(false, std::memory_order_release);
    // Without the lead, the connection may be gone from here on.
    if (!goesOn) somethingEnded_ = true;
    if (leads) return true;
    --followers_;
    // The leader may sleep, and this connection has not been asked to ring.
    wake_.raise();
    return false;
  }

  void beginCall(CardConnection& connection) {
    connection.call = calls_.load(std::memory_order_relaxed) + 1;
    calls_.store(connection.call);
    call_.store(connection.call);
    if (watchSleeps_.load()) wakeWatch();
  }

  // ---- What is not a call

  bool needsAttention() const {
    return somethingEnded_ || stop_.load() != stopping_ || hasNewcomers();
  }

  bool hasNewcomers() const {
    return !stopping_ &&
           std::any_of(ports_.begin(), ports_.end(),
                       [](const auto& port) { return port->hasWaiting(); });
  }

  void attend() {
    if (stop_ && !stopping_) beginStop();
    if (!stopping_) acceptNewcomers();
    if (somethingEnded_.exchange(false)) forgetEnded();
  }

  void acceptNewcomers() {
    for (const auto& port : ports_)
      while (auto channel = port->accept()) add(std::move(channel), *port);
  }

  void add(std::unique_ptr<CardChannel> channel, const CardPort& port) {
    auto connection = std::make_shared<CardConnection>(
        std::move(channel), options_, maker_, log_, port.address(),
        [this](CardConnection& sleeper) { handOn(sleeper.call); },
        [this](CardConnection& waiter) { handOnFor(waiter); });
    try {
      watch(connection->channel().doorbell(), EPOLLIN | EPOLLET);
      watch(connection->channel().wake(), EPOLLIN | EPOLLET);
    } catch (...) {
      unwatch(*connection);
      return connection->fail();
    }
    connections_.push_back(std::move(connection));
    clients_ = connections_.size();
  }

  void forgetEnded() {
    forgetLooks();
    std::erase_if(connections_, [this](const auto& connection) {
      if (connection->claimed.load(std::memory_order_acquire) ||
          !connection->ended)
        return false;
      unwatch(*connection);
      return true;
    });
    clients_ = connections_.size();
  }

  void endIdle() {
    sinceHousekeeping_ = 0;
    for (const auto& connection : connections_)
      if (!connection->claimed.load(std::memory_order_acquire) &&
          !connection->ended && connection->isIdleTooLong())
        connection->endNext("idle for too long");
  }

  // ---- Waiting

  // Whether there is something to do. Without connections there is nothing to
  // spin for.
  bool spin() {
    if (connections_.empty() || stopping_) return false;
    auto ready = [this] { return look(); };
    // Else sleep(), which comes soon, looks for idle connections.
    const bool isEndless = options_.spin.kind() == Spin::Kind::kAlways;
    auto isInterrupted = [&] {
      return needsAttention() ||
             (isEndless && ++sinceHousekeeping_ >= kCallsToHousekeeping);
    };
    for (;;) {
      if (spinner_.glance(ready) || spinner_.spin(ready, isInterrupted))
        return true;
      if (needsAttention()) return true;
      if (!isEndless) return false;
      endIdle();
    }
  }

  // Until a client rings, or another thread has news.
  void sleep() {
    endIdle();
    if (armAll() || needsAttention()) return;
    std::array<epoll_event, 64> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(),
                                   sleepUntil().remainingMs());
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    if (!connections_.empty()) spinner_.slept();
    for (int i = 0; i < count; ++i)
      if (events[i].data.fd == wake_.fd()) wake_.clear();
  }

  bool armAll() {
    bool hasWork = false;
    for (const auto& connection : connections_)
      if (!connection->claimed.load(std::memory_order_acquire) &&
          !connection->ended && connection->armReadable())
        hasWork = true;
    return hasWork;
  }

  Deadline sleepUntil() const {
    Deadline earliest = stopping_ ? stopDeadline_ : Deadline::never();
    for (const auto& connection : connections_)
      if (!connection->claimed.load(std::memory_order_acquire))
        earliest = Deadline::earlier(earliest, connection->idleUntil());
    return earliest;
  }

  void watch(int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0)
      fail("epoll_ctl");
  }

  // Before they are closed: the device has the doorbell, too, so that closing
  // ours would not end the watching.
  void unwatch(const CardConnection& connection) {
    unwatch(connection.channel().doorbell());
    unwatch(connection.channel().wake());
  }

  void unwatch(int fd) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }

  // ---- Stopping

  void beginStop() {
    log_->info("event=stopping connections={}", connections_.size());
    stopping_ = true;
    stopDeadline_ = Deadline::in(options_.stopTimeoutMs);
    for (const auto& port : ports_) {
      port->stopListening();
      // What waits there is not accepted any more.
      unwatch(port->fd());
    }
  }

  void endUnclaimed() {
    for (const auto& connection : connections_)
      if (!connection->claimed.load(std::memory_order_acquire) &&
          !connection->ended)
        connection->endNext(kStopping);
  }

  // Connections whose call was under way end when it is answered.
  bool isOver() {
    if (!stopping_) return false;
    endUnclaimed();
    forgetEnded();
    if (connections_.empty()) return true;
    if (!stopDeadline_.passed()) return false;
    if (cut_) return true;
    log_->warn("event=cut connections={} reason=\"stop timeout\"",
               connections_.size());
    cut_ = true;
    for (const auto& connection : connections_) connection->cut();
    stopDeadline_ = Deadline::in(kCutGraceMs);
    return false;
  }

  // With mutex_ held.
  void finish() {
    inOrder_ = connections_.empty();
    finished_ = true;
    changed_.notify_all();
    watchChanged_.notify_all();
  }

  const ServerOptions options_;
  const ProcessorMaker maker_;
  const std::shared_ptr<spdlog::logger> log_;
  const Descriptor epoll_;
  Wake wake_;
  std::vector<std::unique_ptr<CardPort>> ports_;

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> call_{kNoCall};
  std::atomic<std::uint64_t> calls_{kFirstCall};  // the last number used
  std::atomic<int> followers_{0};        // threads in calls, without the lead
  std::atomic<std::size_t> clients_{0};  // connections_.size()
  std::atomic<bool> somethingEnded_{false};
  std::atomic<bool> watchSleeps_{false};

  // The leader's.
  Connections connections_;
  std::size_t next_ = 0;                 // to be looked at
  CardConnection* found_ = nullptr;      // to be served next
  CardConnection* favourite_ = nullptr;  // see found()
  CardConnection* only_ = nullptr;       // the last with calls in this round
  bool several_ = false;                 // there was another one
  Spinner spinner_;
  std::uint64_t sinceHousekeeping_ = 0;
  bool stopping_ = false;
  bool cut_ = false;
  Deadline stopDeadline_;

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::condition_variable watchChanged_;
  int threads_ = 0;
  int spare_ = 0;
  bool leadIsFree_ = false;
  bool outOfThreads_ = false;
  bool finished_ = false;
  bool inOrder_ = false;
};

PollingServer::PollingServer(ServerOptions options, ProcessorMaker maker,
                             std::shared_ptr<spdlog::logger> log)
    : poller_(std::make_shared<Poller>(std::move(options), std::move(maker),
                                       std::move(log))) {}

PollingServer::~PollingServer() = default;

std::vector<std::string> PollingServer::addresses() const {
  return poller_->addresses();
}

bool PollingServer::serve() { return poller_->serve(); }

void PollingServer::stop() { poller_->stop(); }

}  // namespace lanecall
