// SPDX-License-Identifier: Apache-2.0
//
// Thrift's asynchronous ("cob style") clients on one thread: many calls on one
// connection, deadlines, cancellation, servers that die, and the same answers
// as a synchronous client gets.
#include <event2/event.h>
#include <lanecall/async_channel.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <numeric>

#include "fixture.h"
#include "random.h"

namespace lanecall::test {
namespace {

using apache::thrift::TException;
using Type = AsyncError::Type;

constexpr int kOutstanding = 64;

class AsyncTest : public ClientTest {
 protected:
  AsyncTest() : loop_(event_base_new(), event_base_free) {}
  ~AsyncTest() override { disconnect(); }

  void connectAsync(ClientOptions options = patience()) {
    disconnect();
    channel = openAsyncChannel(loop_.get(), uri(), options);
    protocols_ = protocolFactory(options.protocol, options.limits);
    client = std::make_unique<edu::EduCobClient>(channel, protocols_.get());
  }

  void disconnect() {
    if (channel) channel->close();
    client.reset();
    channel.reset();
  }

  // Turns of the loop until it is so; bounded by the calls' own deadlines.
  void until(const std::function<bool()>& done) {
    while (!done())
      ASSERT_EQ(event_base_loop(loop_.get(), EVLOOP_ONCE), 0)
          << "the loop has nothing to wait for";
  }

  // One, without sleep; EVLOOP_NONBLOCK would go on as long as a channel spins.
  void turn() {
    const timeval now = {0, 0};
    event_base_loopexit(loop_.get(), &now);
    event_base_loop(loop_.get(), 0);
  }

  // A callback that counts, and says what became of the call.
  auto reflecting(std::string* answer, int* ended) {
    return [this, answer, ended](edu::EduCobClient* self) {
      ++*ended;
      try {
        self->recv_reflect(*answer);
      } catch (const TException&) {
        failures[channel->lastError().call] = channel->lastError();
      }
    };
  }

  void expectFailed(std::uint64_t call, Type type) {
    ASSERT_TRUE(failures.contains(call)) << "call " << call << " succeeded";
    EXPECT_EQ(failures[call].type, type) << failures[call].text;
    EXPECT_NE(failures[call].text.find("(reflect)"), std::string::npos)
        << failures[call].text;
  }

  event_base* loop() { return loop_.get(); }

  std::shared_ptr<AsyncChannel> channel;
  std::unique_ptr<edu::EduCobClient> client;
  std::map<std::uint64_t, AsyncError> failures;

 private:
  std::unique_ptr<event_base, void (*)(event_base*)> loop_;
  std::shared_ptr<apache::thrift::protocol::TProtocolFactory> protocols_;
};
LANECALL_ON_EVERY_PATH(AsyncTest);

// Sockets take megabytes without a pause, so that a turn sends what it may, and
// nothing but another turn sends the rest.
TEST_P(AsyncTest, ARequestMayBeLargerThanWhatATurnSends) {
  connectAsync();
  const std::string bytes = Random(settings().seed).bytes(12 << 20);
  std::string answer;
  int ended = 0;
  client->reflect(reflecting(&answer, &ended), bytes);
  until([&] { return ended == 1; });
  EXPECT_TRUE(answer == bytes);
}

// Keeps so many calls outstanding until all have been made.
class Reflections {
 public:
  Reflections(edu::EduCobClient& client, int calls, std::size_t largest)
      : client_(client), calls_(calls), largest_(largest) {
    for (int i = 0; i < kOutstanding; ++i) call();
  }
  // Or one has failed.
  bool over() const { return answered_ == calls_ || failed_; }

 private:
  void call() {
    if (called_ == calls_) return;
    ++called_;
    client_.reflect([this](edu::EduCobClient* self) { answered(self); },
                    bytes(asks_));
  }

  void answered(edu::EduCobClient* self) {
    if (failed_) return;
    std::string answer;
    failed_ = true;
    ASSERT_NO_THROW(self->recv_reflect(answer)) << "call " << answered_;
    ASSERT_TRUE(answer == bytes(expects_)) << "call " << answered_;
    failed_ = false;
    ++answered_;
    call();
  }

