// SPDX-License-Identifier: Apache-2.0
#include "load.h"

#include <lanecall/deadline.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thrift/transport/TTransportException.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "settings.h"
#include "sizes.h"

namespace lanecall::ledger {
namespace {

using apache::thrift::transport::TTransportException;

constexpr std::uint32_t kRings[] = {4096, 8192, 65536, 4096};
constexpr std::uint32_t kMessageLimit = 64 << 10;
constexpr int kCallsOfAConnection = 200;  // on average

// Between two looks at what nobody tells of: a clients' counters, a server or a
// device that comes back.
void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

template <typename Counts>
std::uint64_t sum(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

}  // namespace

Load::Load(const Options& options, const Book& book, const Channels& channels,
           std::uint64_t seed)
    : options_(options), book_(book), channels_(channels), nextSeed_(seed) {
  clients_.resize(static_cast<std::size_t>(options.clients));
  for (int i = 0; i < options.clients; ++i) start(i);
}

Load::~Load() {
  for (const pid_t client : clients_)
    if (client > 0) ::kill(client, SIGKILL);
  for (const pid_t client : clients_)
    if (client > 0) ::waitpid(client, nullptr, 0);
}

void Load::start(int client) {
  const std::uint64_t seed = nextSeed_++;
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0)
    throw std::system_error(errno, std::generic_category(), "fork");
  if (child > 0) {
    clients_[static_cast<std::size_t>(client)] = child;
    return;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  try {
    work(client, seed);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "client %d: %s\n", client, error.what());
    ::_exit(1);
  }
  ::_exit(0);
}

// ---- In a client
// -------------------------------------------------------------

// Of different rings and ways to move bytes.
ClientOptions Load::optionsOf(int client) const {
  ClientOptions options = patient();
  options.framing = settings().framing;
  options.mode = client % 2 ? DeviceMode::kReadWrite : DeviceMode::kAutomatic;
  options.txRingBytes = options.rxRingBytes = kRings[client % 4];
  if (client / 2 % 2 && options_.impatientMs)
    options.receiveTimeoutMs = options_.impatientMs;
  return options;
}

void Load::work(int client, std::uint64_t seed) {
  Random random(seed);
  while (!state_->stop) {
    try {
      Caller caller(options_.uri, optionsOf(client), (*channels_)++, book_);
      use(caller, client, random);
    } catch (const TTransportException&) {
      pause();  // there is no server, or no device, at the moment
    }
  }
}

void Load::use(Caller& caller, int client, Random& random) {
  const auto at = static_cast<std::size_t>(client);
  const Sizes sizes(kRings[client % 4], kMessageLimit);
  const auto stalls = static_cast<std::uint64_t>(options_.stallUs) + 1;
  do {
    std::string data = random.bytes(sizes.request(random));
    const auto answer = static_cast<std::int32_t>(sizes.answer(random));
    const auto stall = static_cast<std::int32_t>(random.below(stalls));
    if (caller.call(std::move(data), answer, stall) != What::kOk) {
      state_->failed[at]++;
      return;
    }
    state_->ok[at]++;
  } while (!state_->stop &&
           (options_.staysOpen || random.below(kCallsOfAConnection) > 0));
}

// ---- In the test
// -------------------------------------------------------------

std::uint64_t Load::calls() const { return sum(state_->ok); }

std::uint64_t Load::failures() const { return sum(state_->failed); }

void Load::awaitCalls(std::uint64_t more) {
  const Deadline deadline = Deadline::in(2 * kPatienceMs);
  std::array<std::uint64_t, kMostClients> from{};
  for (std::size_t i = 0; i < clients_.size(); ++i) from[i] = state_->ok[i];
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    while (state_->ok[i] - from[i] < more) {
      if (deadline.passed())
        throw std::runtime_error("client " + std::to_string(i) +
                                 " gets no call through any more");
      pause();
    }
  }
}

void Load::reap(int client) {
  int status = 0;
  pid_t& process = clients_[static_cast<std::size_t>(client)];
  const pid_t ended = ::waitpid(process, &status, 0);
  process = 0;
  if (ended < 0 || (WIFEXITED(status) && WEXITSTATUS(status) != 0))
    throw std::runtime_error("client " + std::to_string(client) +
                             " has failed");
}

void Load::replace(int client) {
  ::kill(clients_[static_cast<std::size_t>(client)], SIGKILL);
  reap(client);
  start(client);
}

void Load::stop() {
  state_->stop = true;
  for (int i = 0; i < options_.clients; ++i) reap(i);
}

}  // namespace lanecall::ledger
