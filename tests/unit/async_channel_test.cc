// SPDX-License-Identifier: Apache-2.0
//
// AsyncChannel over sockets and over rings, framed and not, with the test as
// the far end: order, deadlines, cancellation, back-pressure, every end, and
// callbacks that do what they like. Every call must end exactly once.
#include <event2/event.h>
#include <gtest/gtest.h>
#include <lanecall/async_channel.h>
#include <poll.h>
#include <thrift/Thrift.h>
#include <thrift/protocol/TProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "async_far.h"

namespace lanecall::test {
namespace {

using apache::thrift::protocol::TMessageType;
using apache::thrift::protocol::TType;
using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransportException;
using Type = AsyncError::Type;

// Far longer than any machine needs: only a bug gets here.
constexpr auto kPatience = std::chrono::seconds(20);

// Another event of the loop, which is always ready.
class Rival {
 public:
  Rival(event_base* loop, std::function<void()> run)
      : run_(std::move(run)), event_(event_new(loop, -1, 0, onEvent, this)) {
    event_add(event_, &kNow);
  }
  ~Rival() { event_free(event_); }

 private:
  static constexpr timeval kNow = {0, 0};

  static void onEvent(int, short, void* self) {
    auto* rival = static_cast<Rival*>(self);
    rival->run_();
    event_add(rival->event_, &kNow);
  }

  const std::function<void()> run_;
  event* const event_;
};

using Parameters = std::tuple<AsyncFar::Kind, Framing, Protocol>;

class AsyncChannelTest : public ::testing::TestWithParam<Parameters> {
 protected:
  // What became of a call.
  struct Outcome {
    int ends = 0;
    std::string reply;
    AsyncError error;  // of call 0: it succeeded
  };

  AsyncChannelTest()
      : loop(event_base_new(), event_base_free),
        far(AsyncFar::make(std::get<0>(GetParam()))) {
    options.framing = std::get<1>(GetParam());
    options.protocol = std::get<2>(GetParam());
    options.spin = Spin::never();
    GlobalOutputTo(&printed);
  }
  ~AsyncChannelTest() override {
    channel.reset();
    apache::thrift::GlobalOutput.setOutputFunction(
        apache::thrift::TOutput::errorTimeWrapper);
    for (std::size_t i = 0; i < outcomes.size(); ++i)
      EXPECT_EQ(outcomes[i].ends, 1) << "call " << i + 1;
  }

  static void GlobalOutputTo(std::string* text) {
    static std::string* to;
    to = text;
    apache::thrift::GlobalOutput.setOutputFunction(
        [](const char* line) { *to += line; });
  }

  static bool isRings() { return std::get<0>(GetParam()) == AsyncFar::kRings; }

  void make() {
    channel = std::make_shared<AsyncChannel>(
        loop.get(), far->near(), [this] { return far->descriptor(); }, options);
  }
  void connect() {
    make();
    channel->open();
    far->take();  // asks to be told
    turn();
    ASSERT_TRUE(channel->good());
  }

  // ---- Bytes on the wire ---------------------------------------------------
  std::string message(TMessageType type, const std::string& text) const {
    auto buffer = std::make_shared<TMemoryBuffer>();
    auto to = protocolFactory(options.protocol, {})->getProtocol(buffer);
    to->writeMessageBegin("say", type, 0);
    to->writeStructBegin("s");
    to->writeFieldBegin("f", TType::T_STRING, 1);
    to->writeString(text);
    to->writeFieldEnd();
    to->writeFieldStop();
    to->writeStructEnd();
    to->writeMessageEnd();
    return buffer->getBufferAsString();
  }
  std::string request(const std::string& text) const {
    return message(TMessageType::T_CALL, text);
  }
  std::string reply(const std::string& text) const {
    return message(TMessageType::T_REPLY, text);
  }
  std::string framed(const std::string& bytes) const {
    if (options.framing == Framing::kBuffered) return bytes;
    const auto size = static_cast<std::uint32_t>(bytes.size());
    std::string frame;
    for (int shift = 24; shift >= 0; shift -= 8)
      frame += static_cast<char>(size >> shift);
    return frame + bytes;
  }

  // ---- Calls ---------------------------------------------------------------
  // All calls share two buffers, as a generated client's do. Returns the place
  // in outcomes.
  std::size_t call(const std::string& text,
                   std::function<void()> then = nullptr) {
    return issue(
        [&](const auto& cob) {
          fill(request(text));
          channel->sendAndRecvMessage(cob, &out, &in);
          fill("overwritten at once");
        },
        std::move(then), true);
  }
  std::size_t tell(const std::string& text) {
    return issue(
        [&](const auto& cob) {
          fill(request(text));
          channel->sendMessage(cob, &out);
        },
        nullptr, false);
  }

