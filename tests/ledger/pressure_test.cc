// SPDX-License-Identifier: Apache-2.0
//
// Many clients with many calls outstanding each, small rings, and a server that
// stalls: everybody has to wait for everybody, nobody keeps more than there are
// places for.
#include <event2/event.h>
#include <lanecall/async_channel.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <fstream>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "answers.h"
#include "ground.h"
#include "machine.h"

namespace lanecall::ledger {
namespace {

constexpr int kClients = 64;
constexpr int kOutstanding = 16;
constexpr std::uint32_t kRing = 4096;
constexpr std::uint32_t kMostBytes = 2 * kRing;
constexpr int kStallsOneIn = 300;
constexpr std::uint64_t kMostStallUs = 20'000;
constexpr int kSamples = 16;
constexpr std::int64_t kMostGrowth = 32 << 20;

struct FreeLoop {
  void operator()(event_base* loop) const { ::event_base_free(loop); }
};
using Loop = std::unique_ptr<event_base, FreeLoop>;

// What all clients together have yet to do.
struct Work {
  event_base* loop;
  int toSend;
  int toHear;
  bool failed = false;
  std::function<void(int left)> heard;
};

// One connection.
class Client {
 public:
  Client(Work& work, const std::string& uri, std::uint64_t channel,
         const Book& book, std::uint64_t seed)
      : work_(work),
        number_(channel),
        book_(book),
        random_(seed),
        channel_(openAsyncChannel(work.loop, uri, options())),
        protocols_(protocolFactory(Protocol::kBinary, {})),
        client_(channel_, protocols_.get()) {}

  // Before the client's buffers go.
  ~Client() { channel_->close(); }

  void begin() {
    for (int i = 0; i < kOutstanding; ++i) send();
  }

 private:
  struct Call {
    std::int64_t number;
    std::uint64_t answer;  // digest of the right one
  };

  static ClientOptions options() {
    ClientOptions options = patient();
    options.framing = settings().framing;
    options.txRingBytes = options.rxRingBytes = kRing;
    return options;
  }

  void send() {
    if (work_.toSend == 0) return;
    --work_.toSend;
    Order order;
    order.channel = static_cast<std::int64_t>(number_);
    order.number = next_++;
    order.answerBytes = static_cast<std::int32_t>(random_.below(kMostBytes));
    order.data = random_.bytes(random_.below(kMostBytes));
    if (random_.below(kStallsOneIn) == 0)
      order.stallUs = static_cast<std::int32_t>(random_.below(kMostStallUs));
    waiting_.push_back(
        {order.number, digestOf(answerTo(order.data, static_cast<std::size_t>(
                                                         order.answerBytes)))});
    note(What::kSent, order.number, digestOf(order.data));
    client_.run([this](LedgerCobClient*) { hear(); }, order);
  }

  void hear() {
    const Call call = waiting_.front();
    waiting_.pop_front();
    std::uint64_t digest = 0;
    const What what = outcome(call, digest);
    note(what, call.number, digest);
    if (what != What::kOk) work_.failed = true;
    work_.heard(--work_.toHear);
    if (work_.failed || work_.toHear == 0)
      ::event_base_loopbreak(work_.loop);
    else
      send();
  }

  What outcome(const Call& call, std::uint64_t& digest) {
    using apache::thrift::transport::TTransportException;
    try {
      std::string answer;
      client_.recv_run(answer);
      digest = digestOf(answer);
      return digest == call.answer ? What::kOk : What::kWrong;
    } catch (const std::exception&) {
      const AsyncError& error = channel_->lastError();
      std::fprintf(stderr, "%s\n", error.text.c_str());
      return error.type == TTransportException::TIMED_OUT ? What::kHung
                                                          : What::kUnknown;
    }
  }

  void note(What what, std::int64_t number, std::uint64_t digest) const {
    book_.add({what, 0, number_, static_cast<std::uint64_t>(number), digest});
  }

  Work& work_;
  const std::uint64_t number_;
  const Book& book_;
  Random random_;
  const std::shared_ptr<AsyncChannel> channel_;
  const std::shared_ptr<apache::thrift::protocol::TProtocolFactory> protocols_;
  LedgerCobClient client_;
  std::deque<Call> waiting_;
  std::int64_t next_ = 0;
};

std::int64_t ownMemory() {
  std::ifstream status("/proc/self/status");
  std::int64_t kilobytes = 0;
  for (std::string word; status >> word;)
    if (word == "VmRSS:" && status >> kilobytes) break;
  return kilobytes << 10;
}

// What somebody has resident: at the beginning, and at most.
class Memory {
 public:
  explicit Memory(std::string whose) : whose_(std::move(whose)) {}

  void take(std::int64_t bytes) {
    if (first_ == 0) first_ = bytes;
    most_ = std::max(most_, bytes);
  }
  void check() const {
    std::printf("%s: %lld KiB, at most %lld KiB\n", whose_.c_str(),
                static_cast<long long>(first_ >> 10),
                static_cast<long long>(most_ >> 10));
    EXPECT_LE(most_ - first_, kMostGrowth) << whose_ << " keeps too much";
  }

 private:
  const std::string whose_;
  std::int64_t first_ = 0;
  std::int64_t most_ = 0;
};

class Pressure : public Ground {};

TEST_F(Pressure, OfManyOutstandingCallsKeepsMemoryBounded) {
  const Loop loop(::event_base_new());
  if (!loop) throw std::bad_alloc();
  Work work{loop.get(), settings().calls, settings().calls, false, {}};
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i)
    clients.push_back(std::make_unique<Client>(
        work, uri(), (*channels())++, book(), random().below(1ULL << 60)));
  auto server = control();
  Memory own("this program"), servers("the server"), qemu("QEMU");
  const auto look = [&] {
    own.take(ownMemory());
    servers.take(server->memory());
    if (!settings().monitor.empty()) qemu.take(std::stoll(monitor("memory")));
  };
  const int every = std::max(1, settings().calls / kSamples);
  work.heard = [&](int left) {
    if (left % every == 0) look();
  };
  look();
  for (auto& client : clients) client->begin();
  ASSERT_GE(::event_base_dispatch(loop.get()), 0);
  EXPECT_FALSE(work.failed);
  clients.clear();
  const Verdict verdict = settle();
  EXPECT_EQ(verdict.ok, static_cast<std::uint64_t>(settings().calls));
  own.check();
  servers.check();
  if (!settings().monitor.empty()) qemu.check();
}

}  // namespace
}  // namespace lanecall::ledger
