// SPDX-License-Identifier: Apache-2.0
//
// Nobody starves when all channels of a device are busy.
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <thread>

#include "fixture.h"

namespace lanecall::test {
namespace {

constexpr int kChannels = 64;

// Clients that call without a pause, each on its own channel and thread, all
// at the same time, until this is destroyed.
class BusyClients {
 public:
  explicit BusyClients(std::vector<std::unique_ptr<Client>> clients)
      : clients_(std::move(clients)),
        calls_(clients_.size()),
        start_(static_cast<std::ptrdiff_t>(clients_.size())) {
    for (std::size_t i = 0; i < clients_.size(); ++i)
      threads_.emplace_back([this, i] { call(i); });
  }
  ~BusyClients() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  // That each has made.
  std::vector<std::uint64_t> calls() const {
    return {calls_.begin(), calls_.end()};
  }

 private:
  void call(std::size_t i) {
    start_.arrive_and_wait();
    try {
      for (; !over_; ++calls_[i]) clients_[i]->edu.ping();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "channel " << i << ": " << error.what();
    }
  }

  const std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::atomic<std::uint64_t>> calls_;
  std::atomic<bool> over_{false};
  std::barrier<> start_;
  std::vector<std::thread> threads_;
};

struct Shares {
  explicit Shares(const std::vector<std::uint64_t>& calls) {
    const auto [least, most] = std::minmax_element(calls.begin(), calls.end());
    this->least = *least;
    this->most = *most;
    mean = std::accumulate(calls.begin(), calls.end(), std::uint64_t{0}) /
           calls.size();
  }
  bool isFair() const { return least > 0 && 3 * least >= mean; }

  std::uint64_t least, mean, most;
};

class FairnessTest : public ClientTest {};
LANECALL_ON_EVERY_PATH(FairnessTest);

// For a time, not for a number of calls: where a thread can spin it makes
// thousands in its time slice, and each is to have many of these. What the
// machine's other work does to some threads evens out, if need be in a longer
// time; a channel that starves stays behind.
TEST_P(FairnessTest, TheSlowestOfSixtyFourChannelsGetsAThirdOfTheMean) {
  if (!GetParam().starts_with("pcie:"))
    GTEST_SKIP() << "sockets are shared out by the kernel alone";
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kChannels; ++i) clients.push_back(connectWhenFree());
  const BusyClients busy(std::move(clients));
  const int least = settings().scaled(10, 5);
  constexpr int kMost = 60;
  Shares shares({0});
  int seconds = 0;
  do {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    shares = Shares(busy.calls());
  } while (++seconds < least || (!shares.isFair() && seconds < kMost));
  std::printf("calls of a channel in %d s: least %" PRIu64 ", mean %" PRIu64
              ", most %" PRIu64 "\n",
              seconds, shares.least, shares.mean, shares.most);
  EXPECT_TRUE(shares.isFair());
}

}  // namespace
}  // namespace lanecall::test