  // The same of both generators.
  std::string bytes(Random& random) {
    return random.bytes(random.below(random.below(8) ? 200 : largest_));
  }

  edu::EduCobClient& client_;
  const int calls_;
  const std::size_t largest_;
  Random asks_{settings().seed};
  Random expects_{settings().seed};
  int called_ = 0;
  int answered_ = 0;
  bool failed_ = false;
};

TEST_P(AsyncTest, ManyCallsAreOutstandingAndAnsweredInOrder) {
  for (const Framing framing : {Framing::kBuffered, Framing::kFramed}) {
    for (const Protocol protocol : {Protocol::kBinary, Protocol::kCompact}) {
      SCOPED_TRACE(std::string(name(framing)) + " " + name(protocol));
      stopServer();
      startServer({"--framing", name(framing), "--protocol", name(protocol)});
      ClientOptions options = patience();
      options.framing = framing;
      options.protocol = protocol;
      connectAsync(options);
      Reflections calls(*client, settings().scaled(20'000, 1'000), 20'000);
      until([&] { return calls.over(); });
      disconnect();
    }
  }
}

TEST_P(AsyncTest, LargeMessagesPassEachOther) {
  connectAsync();
  constexpr std::size_t kLargest = 1 << 20;
  channel->setQueueBytes(kOutstanding * 2 * kLargest);  // any sizes by chance
  Reflections calls(*client, settings().scaled(300, 70), kLargest);
  until([&] { return calls.over(); });
}

TEST_P(AsyncTest, EveryKindOfAnswerIsWhatASynchronousClientGets) {
  auto other = connect();
  connectAsync();
  int left = 0;
  const auto answered = [&] { --left; };
  for (std::int32_t n = -2; n < 23; ++n) {
    ++left;
    client->factorial(
        [&, n](edu::EduCobClient* self) {
          answered();
          try {
            const std::int64_t value = self->recv_factorial();
            EXPECT_EQ(value, other->edu.factorial(n));
          } catch (const edu::OutOfRange& error) {
            EXPECT_EQ(error.value, n);
            EXPECT_THROW(other->edu.factorial(n), edu::OutOfRange);
          }
        },
        n);
  }
  std::vector<std::int32_t> values(10'000);
  std::iota(values.begin(), values.end(), -5'000);
  ++left;
  client->scale(
      [&](edu::EduCobClient* self) {
        answered();
        std::vector<std::int32_t> scaled, expected;
        self->recv_scale(scaled);
        other->edu.scale(expected, values, 7);
        EXPECT_EQ(scaled, expected);
      },
      values, 7);
  ++left;
  client->note([&](edu::EduCobClient*) { answered(); }, "no answer to this");
  ++left;
  client->echo(
      [&](edu::EduCobClient* self) {
        answered();
        std::string text;
        self->recv_echo(text);
        EXPECT_EQ(text, "after the note");
      },
      "after the note");
  until([&] { return left == 0; });
  EXPECT_EQ(channel->lastError().call, 0u) << channel->lastError().text;
}

TEST_P(AsyncTest, ADeadlineAndACancelEndOneCallEach) {
  connectAsync();
  int ended = 0;
  std::string warm, late, cancelled, kept;
  client->reflect(reflecting(&warm, &ended), "w");
  until([&] { return ended == 1; });
  path->harness().pause(server->id);
  channel->setTimeout(100);
  client->reflect(reflecting(&late, &ended), "late");
  const std::uint64_t lateCall = channel->lastCall();
  channel->setTimeout(patience().receiveTimeoutMs);
  client->reflect(reflecting(&cancelled, &ended), "cancelled");
  const std::uint64_t cancelledCall = channel->lastCall();
  client->reflect(reflecting(&kept, &ended), "kept");
  until([&] { return ended == 2; });
  expectFailed(lateCall, Type::TIMED_OUT);
  EXPECT_TRUE(channel->timedOut());
  EXPECT_TRUE(channel->cancel(cancelledCall));
  until([&] { return ended == 3; });
  expectFailed(cancelledCall, Type::INTERRUPTED);
  EXPECT_TRUE(channel->good());
  // The answers to the others come too, and are dropped.
  path->harness().resume(server->id);
  until([&] { return ended == 4; });
  EXPECT_EQ(kept, "kept");
  EXPECT_EQ(late + cancelled, "");
}

TEST_P(AsyncTest, AServerThatIsKilledEndsEveryCallOnce) {
  connectAsync();
  std::vector<int> ended(kOutstanding);
  std::string answer;
  const std::string sent(100'000, 'x');
  for (int& one : ended) client->reflect(reflecting(&answer, &one), sent);
  until([&] { return ended[0] == 1; });
  killServer();
  until([&] { return ended.back() == 1; });
  EXPECT_EQ(ended, std::vector<int>(kOutstanding, 1));
  EXPECT_FALSE(channel->good());
  EXPECT_TRUE(channel->error());
  int after = 0;
  client->reflect(reflecting(&answer, &after), sent);
  until([&] { return after == 1; });
  expectFailed(channel->lastCall(), Type::NOT_OPEN);
}

TEST_P(AsyncTest, TheSameChannelOpensAgainAfterARestart) {
  connectAsync();
  int ended = 0;
  std::string answer;
  client->reflect(reflecting(&answer, &ended), "1");
  until([&] { return ended == 1; });
  killServer();
  until([&] { return channel->error(); });
  startServer();
  channel->open();
  client->reflect(reflecting(&answer, &ended), "2");
  until([&] { return ended == 2; });
  EXPECT_EQ(answer, "2");
}

TEST_P(AsyncTest, NoServerFailsTheCalls) {
  stopServer();
  connectAsync();
  int ended = 0;
  std::string answer;
  client->reflect(reflecting(&answer, &ended), "1");
  until([&] { return ended == 1; });
  expectFailed(channel->lastCall(), Type::NOT_OPEN);
  EXPECT_NE(failures[1].text.find("lanecall-server"), std::string::npos)
      << failures[1].text;
}

TEST_P(AsyncTest, AnotherProtocolEndsTheCalls) {
  ClientOptions options = patience();
  options.framing = Framing::kFramed;
  connectAsync(options);
  int ended = 0;
  std::string answer;
  client->reflect(reflecting(&answer, &ended), "1");
  until([&] { return ended == 1; });
  EXPECT_TRUE(channel->error());
  EXPECT_TRUE(failures.contains(1));
}

TEST_P(AsyncTest, AServerThatDoesNotReadFillsTheQueueAndNothingBlocks) {
  connectAsync();
  int ended = 0;
  std::string answer;
  client->reflect(reflecting(&answer, &ended), "1");
  until([&] { return ended == 1; });
  path->harness().pause(server->id);
  // The rings or sockets take some megabytes of this, the channel 8.
  const std::string sent(1 << 20, 'x');
  int calls = 1;
  while (failures.empty() && calls < 100) {
    client->reflect(reflecting(&answer, &ended), sent);
    ++calls;
    turn();
  }
  ASSERT_FALSE(failures.empty());
  EXPECT_EQ(failures.begin()->second.type, Type::UNKNOWN);
  path->harness().resume(server->id);
  until([&] { return ended == calls; });
  EXPECT_EQ(failures.size(), 1u);
}

// Several channels share a thread.
TEST_P(AsyncTest, ManyChannelsShareOneLoop) {
  constexpr std::size_t kChannels = 8;
  struct One {
    std::shared_ptr<AsyncChannel> channel;
    std::unique_ptr<edu::EduCobClient> client;
    std::unique_ptr<Reflections> calls;
  };
  auto protocols = protocolFactory(Protocol::kBinary, {});
  std::vector<One> all(kChannels);
  connectAsync();
  for (One& one : all) {
    one.channel = openAsyncChannel(loop(), uri(), patience());
    one.client =
        std::make_unique<edu::EduCobClient>(one.channel, protocols.get());
    one.calls = std::make_unique<Reflections>(
        *one.client, settings().scaled(2'000, 200), 1'000);
  }
  for (One& one : all) until([&] { return one.calls->over(); });
}

}  // namespace
}  // namespace lanecall::test
