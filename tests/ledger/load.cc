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
#include <fstream>
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

// What a process does, as its kernel has it.
std::string whereIs(pid_t process) {
  std::string text;
  for (const char* name : {"status", "syscall", "stack"}) {
    std::ifstream file("/proc/" + std::to_string(process) + "/" + name);
    for (std::string line; std::getline(file, line);)
      if (name != std::string("status") || line.starts_with("State:"))
        text += "\n    " + line;
  }
  return text;
}

[[noreturn]] void fail(int client, int status) {
  throw std::runtime_error(
      "client " + std::to_string(client) +
      (WIFSIGNALED(status)
           ? " was killed by signal " + std::to_string(WTERMSIG(status))
           : " ended with " + std::to_string(WEXITSTATUS(status))));
}

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

// ---- In the test ---------------------------------------------------------

std::uint64_t Load::calls() const { return sum(state_->ok); }

std::uint64_t Load::failures() const { return sum(state_->failed); }

std::vector<std::uint64_t> Load::failuresEach() const {
  return {state_->failed.begin(), state_->failed.begin() + options_.clients};
}

void Load::awaitCalls(std::uint64_t more) {
  const Deadline deadline = Deadline::in(2 * kPatienceMs);
  std::array<std::uint64_t, kMostClients> from{};
  for (std::size_t i = 0; i < clients_.size(); ++i) from[i] = state_->ok[i];
  for (int i = 0; i < options_.clients; ++i) {
    const auto at = static_cast<std::size_t>(i);
    while (state_->ok[at] - from[at] < more) {
      int status = 0;
      if (::waitpid(clients_[at], &status, WNOHANG) > 0) {
        clients_[at] = 0;
        fail(i, status);
      }
      if (deadline.passed())
        throw std::runtime_error(
            "client " + std::to_string(i) +
            " gets no call through any more: " + whereIs(clients_[at]));
      pause();
    }
  }
}

// Its wait status.
int Load::reap(int client) {
  int status = 0;
  pid_t& process = clients_[static_cast<std::size_t>(client)];
  if (::waitpid(process, &status, 0) < 0)
    throw std::system_error(errno, std::generic_category(), "waitpid");
  process = 0;
  return status;
}

void Load::replace(int client) {
  ::kill(clients_[static_cast<std::size_t>(client)], SIGKILL);
  const int status = reap(client);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) fail(client, status);
  start(client);
}

void Load::stop() {
  state_->stop = true;
  for (int i = 0; i < options_.clients; ++i)
    if (const int status = reap(i)) fail(i, status);
}

}  // namespace lanecall::ledger