  template <typename Issue>
  std::size_t issue(Issue issue, std::function<void()> then, bool replies) {
    const std::size_t at = outcomes.size();
    outcomes.emplace_back();
    const std::uint64_t id = firstId + at;
    issue([this, at, id, replies, then = std::move(then)] {
      Outcome& outcome = outcomes[at];
      ++outcome.ends;
      if (replies) outcome.reply = in.getBufferAsString();
      if (channel_->lastError().call == id)
        outcome.error = channel_->lastError();
      if (replies) {
        EXPECT_EQ(outcome.error.call != 0, outcome.reply.empty());
      }
      order.push_back(at);
      if (then) then();
    });
    channel_ = channel.get();
    EXPECT_EQ(channel->lastCall(), id);
    return at;
  }

  void fill(const std::string& bytes) {
    out.resetBuffer();
    out.write(reinterpret_cast<const std::uint8_t*>(bytes.data()),
              static_cast<std::uint32_t>(bytes.size()));
  }

  // ---- Turns of the loop ---------------------------------------------------
  void turn() { event_base_loop(loop.get(), EVLOOP_NONBLOCK); }

  // What is there to be done without another side.
  void settle() {
    for (int i = 0; i < 10; ++i) turn();
  }

  // Turns, asleep in between, until it is so.
  void until(const std::function<bool()>& done) {
    const timeval patience = {kPatience.count(), 0};
    bool late = false;
    event* alarm = event_new(
        loop.get(), -1, 0,
        [](int, short, void* late) { *static_cast<bool*>(late) = 1; }, &late);
    event_add(alarm, &patience);
    while (!done() && !late) event_base_loop(loop.get(), EVLOOP_ONCE);
    event_free(alarm);
    EXPECT_FALSE(late) << "it never came about";
  }
  void untilEnded(std::size_t at) {
    until([this, at] { return outcomes[at].ends > 0; });
  }

  void put(std::string bytes) {
    while (!bytes.empty()) {
      const std::size_t before = bytes.size();
      far->put(&bytes);
      if (!bytes.empty()) turn();
      if (bytes.size() == before && !channel->good()) return;
    }
  }
  void answer(const std::string& text) { put(framed(reply(text))); }

  void expectFailed(std::size_t at, Type type, const std::string& why) {
    const Outcome& outcome = outcomes[at];
    EXPECT_EQ(outcome.ends, 1);
    EXPECT_EQ(outcome.reply, "");
    ASSERT_NE(outcome.error.call, 0u) << "it succeeded";
    EXPECT_EQ(outcome.error.type, type) << outcome.error.text;
    const std::string which = "call " + std::to_string(firstId + at) + " (say)";
    EXPECT_TRUE(outcome.error.text.starts_with(which)) << outcome.error.text;
    EXPECT_NE(outcome.error.text.find(why), std::string::npos)
        << outcome.error.text;
    EXPECT_EQ(outcome.error.text.find('\n'), std::string::npos);
  }
  void expectReplied(std::size_t at, const std::string& text) {
    EXPECT_EQ(outcomes[at].ends, 1);
    EXPECT_EQ(outcomes[at].reply, reply(text));
  }

