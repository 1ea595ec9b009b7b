// SPDX-License-Identifier: Apache-2.0
#include "slice.h"

#include <algorithm>
#include <barrier>
#include <cmath>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "clock.h"
#include "connection.h"
#include "processor_time.h"

namespace lanecall::bench {
namespace {

constexpr std::size_t kWarmUpCalls = 3;

// Faster than any call: what is set aside for a slice's latencies.
constexpr double kMostCallsPerSecond = 5e6;

std::int64_t nanoseconds(double seconds) {
  return static_cast<std::int64_t>(seconds * 1e9);
}

// One client of a slice, in a thread of its own.
struct Client {
  std::unique_ptr<Connection> connection;
  Latencies latencies;
  std::int64_t endedNs = 0;
  std::exception_ptr failure = nullptr;
};

// What takes a processor's time, not only calls that wait.
bool isWork(const Test& test) {
  return test.kind != Kind::kPing && test.kind != Kind::kReflect;
}

void checkSlice(const Channel& channel, const Slice& slice) {
  if (slice.clients < 1 || slice.clients > 1000)
    throw std::invalid_argument("'clients' must be from 1 to 1000");
  if (slice.outstanding < 1 || slice.outstanding > 1000)
    throw std::invalid_argument("'outstanding' must be from 1 to 1000");
  if (!(slice.seconds >= 0 && slice.seconds <= 3600))
    throw std::invalid_argument("'seconds' must be from 0 to 3600");
  if (!(slice.warmUpSeconds >= 0 && slice.warmUpSeconds <= 3600))
    throw std::invalid_argument("'warmup_seconds' must be from 0 to 3600");
  if (slice.minimumCalls > 10'000'000)
    throw std::invalid_argument("'minimum_calls' must be at most 10000000");
  if (slice.outstanding > 1 && slice.test.kind == Kind::kReflect)
    throw std::invalid_argument(
        "reflect: several on their way at a time could fill both directions, "
        "and neither side would go on; use ping");
  if (slice.outstanding > 1 && slice.test.stage != Stage::kWhole)
    throw std::invalid_argument(
        slice.test.name +
        ": stages are of one call at a time; use outstanding "
        "1");
  if (slice.outstanding > 1 && slice.test.kind == Kind::kPing &&
      channel.kind == Channel::Kind::kMemory)
    throw std::invalid_argument(
        "a channel of kind memory answers each call at once; use outstanding "
        "1");
  if (slice.clients > 1 && isWork(slice.test))
    throw std::invalid_argument(slice.test.name +
                                ": one client has all the work; use clients 1");
}

std::vector<Client> makeClients(const Channel& channel, const Slice& slice,
                                std::size_t callsOfEach) {
  const auto most = static_cast<std::size_t>(
      std::min(std::ceil(slice.seconds * kMostCallsPerSecond),
               static_cast<double>(slice.mostCalls)) /
      slice.clients);
  std::vector<Client> clients;
  for (int number = 0; number < slice.clients; ++number)
    clients.push_back(
        {connect(channel, slice.test, number, slice.outstanding),
         Latencies(std::max(callsOfEach, most) + 4 * slice.outstanding)});
  return clients;
}

Counters countersNow(const Channel& channel) {
  if (channel.kind != Channel::Kind::kPcie) return {};
  return readCounters(countersOf(channel.address));
}

// What processors do from one reading to the next.
class Work {
 public:
  explicit Work(const Test& test) : isCounted_(isWork(test)) {}

  // What looking costs is left out, on both sides.
  void begin() {
    if (!isCounted_) return;
    idleNs_ = idleNs();
    begunNs_ = nowNs();
    programNs_ = programNs();
  }

  void end(Outcome& outcome) const {
    if (!isCounted_) return;
    outcome.programSeconds = secondsBetween(programNs_, programNs());
    const double seconds =
        secondsBetween(begunNs_, nowNs()) * std::thread::hardware_concurrency();
    const std::optional<std::int64_t> idle = idleNs();
    if (idleNs_ && idle)
      outcome.busySeconds =
          std::max(0.0, seconds - secondsBetween(*idleNs_, *idle));
  }

 private:
  const bool isCounted_;
  std::optional<std::int64_t> idleNs_;
  std::int64_t begunNs_ = 0;
  std::int64_t programNs_ = 0;
};

}  // namespace

Outcome runSlice(const Channel& channel, const Slice& slice) {
  checkSlice(channel, slice);
  const std::size_t callsOfEach =
      (slice.minimumCalls + slice.clients - 1) / slice.clients;
  std::vector<Client> clients = makeClients(channel, slice, callsOfEach);

  Counters before;
  Work work(slice.test);
  std::int64_t startedNs = 0;
  auto start = [&]() noexcept {
    before = countersNow(channel);
    work.begin();
    startedNs = nowNs();
  };
  std::barrier begin(slice.clients, start);
  auto runClient = [&](Client& client) {
    try {
      client.connection->warmUp(
          {nowNs() + nanoseconds(slice.warmUpSeconds), kWarmUpCalls});
    } catch (...) {
      client.failure = std::current_exception();
      begin.arrive_and_drop();
      return;
    }
    begin.arrive_and_wait();
    try {
      client.connection->run(
          {startedNs + nanoseconds(slice.seconds), callsOfEach},
          slice.outstanding, client.latencies);
      client.endedNs = nowNs();
    } catch (...) {
      client.failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (Client& client : clients) {
      try {
        threads.emplace_back(runClient, std::ref(client));
      } catch (...) {
        client.failure = std::current_exception();
        begin.arrive_and_drop();  // else the others would wait for it
      }
    }
  }

  Outcome outcome;
  work.end(outcome);
  outcome.counters = difference(before, countersNow(channel));
  for (Client& client : clients) {
    if (client.failure) std::rethrow_exception(client.failure);
    outcome.seconds =
        std::max(outcome.seconds, secondsBetween(startedNs, client.endedNs));
    outcome.overlap = client.connection->overlap();
    auto ns = std::move(client.latencies).take();
    outcome.ns.insert(outcome.ns.end(), ns.begin(), ns.end());
  }
  return outcome;
}

}  // namespace lanecall::bench
