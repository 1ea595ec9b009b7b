// SPDX-License-Identifier: Apache-2.0
#include <lanecall/connection.h>
#include <lanecall/server.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <map>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace lanecall {
namespace {

// After running out of descriptors or memory, listening pauses this long:
// neither comes back with an event of its own.
constexpr int kResourcePauseMs = 100;

// Connections taken from one listener before stop() and the other listeners
// are looked at: a flood must not keep them waiting.
constexpr int kAcceptsInOneTurn = 64;

// After cutting connections, their threads get this long to notice.
constexpr auto kCutGrace = std::chrono::seconds(1);

bool is_out_of_resources(int error) {
  return error == -EMFILE || error == -ENFILE || error == -ENOBUFS ||
         error == -ENOMEM;
}

}  // namespace

// All connections that are served. Outlives the server while threads run, so
// it has its own copies of what they use.
class Server::Connections
    : public std::enable_shared_from_this<Server::Connections> {
 public:
  Connections(const ServerOptions& options, ProcessorMaker maker,
              std::shared_ptr<spdlog::logger> log)
      : options_(options), maker_(std::move(maker)), log_(std::move(log)) {}

  // Takes a connection or, if there are too many, drops it.
  void start(std::unique_ptr<ChannelIo> io, const Uri& at) {
    std::shared_ptr<Connection> connection;
    std::uint64_t id;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!has_room()) return;
      connection =
          std::make_shared<Connection>(std::move(io), options_, log_, at.str());
      id = connection->id();
      live_.emplace(id, connection);
    }
    try {
      std::thread([self = shared_from_this(), connection, id]() mutable {
        connection->run(self->maker_);
        connection.reset();
        self->end(id);
      }).detach();
    } catch (const std::system_error& error) {
      log_->error("event=refused connection={} error=\"no thread: {}\"", id,
                  error.what());
      end(id);
    }
  }

  // True when all have ended in time, or after being cut.
  bool stop() {
    std::unique_lock<std::mutex> lock(mutex_);
    log_->info("event=stopping connections={}", live_.size());
    for (auto& [id, connection] : live_) connection->stop();
    auto none = [this] { return live_.empty(); };
    if (options_.stopTimeoutMs <= 0) {
      ended_.wait(lock, none);
      return true;
    }
    if (ended_.wait_for(lock, std::chrono::milliseconds(options_.stopTimeoutMs),
                        none))
      return true;
    log_->warn("event=cut connections={} reason=\"stop timeout\"",
               live_.size());
    for (auto& [id, connection] : live_) connection->cut();
    return ended_.wait_for(lock, kCutGrace, none);
  }

 private:
  // With mutex_ held. Says so when refusing begins, not at every refusal.
  bool has_room() {
    if (live_.size() < static_cast<std::size_t>(options_.maxConnections)) {
      if (refused_ > 0) log_->info("event=room refused_before={}", refused_);
      refused_ = 0;
      return true;
    }
    if (refused_++ == 0)
      log_->warn("event=full connections={} action=\"refusing more\"",
                 live_.size());
    return false;
  }

  void end(std::uint64_t id) {
    // The notification stays under the lock: stop()'s caller may return the
    // moment the last one is gone.
    std::lock_guard<std::mutex> lock(mutex_);
    live_.erase(id);
    ended_.notify_all();
  }

  const ServerOptions options_;
  const ProcessorMaker maker_;
  std::shared_ptr<spdlog::logger> log_;

  std::mutex mutex_;  // guards all below
  std::condition_variable ended_;
  std::map<std::uint64_t, std::shared_ptr<Connection>> live_;
  std::uint64_t refused_ = 0;
};

Server::Server(ServerOptions options, ProcessorMaker maker,
               std::shared_ptr<spdlog::logger> log)
    : options_(std::move(options)),
      log_(std::move(log)),
      connections_(
          std::make_shared<Connections>(options_, std::move(maker), log_)) {
  if (options_.listen.empty())
    throw std::invalid_argument(
        "nowhere to listen; give --listen tcp:127.0.0.1:0 or unix:/path");
  for (const std::string& address : options_.listen)
    listeners_.push_back(
        std::make_unique<Listener>(parseListenUri(address), options_.access));
}

Server::~Server() = default;

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> all;
  for (const auto& listener : listeners_) all.push_back(listener->uri().str());
  return all;
}

void Server::acceptFrom(Listener& listener) {
  for (int i = 0; i < kAcceptsInOneTurn; ++i) {
    int error = 0;
    std::unique_ptr<ChannelIo> io = listener.accept(&error);
    if (io) {
      connections_->start(std::move(io), listener.uri());
      continue;
    }
    if (error == -EAGAIN) return;
    if (error == -EACCES)
      if (const auto denied = denied_.add())
        log_->warn("event=denied at={} from={} denied={}", listener.uri().str(),
                   listener.whoWasDenied(), *denied);
    if (is_out_of_resources(error)) {
      if (!outOfResources_)
        log_->error("event=accept_failed at={} error=\"{}\"",
                    listener.uri().str(),
                    std::generic_category().message(-error));
      outOfResources_ = true;
      return;
    }
    // Anything else is the end of that one connection.
  }
}

bool Server::serve() {
  std::vector<pollfd> waits;
  waits.push_back({stop_.fd(), POLLIN, 0});
  for (const auto& listener : listeners_)
    waits.push_back({listener->fd(), POLLIN, 0});
  for (;;) {
    // Out of resources, only stop() is listened for, for a while.
    nfds_t count = outOfResources_ ? 1 : waits.size();
    int ready =
        ::poll(waits.data(), count, outOfResources_ ? kResourcePauseMs : -1);
    if (ready < 0 && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "poll");
    if (ready > 0 && waits[0].revents) break;
    outOfResources_ = false;
    for (std::size_t i = 1; ready > 0 && i < count; ++i)
      if (waits[i].revents) acceptFrom(*listeners_[i - 1]);
  }
  listeners_.clear();
  return connections_->stop();
}

void Server::stop() { stop_.raise(); }

}  // namespace lanecall