  std::unique_ptr<event_base, void (*)(event_base*)> loop;
  std::string printed;
  std::unique_ptr<AsyncFar> far;
  ClientOptions options;
  TMemoryBuffer out, in;
  std::shared_ptr<AsyncChannel> channel;
  AsyncChannel* channel_ = nullptr;  // in callbacks of its destructor, too
  std::uint64_t firstId = 1;
  std::deque<Outcome> outcomes;
  std::vector<std::size_t> order;  // in which calls ended
};

std::string parametersName(const ::testing::TestParamInfo<Parameters>& info) {
  const auto [kind, framing, protocol] = info.param;
  return std::string(kind == AsyncFar::kRings ? "rings_" : "socket_") +
         name(framing) + "_" + name(protocol);
}
INSTANTIATE_TEST_SUITE_P(
    Over, AsyncChannelTest,
    ::testing::Values(
        Parameters{AsyncFar::kSocket, Framing::kBuffered, Protocol::kBinary},
        Parameters{AsyncFar::kSocket, Framing::kFramed, Protocol::kBinary},
        Parameters{AsyncFar::kRings, Framing::kBuffered, Protocol::kBinary},
        Parameters{AsyncFar::kRings, Framing::kBuffered, Protocol::kCompact},
        Parameters{AsyncFar::kRings, Framing::kFramed, Protocol::kBinary}),
    parametersName);

// ---- Calls and replies -----------------------------------------------------

TEST_P(AsyncChannelTest, RepliesComeInTheOrderOfCalls) {
  connect();
  std::string asked, answered;
  for (int i = 0; i < 64; ++i) {
    call("question " + std::to_string(i));
    asked += framed(request("question " + std::to_string(i)));
    answered += framed(reply("answer " + std::to_string(i)));
  }
  EXPECT_EQ(channel->outstanding(), 64u);
  std::string came;
  until([&] { return (came += far->take()).size() >= asked.size(); });
  EXPECT_EQ(came, asked) << "requests are copied when they are issued";
  EXPECT_TRUE(order.empty());
  put(answered);
  untilEnded(63);
  for (std::size_t i = 0; i < 64; ++i) {
    expectReplied(i, "answer " + std::to_string(i));
    EXPECT_EQ(order[i], i);
  }
  EXPECT_EQ(channel->outstanding(), 0u);
  EXPECT_EQ(channel->lastError().call, 0u);
  EXPECT_FALSE(channel->error());
}

TEST_P(AsyncChannelTest, CallsOfOneTurnAreSentTogether) {
  connect();
  const int before = far->told();
  std::string asked;
  for (int i = 0; i < 10; ++i) {
    call("q");
    asked += framed(request("q"));
  }
  EXPECT_EQ(far->take(), "") << "nothing leaves before the turn ends";
  turn();
  EXPECT_EQ(far->take(), asked);
  if (isRings()) {
    EXPECT_EQ(far->told(), before + 1);
  }
}

TEST_P(AsyncChannelTest, CountsWhatItDoes) {
  connect();
  const auto ask = [&] {
    const std::size_t at = call("q");
    call("q");
    settle();
    far->take();
    put(framed(reply("a")) + framed(reply("a")));
    untilEnded(at + 1);
  };
  ask();
  const Counters before = channel->counters();
  ask();
  const Counters after = channel->counters();
  EXPECT_EQ(after.sent.flushes, before.sent.flushes + 1);
  EXPECT_EQ(after.sent.bytes, 2 * before.sent.bytes);
  EXPECT_EQ(before.sent.bytes, 2 * framed(request("q")).size());
  EXPECT_EQ(before.received.bytes, 2 * framed(reply("a")).size());
  EXPECT_EQ(after.sent.doorbells - before.sent.doorbells, isRings());
  EXPECT_GT(after.received.sleeps, before.received.sleeps);
  EXPECT_EQ(after.received.spins, 0u);
}

TEST_P(AsyncChannelTest, CallsOfCallbacksAreSentTogether) {
  connect();
  const std::size_t first = call("first");
  settle();
  answer("first");  // a ring's first release is always told of
  untilEnded(first);
  for (int i = 0; i < 10; ++i) call("q", [this] { call("again"); });
  turn();
  far->take();
  const int before = far->told();
  std::string answered, asked;
  for (int i = 0; i < 10; ++i) {
    answered += framed(reply("a"));
    asked += framed(request("again"));
  }
  put(answered);
  turn();
  EXPECT_EQ(far->take(), asked);
  if (isRings()) {
    EXPECT_EQ(far->told(), before + 1);
  }
}

TEST_P(AsyncChannelTest, ARepliesBytesMayComeOneByOne) {
  connect();
  call("one");
  call("two");
  settle();
  const std::string answered =
      framed(reply("first")) + framed(reply(std::string(300, 'x')));
  for (const char byte : answered) {
    EXPECT_EQ(outcomes[1].ends, 0);
    put(std::string(1, byte));
    settle();
  }
  expectReplied(0, "first");
  expectReplied(1, std::string(300, 'x'));
}

TEST_P(AsyncChannelTest, MessagesMayBeFarLargerThanTheRing) {
  connect();
  const std::string text(3'000'000, 'y');
  const std::size_t big = call(text);
  const std::size_t small = call("small");
  const std::string asked = framed(request(text)) + framed(request("small"));
  std::string came;
  until([&] { return (came += far->take()).size() >= asked.size(); });
  EXPECT_TRUE(came == asked);
  put(framed(reply(text + "!")) + framed(reply("s")));
  untilEnded(small);
  EXPECT_TRUE(outcomes[big].reply == reply(text + "!"));
  expectReplied(small, "s");
  EXPECT_LE(in.getBufferSize(), 1u << 20) << "memory of a large reply stays";
}

TEST_P(AsyncChannelTest, AMessageThatIsOnlySentEndsWhenItIsSent) {
  connect();
  const std::size_t note = tell("note");
  const std::size_t asked = call("question");
  untilEnded(note);
  EXPECT_EQ(outcomes[asked].ends, 0);
  EXPECT_EQ(far->take(), framed(request("note")) + framed(request("question")));
  answer("answer");
  untilEnded(asked);
  expectReplied(asked, "answer");
}

TEST_P(AsyncChannelTest, SendingAndReceivingMayBeTwoCalls) {
  connect();
  const std::size_t sent = tell("question");
  const std::size_t received = issue(
      [&](const auto& cob) { channel->recvMessage(cob, &in); }, nullptr, true);
  untilEnded(sent);
  far->take();
  answer("answer");
  untilEnded(received);
  expectReplied(received, "answer");
}

TEST_P(AsyncChannelTest, AReplyThatIsNotWantedAnyMoreIsNobodyElses) {
  make();
  channel->open();
  const std::size_t sent = tell("first");
  const std::size_t received = issue(
      [&](const auto& cob) { channel->recvMessage(cob, &in); }, nullptr, true);
  EXPECT_TRUE(channel->cancel(channel->lastCall()));
  const std::size_t second = call("second");
  far->take();  // asks to be told
  untilEnded(sent);
  EXPECT_EQ(outcomes[received].ends, 1);
  EXPECT_EQ(outcomes[received].error.type, Type::INTERRUPTED);
  std::string came;
  const std::string asked =
      framed(request("first")) + framed(request("second"));
  until([&] { return (came += far->take()).size() >= asked.size(); });
  put(framed(reply("one")) + framed(reply("two")));
  untilEnded(second);
  expectReplied(second, "two");
}

TEST_P(AsyncChannelTest, AReplyBufferOfAnyKindIsFilled) {
  connect();
  std::uint8_t observed[4];
  TMemoryBuffer other(observed, sizeof observed, TMemoryBuffer::OBSERVE);
  bool ended = false;
  fill(request("q"));
  channel->sendAndRecvMessage([&] { ended = true; }, &out, &other);
  settle();
  answer("longer than four bytes");
  until([&] { return ended; });
  EXPECT_EQ(other.getBufferAsString(), reply("longer than four bytes"));
}

// ---- Deadlines and cancellation --------------------------------------------

TEST_P(AsyncChannelTest, ADeadlineEndsOneCallAndItsLateReplyIsDropped) {
  connect();
  channel->setTimeout(5);
  const std::size_t late = call("late");
  channel->setTimeout(0);
  const std::size_t next = call("next");
  settle();
  far->take();
  untilEnded(late);
  expectFailed(late, Type::TIMED_OUT, "within 5 ms");
  EXPECT_TRUE(channel->timedOut());
  EXPECT_TRUE(channel->good());
  answer("too late");
  answer("in time");
  untilEnded(next);
  expectReplied(next, "in time");
}

TEST_P(AsyncChannelTest, DeadlinesComeInAnyOrder) {
  connect();
  const std::size_t far_ = call("1"), near = call("2"), none = call("3");
  EXPECT_TRUE(channel->setDeadline(firstId + far_, 60));
  EXPECT_TRUE(channel->setDeadline(firstId + near, 5));
  untilEnded(far_);
  EXPECT_EQ(order, (std::vector<std::size_t>{near, far_}));
  EXPECT_FALSE(channel->setDeadline(firstId + near, 5)) << "it has ended";
  // And again, after the timer has come.
  EXPECT_TRUE(channel->setDeadline(firstId + none, 5));
  untilEnded(none);
  expectFailed(none, Type::TIMED_OUT, "");
}

TEST_P(AsyncChannelTest, ADeadlineMayBeTakenBack) {
  connect();
  const std::size_t kept = call("1");
  EXPECT_TRUE(channel->setDeadline(firstId, 5));
  EXPECT_TRUE(channel->setDeadline(firstId, 0));
  const std::size_t other = call("2");
  EXPECT_TRUE(channel->setDeadline(firstId + other, 30));
  untilEnded(other);
  EXPECT_EQ(outcomes[kept].ends, 0);
}

TEST_P(AsyncChannelTest, CancellingEndsOneCallAndItsLateReplyIsDropped) {
  connect();
  const std::size_t first = call("1"), second = call("2"), third = call("3");
  settle();
  EXPECT_TRUE(channel->cancel(firstId + second));
  EXPECT_FALSE(channel->cancel(firstId + second)) << "it has ended";
  EXPECT_EQ(outcomes[second].ends, 0) << "callbacks come from the loop";
  untilEnded(second);
  expectFailed(second, Type::INTERRUPTED, "cancelled");
  EXPECT_FALSE(channel->timedOut());
  for (const char* text : {"a", "b", "c"}) answer(text);
  untilEnded(third);
  expectReplied(first, "a");
  expectReplied(third, "c");
  EXPECT_FALSE(channel->cancel(firstId + third));
  EXPECT_FALSE(channel->cancel(0));
  EXPECT_FALSE(channel->cancel(1000));
}

TEST_P(AsyncChannelTest, WhatWasNotSentIsNotSentAfterCancelling) {
  connect();
  // Nobody takes it: the others wait.
  const std::string big(2'000'000, 'b');
  const std::size_t first = call(big);
  settle();
  const std::size_t second = call("2");
  const std::size_t third = tell("3");
  const std::size_t fourth = call("4");
  settle();
  EXPECT_EQ(outcomes[third].ends, 0);
  EXPECT_TRUE(channel->cancel(firstId + second));
  EXPECT_TRUE(channel->cancel(firstId + third));
  EXPECT_TRUE(channel->cancel(firstId + first)) << "of which a part is sent";
  settle();
  expectFailed(second, Type::INTERRUPTED, "cancelled");
  const std::string asked = framed(request(big)) + framed(request("4"));
  std::string came;
  until([&] { return (came += far->take()).size() >= asked.size(); });
  EXPECT_TRUE(came == asked);
  answer("to the first");
  answer("to the fourth");
  untilEnded(fourth);
  expectReplied(fourth, "to the fourth");
  EXPECT_EQ(channel->queuedBytes(), 0u);
}

// ---- Back-pressure ---------------------------------------------------------

TEST_P(AsyncChannelTest, ACallBeyondTheQueueFailsAndNoOther) {
  connect();
  channel->setQueueBytes(100'000);
  const std::string text(10'000, 't');
  std::size_t calls = 0;
  const auto failed = [&] {
    settle();
    return std::count_if(outcomes.begin(), outcomes.end(),
                         [](const Outcome& o) { return o.error.call != 0; });
  };
  do call(text);
  while (failed() == 0 && ++calls < 1000);
  ASSERT_LT(calls, 1000u) << "all are taken";
  expectFailed(calls, Type::UNKNOWN, "setQueueBytes");
  EXPECT_LE(channel->queuedBytes(), 100'000u);
  EXPECT_GT(channel->queuedBytes(), 80'000u);
  std::string came;
  const std::size_t all = calls * framed(request(text)).size();
  until([&] { return (came += far->take()).size() >= all; });
  const std::size_t more = call("there is room again");
  for (std::size_t i = 0; i < calls; ++i) answer(std::to_string(i));
  answer("more");
  untilEnded(more);
  for (std::size_t i = 0; i < calls; ++i) expectReplied(i, std::to_string(i));
}

TEST_P(AsyncChannelTest, OneMessageMayBeLargerThanTheQueue) {
  connect();
  channel->setQueueBytes(10);
  const std::string text(1'000'000, 'b');
  const std::size_t big = call(text);
  std::size_t came = 0;
  until([&] {
    return (came += far->take().size()) >= framed(request(text)).size();
  });
  answer("a");
  untilEnded(big);
  expectReplied(big, "a");
}

TEST_P(AsyncChannelTest, ATurnIsBounded) {
  connect();
  constexpr std::size_t kCalls = 150;  // whose replies a ring holds
  std::string answered;
  for (std::size_t i = 0; i < kCalls; ++i) {
    call("");
    answered += framed(reply(""));
    if (i % 50 == 49) {
      settle();
      far->take();
    }
  }
  settle();
  std::vector<std::size_t> seen;
  Rival rival(loop.get(), [&] { seen.push_back(order.size()); });
  put(answered);
  untilEnded(kCalls - 1);
  for (std::size_t i = 1; i < seen.size(); ++i)
    EXPECT_LE(seen[i] - seen[i - 1], 64u);
}

// ---- Ends ------------------------------------------------------------------

TEST_P(AsyncChannelTest, RepliesBeforeTheEndAreDeliveredAndOtherCallsFail) {
  connect();
  call("1");
  call("2");
  call("3");
  settle();
  far->take();
  std::string some = framed(reply("1")) + framed(reply("2")).substr(0, 7);
  far->put(&some);
  far->end(-ESHUTDOWN);
  untilEnded(2);
  expectReplied(0, "1");
  expectFailed(1, Type::END_OF_FILE, "end of file");
  expectFailed(2, Type::END_OF_FILE, "end of file");
  EXPECT_FALSE(channel->good());
  EXPECT_TRUE(channel->error());
  const std::size_t after = call("4");
  EXPECT_EQ(outcomes[after].ends, 0) << "callbacks come from the loop";
  untilEnded(after);
  expectFailed(after, Type::NOT_OPEN, "end of file");
}

TEST_P(AsyncChannelTest, ABrokenConnectionEndsItsCalls) {
  connect();
  const std::size_t at = call("1");
  settle();
  far->end(-ECONNRESET);
  untilEnded(at);
  expectFailed(at, Type::END_OF_FILE, "Connection reset");
}

TEST_P(AsyncChannelTest, AnIdleChannelNoticesItsEnd) {
  connect();
  far->end(-ESHUTDOWN);
  until([&] { return channel->error(); });
}

TEST_P(AsyncChannelTest, AnEndWhileMuchWaitsToBeSentEndsAll) {
  connect();
  const std::size_t big = call(std::string(3'000'000, 'b'));
  const std::size_t small = call("small");
  const std::size_t note = tell("note");
  settle();
  far->end(-ECONNRESET);
  untilEnded(note);
  expectFailed(big, Type::END_OF_FILE, "");
  expectFailed(small, Type::END_OF_FILE, "");
}

TEST_P(AsyncChannelTest, ClosingEndsAllCallsAtOnce) {
  connect();
  call("1");
  settle();
  call("2");
  channel->cancel(firstId + 1);
  tell("3");
  channel->close();
  EXPECT_EQ(order.size(), 3u) << "in close()";
  expectFailed(0, Type::INTERRUPTED, "was closed");
  expectFailed(1, Type::INTERRUPTED, "cancelled");
  EXPECT_FALSE(channel->good());
  EXPECT_FALSE(channel->error());
  EXPECT_TRUE(far->isClosed());
  const std::size_t after = call("4");
  untilEnded(after);
  expectFailed(after, Type::NOT_OPEN, "open() it");
  EXPECT_EQ(event_base_loop(loop.get(), EVLOOP_NONBLOCK), 1)
      << "a closed channel leaves nothing in the loop";
}

TEST_P(AsyncChannelTest, DestroyingEndsAllCallsAtOnce) {
  connect();
  call("1");
  settle();
  call("2");
  channel.reset();
  expectFailed(0, Type::INTERRUPTED, "was closed");
  expectFailed(1, Type::INTERRUPTED, "was closed");
  EXPECT_EQ(event_base_loop(loop.get(), EVLOOP_NONBLOCK), 1);
}

TEST_P(AsyncChannelTest, CallsWhileItIsBeingClosedAreRefused) {
  connect();
  int refused = 0;
  const auto again = [&] {
    fill(request("again"));
    try {
      channel_->sendAndRecvMessage([] { FAIL(); }, &out, &in);
    } catch (const TTransportException& error) {
      EXPECT_EQ(error.getType(), Type::NOT_OPEN);
      ++refused;
    }
    EXPECT_THROW(channel_->open(), TTransportException);
  };
  call("1", again);
  call("2", again);
  settle();
  channel.reset();
  EXPECT_EQ(refused, 2);
}

// ---- Callbacks -------------------------------------------------------------

TEST_P(AsyncChannelTest, ACallbackMayDestroyTheChannel) {
  connect();
  call("1", [this] { channel.reset(); });
  call("2");
  call("3");
  settle();
  put(framed(reply("1")) + framed(reply("2")));
  untilEnded(2);
  expectReplied(0, "1");
  expectFailed(1, Type::INTERRUPTED, "was closed");
  expectFailed(2, Type::INTERRUPTED, "was closed");
}

TEST_P(AsyncChannelTest, ACallbackOfAFailedCallMayDestroyTheChannel) {
  connect();
  call("1", [this] { channel.reset(); });
  call("2");
  settle();
  far->end(-ECONNRESET);
  untilEnded(1);
}

TEST_P(AsyncChannelTest, ACallbackOfCloseMayDestroyTheChannel) {
  connect();
  call("1", [this] { channel.reset(); });
  call("2");
  channel->close();
  EXPECT_EQ(order.size(), 2u);
}

TEST_P(AsyncChannelTest, ACallbackMayCloseCancelAndCall) {
  connect();
  call("1", [this] {
    EXPECT_TRUE(channel->cancel(firstId + 1));
    call("4", [this] { channel->close(); });
  });
  call("2");
  call("3");
  settle();
  for (const char* text : {"1", "2", "3", "4"}) answer(text);
  until([this] { return outcomes.size() == 4 && outcomes[3].ends; });
  expectReplied(0, "1");
  expectFailed(1, Type::INTERRUPTED, "cancelled");
  expectReplied(2, "3");
  expectReplied(3, "4");
}

TEST_P(AsyncChannelTest, WhatACallbackThrowsIsReportedAndGoesNoFurther) {
  connect();
  call("1", [] { throw std::runtime_error("not caught"); });
  call("2", [] { throw 2; });
  const std::size_t last = call("3");
  settle();
  for (const char* text : {"1", "2", "3"}) answer(text);
  untilEnded(last);
  EXPECT_NE(printed.find("call 1 (say) threw: not caught"), std::string::npos)
      << printed;
  EXPECT_NE(printed.find("call 2 (say) threw"), std::string::npos) << printed;
  EXPECT_EQ(printed.find("had failed"), std::string::npos) << printed;
}

TEST_P(AsyncChannelTest, WhatACallbackThrowsOfAFailureIsReportedWithIt) {
  make();  // and is not opened
  untilEnded(call("1", [] { throw std::runtime_error("No more data"); }));
  for (const char* part : {"threw: No more data", "had failed: call 1 (say)",
                           "the channel is not open; open() it"})
    EXPECT_NE(printed.find(part), std::string::npos) << printed;
}

TEST_P(AsyncChannelTest, CallingAgainWhenACallFailsDoesNotStarveTheLoop) {
  make();  // and is not opened
  int left = 1000;
  std::function<void()> again = [&] {
    if (--left > 0) call("again", again);
  };
  call("first", again);
  int others = 0;
  Rival rival(loop.get(), [&] { ++others; });
  until([&] { return left == 0; });
  EXPECT_GT(others, 900);
}

// ---- What should not come --------------------------------------------------

TEST_P(AsyncChannelTest, GarbageEndsTheConnection) {
  connect();
  const std::size_t at = call("1");
  settle();
  put(std::string(64, '\xff'));
  untilEnded(at);
  expectFailed(at, Type::CORRUPTED_DATA, "--framing");
  EXPECT_TRUE(channel->error());
}

TEST_P(AsyncChannelTest, AMessageOverTheLimitEndsTheConnection) {
  options.limits.messageBytes = 1000;
  connect();
  const std::size_t fits = call("1"), over = call("2");
  settle();
  const std::size_t head = reply("").size();
  // Compact writes a longer length.
  const std::size_t most = options.limits.messageBytes - head - 1;
  answer(std::string(most, 'x'));
  untilEnded(fits);
  expectReplied(fits, std::string(most, 'x'));
  // Not all of it has to come.
  put(framed(reply(std::string(2000, 'x'))).substr(0, 100));
  untilEnded(over);
  expectFailed(over, Type::CORRUPTED_DATA, "1000");
}

TEST_P(AsyncChannelTest, ARequestOverTheLimitFailsAlone) {
  options.limits.messageBytes = 1000;
  connect();
  const std::size_t over = call(std::string(1000, 'x'));
  const std::size_t next = call("2");
  untilEnded(over);
  expectFailed(over, Type::CORRUPTED_DATA, "1000 bytes");
  EXPECT_EQ(far->take(), framed(request("2")));
  answer("2");
  untilEnded(next);
}

TEST_P(AsyncChannelTest, AnEmptyRequestFailsAlone) {
  connect();
  bool ended = false;
  out.resetBuffer();
  channel->sendAndRecvMessage([&] { ended = true; }, &out, &in);
  EXPECT_FALSE(ended);
  until([&] { return ended; });
  EXPECT_EQ(channel->lastError().type, Type::BAD_ARGS);
  EXPECT_TRUE(channel->good());
}

TEST_P(AsyncChannelTest, AMessageThatAnswersNoCallEndsTheConnection) {
  connect();
  answer("to what?");
  until([&] { return channel->error(); });
  const std::size_t after = call("1");
  untilEnded(after);
  expectFailed(after, Type::NOT_OPEN, "answers no call");
}

TEST_P(AsyncChannelTest, AnAnswerBeforeTheQuestionEndsTheConnection) {
  connect();
  const std::size_t at = call(std::string(2'000'000, 'b'));
  settle();
  answer("to what?");
  untilEnded(at);
  expectFailed(at, Type::CORRUPTED_DATA, "answers no call");
}

TEST_P(AsyncChannelTest, AnImpossibleIndexEndsTheConnection) {
  if (!isRings()) return;
  for (bool sending : {false, true}) {
    far = AsyncFar::make(AsyncFar::kRings);
    firstId = 1 - outcomes.size();
    connect();
    const std::size_t at = call(sending ? std::string(9000, 'b') : "1");
    lanecall_index_page& words = *far->words();
    if (sending)
      words.tx_consumer.tail = 0x12345678;
    else
      words.rx_producer.head = 0x12345678;
    far->end(0);  // tells
    untilEnded(at);
    EXPECT_NE(outcomes[at].error.text.find("cannot have reached"),
              std::string::npos)
        << outcomes[at].error.text;
    channel.reset();
  }
}

TEST_P(AsyncChannelTest, BytesOfADeviceThatIsGoneAreNone) {
  if (!isRings()) return;
  connect();
  const std::size_t at = call("1");
  settle();
  std::string bytes = framed(reply("zeros, perhaps"));
  far->put(&bytes);
  far->end(-EIO);
  untilEnded(at);
  expectFailed(at, Type::NOT_OPEN, "the device was reset or removed");
}

// The other side has no business there; and bytes next to it are none.
TEST_P(AsyncChannelTest, ATailThatIsNotOursIsALie) {
  if (!isRings()) return;
  connect();
  const std::size_t at = call("1");
  settle();
  std::string bytes = framed(reply("whatever"));
  far->put(&bytes);
  lanecall_put32(&far->words()->rx_consumer.tail, ~0U);
  untilEnded(at);
  expectFailed(at, Type::END_OF_FILE, "place in a ring");
}

// Nobody says so yet, be it that an answer is awaited or room for a request.
TEST_P(AsyncChannelTest, ALookAtADeviceThatWasPulledOutFindsNoLie) {
  if (!isRings()) return;
  for (const auto& [left, bytes] :
       {std::pair{0xff, 1}, std::pair{0x00, 1}, std::pair{0xff, 9000},
        std::pair{0x00, 9000}}) {
    far = AsyncFar::make(AsyncFar::kRings);
    firstId = 1 - outcomes.size();
    connect();
    const std::size_t first = call("1");
    settle();
    answer("1");
    untilEnded(first);
    const std::size_t at = call(std::string(bytes, 'b'));
    settle();
    far->take();  // so that zeros are behind it
    settle();
    std::memset(far->words(), left, sizeof *far->words());
    far->end(0);  // tells
    untilEnded(at);
    expectFailed(at, Type::NOT_OPEN, "the device was reset or removed");
    channel.reset();
  }
}

// ---- Connecting ------------------------------------------------------------

TEST_P(AsyncChannelTest, CallsMayBeIssuedBeforeItIsConnected) {
  far->nextOpen = -EAGAIN;  // a full queue: tried again
  make();
  channel->open();
  const std::size_t at = call("1");
  const std::size_t note = tell("2");
  EXPECT_TRUE(channel->good());
  far->take();
  untilEnded(note);
  EXPECT_EQ(far->take(), framed(request("1")) + framed(request("2")));
  answer("1");
  untilEnded(at);
  expectReplied(at, "1");
}

TEST_P(AsyncChannelTest, ConnectingGoesOnWhenItsDescriptorSaysSo) {
  if (isRings()) return;  // whose descriptor says nothing of that
  far->nextStatus = -EINPROGRESS;
  make();
  channel->open();
  const std::size_t at = call("1");
  std::string came;
  until([&] { return !(came += far->take()).empty(); });
  answer("1");
  untilEnded(at);
}

TEST_P(AsyncChannelTest, ACallsDeadlineHoldsWhileConnecting) {
  if (!isRings()) return;  // whose descriptor never says that it is connected
  far->nextStatus = -EINPROGRESS;
  make();
  channel->open();
  channel->setTimeout(5);
  const std::size_t at = call("1");
  untilEnded(at);
  expectFailed(at, Type::TIMED_OUT, "within 5 ms");
}

TEST_P(AsyncChannelTest, ConnectingHasADeadline) {
  if (!isRings()) return;
  far->nextStatus = -EINPROGRESS;
  options.connectTimeoutMs = 5;
  make();
  channel->open();
  const std::size_t at = call("1");
  untilEnded(at);
  expectFailed(at, Type::NOT_OPEN, "near: open: Connection timed out");
  EXPECT_TRUE(channel->error());
}

TEST_P(AsyncChannelTest, AConnectionThatCannotBeMadeFailsItsCalls) {
  for (bool later : {false, true}) {
    (later ? far->nextStatus : far->nextOpen) = -ECONNREFUSED;
    firstId = 1 - outcomes.size();
    make();
    channel->open();
    const std::size_t at = call("1");
    const std::size_t note = tell("2");
    untilEnded(note);
    expectFailed(at, Type::NOT_OPEN, "start lanecall-server");
    channel.reset();
    far = AsyncFar::make(std::get<0>(GetParam()));
  }
}

TEST_P(AsyncChannelTest, ItMayBeOpenedAgainAfterConnectingFailed) {
  far->nextOpen = -ECONNREFUSED;
  make();
  channel->open();
  const std::size_t first = call("1");
  untilEnded(first);
  channel->open();
  EXPECT_TRUE(channel->good());
  const std::size_t second = call("2");
  far->take();
  std::string came;
  until([&] { return !(came += far->take()).empty(); });
  answer("2");
  untilEnded(second);
  expectReplied(second, "2");
}

// ---- Spinning --------------------------------------------------------------

TEST_P(AsyncChannelTest, ATurnEndsHoweverLongItMaySpin) {
  options.spin = Spin::always();
  connect();
  const std::size_t at = call("1");
  // Would not return, if it waited for the answer.
  for (int i = 0; i < 5; ++i) event_base_loop(loop.get(), EVLOOP_ONCE);
  EXPECT_EQ(outcomes[at].ends, 0);
  answer("1");
  untilEnded(at);
}

TEST_P(AsyncChannelTest, AdaptiveSpinningComesToRest) {
  options.spin = Spin::adaptive();
  connect();
  for (int i = 0; i < 50; ++i) {
    const std::size_t at = call("1");
    settle();
    far->take();
    answer("1");
    untilEnded(at);
  }
}

// ---- All of it, at random --------------------------------------------------

TEST_P(AsyncChannelTest, EveryCallEndsExactlyOnceWhateverHappens) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](unsigned n) { return random() % n; };
    far = AsyncFar::make(std::get<0>(GetParam()));
    firstId = 1 - outcomes.size();
    const std::size_t first = outcomes.size();
    options.spin = below(2) ? Spin::adaptive() : Spin::never();
    make();
    channel->open();
    channel->setQueueBytes(20'000);
    for (int i = 0; i < 300 && channel; ++i) {
      switch (below(12)) {
        case 0:
          call(std::string(below(3) ? below(200) : below(9000), 'x'));
          break;
        case 1:
        case 2:
          call("c", [&, what = below(6)] {
            if (what == 0 && channel && channel->good()) call("more");
            if (what == 1 && channel)
              channel->cancel(firstId + first + below(outcomes.size()));
          });
          break;
        case 3:
          tell("t");
          break;
        case 4:
          channel->cancel(firstId + first + below(outcomes.size() + 1));
          break;
        case 5:
          channel->setTimeout(static_cast<int>(below(4)));
          break;
        case 6:
        case 7:
          far->take();
          break;
        case 8:
          if (channel->good()) answer("a");
          break;
        case 9:
          if (below(40) == 0) put("garbage");
          if (below(40) == 0) far->end(below(2) ? -ESHUTDOWN : -ECONNRESET);
          break;
        case 10:
          if (below(60) == 0) channel->close();
          break;
        default:
          turn();
      }
    }
    channel.reset();
    for (std::size_t i = first; i < outcomes.size(); ++i)
      ASSERT_EQ(outcomes[i].ends, 1) << "call " << i - first + 1;
  }
}

}  // namespace
}  // namespace lanecall::test
