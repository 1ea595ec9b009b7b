// SPDX-License-Identifier: Apache-2.0
//
// Clients that call without a pause, each a process of its own, while things
// happen to them, to their server or to their device. One whose connection ends
// opens another.
#ifndef LANECALL_TESTS_LEDGER_LOAD_H
#define LANECALL_TESTS_LEDGER_LOAD_H

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "book.h"
#include "caller.h"
#include "random.h"
#include "shared.h"

namespace lanecall::ledger {

// Names for connections that no other has, in whatever process.
using Channels = Shared<std::atomic<std::uint64_t>>;

class Load {
 public:
  struct Options {
    std::string uri;
    int clients = 4;  // at most kMostClients
    // Every other client waits for an answer no longer than this; 0: for as
    // long as it takes.
    int impatientMs = 0;
    int stallUs = 0;         // handlers wait for up to this
    bool staysOpen = false;  // connections end only by themselves
  };
  static constexpr int kMostClients = 8;

  // Starts them. All three have to be there for as long as this.
  Load(const Options& options, const Book& book, const Channels& channels,
       std::uint64_t seed);
  ~Load();  // kills them
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Waits until each client has had so many more calls that are OK. Throws
  // std::runtime_error when one has ended, or when that takes longer than
  // anything that works.
  void awaitCalls(std::uint64_t more);

  // Of all clients.
  std::uint64_t calls() const;
  std::uint64_t failures() const;  // calls that are not OK
  // Of each.
  std::vector<std::uint64_t> failuresEach() const;

  // SIGKILL, and another one instead.
  void replace(int client);

  // Ends them in order: each its last call. Throws if one had failed.
  void stop();

 private:
  struct State {
    std::atomic<bool> stop{false};
    std::array<std::atomic<std::uint64_t>, kMostClients> ok{};
    std::array<std::atomic<std::uint64_t>, kMostClients> failed{};
  };

  void start(int client);
  int reap(int client);
  void work(int client, std::uint64_t seed);
  void use(Caller& caller, int client, Random& random);
  ClientOptions optionsOf(int client) const;

  const Options options_;
  const Book& book_;
  const Channels& channels_;
  std::uint64_t nextSeed_;
  const Shared<State> state_;
  std::vector<pid_t> clients_;  // 0: none
};

}  // namespace lanecall::ledger

#endif
