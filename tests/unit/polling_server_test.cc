// SPDX-License-Identifier: Apache-2.0
//
// The polling server: many channels, few threads, and clients and devices that
// misbehave.
#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/after_answer.h>
#include <lanecall/handler_wait.h>
#include <lanecall/open.h>
#include <lanecall/polling_server.h>
#include <lanecall/ring_transport.h>
#include <poll.h>
#include <pthread.h>
#include <spdlog/logger.h>
#include <sys/resource.h>
#include <thrift/transport/TBufferTransports.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "card_device.h"
#include "edu_handler.h"
#include "log_lines.h"

namespace lanecall {
namespace {

using apache::thrift::TProcessor;
using apache::thrift::transport::TMemoryBuffer;
using apache::thrift::transport::TTransportException;
using test::CardClient;
using test::CardDevice;
using test::LogLines;

// Far longer than any machine needs: only a bug gets here.
constexpr int kPatienceMs = 10'000;

// echo() and ping() do what the test says.
class ScriptedEdu : public EduHandler {
 public:
  void echo(std::string& result, const std::string& text) override {
    if (onEcho) onEcho();
    result = text;
  }
  void ping() override {
    if (onPing) onPing();
  }
  void note(const std::string&) override { ++notes; }
  std::function<void()> onEcho;
  std::function<void()> onPing;
  std::atomic<int> notes{0};
};

// Something that happens once.
class Event {
 public:
  void raise() {
    std::lock_guard<std::mutex> lock(mutex_);
    raised_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return raised_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool raised_ = false;
};

// While it lives no thread can be made: none has room for such a stack.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_getattr_default_np(&huge);
    ::pthread_attr_setstacksize(&huge, std::size_t{1} << 60);
    ::pthread_setattr_default_np(&huge);
    ::pthread_attr_destroy(&huge);
  }
  ~NoThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

int threads() {
  int count = 0;
  for ([[maybe_unused]] auto& entry :
       std::filesystem::directory_iterator("/proc/self/task"))
    ++count;
  return count;
}

// A client on a channel of its own.
struct Client {
  Client(CardDevice& device, const ServerOptions& options,
         std::uint32_t ringBytes)
      : Client(device.open(ringBytes, ringBytes), device, options) {}
  Client(std::unique_ptr<CardClient> channel, const CardDevice& device,
         const ServerOptions& options)
      : end(*channel),
        id(device.lastId()),
        transport(std::make_shared<RingTransport>(std::move(channel))),
        edu(protocolFactory(options.protocol, options.limits)
                ->getProtocol(transport)) {
    transport->setFraming(options.framing);
  }

  // Bytes that no generated client sends.
  void send(const std::string& bytes) {
    transport->write(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                     bytes.size());
    transport->flush();
  }

  CardClient& end;
  const std::uint64_t id;
  std::shared_ptr<RingTransport> transport;
  edu::EduClient edu;
};

class PollingServerTest : public ::testing::Test {
 protected:
  ~PollingServerTest() override {
    release.raise();
    none.reset();
    stop();
    server.reset();
    // Threads that it has given up still use what is below.
    while (edu.use_count() > 1) std::this_thread::yield();
    std::filesystem::remove_all(folder);
  }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    return ::mkdtemp(pattern.data());
  }

  void start() {
    options.card = {"unix:" + path};
    server = std::make_unique<PollingServer>(
        options,
        [this](const auto&) -> std::shared_ptr<TProcessor> {
          return std::make_shared<edu::EduProcessor>(handler());
        },
        std::make_shared<spdlog::logger>("test", log));
    outcome =
        std::async(std::launch::async, [this] { return server->serve(); });
    device = std::make_unique<CardDevice>(path);
    device->greet();
  }

  bool stop() {
    if (!outcome.valid()) return true;
    server->stop();
    return outcome.get();
  }

  std::unique_ptr<Client> open(std::uint32_t ringBytes = 4096) {
    return std::make_unique<Client>(*device, options, ringBytes);
  }

  // Until the server has ended this channel.
  void expectEnd(const Client& client,
                 std::uint32_t error = LANECALL_ERR_NONE) {
    EXPECT_EQ(device->expect(LANECALL_CARD_END, client.id).error, error);
  }

  bool isOverInTime() {
    return outcome.wait_for(std::chrono::milliseconds(kPatienceMs)) ==
           std::future_status::ready;
  }

  // A handler whose destructor waits for `release`.
  std::shared_ptr<edu::EduIf> leavesSlowly() {
    struct Slow : ScriptedEdu {
      ~Slow() override {
        test->running.raise();
        test->release.wait();
      }
      PollingServerTest* test;
      std::shared_ptr<ScriptedEdu> kept;  // until it is gone
    };
    auto slow = std::make_shared<Slow>();
    slow->test = this;
    slow->kept = edu;
    return slow;
  }

  // Calls that do not return, of more channels than there are threads.
  void occupyAllThreads() {
    for (int i = 0; i < 8; ++i) busy.push_back(open());
    for (auto& client : busy) client->edu.ping();
    blockEcho();
    none.emplace();
    for (auto& client : busy) client->edu.send_echo("long");
    log->await("event=no_thread");
  }

  void blockEcho() {
    edu->onEcho = [this] {
      running.raise();
      release.wait();
    };
  }

  const std::string folder = makeFolder();
  const std::string path = folder + "/card";
  ServerOptions options;
  std::shared_ptr<ScriptedEdu> edu = std::make_shared<ScriptedEdu>();
  // A connection's handler; called by the server.
  std::function<std::shared_ptr<edu::EduIf>()> handler = [this] { return edu; };
  std::shared_ptr<LogLines> log = std::make_shared<LogLines>();
  std::unique_ptr<PollingServer> server;
  std::future<bool> outcome;
  std::unique_ptr<CardDevice> device;
  std::vector<std::unique_ptr<Client>> busy;
  std::optional<NoThreads> none;
  Event running;
  Event release;
};

TEST_F(PollingServerTest, ServesCallsOfAnySize) {
  start();
  auto client = open();
  for (std::size_t size : {0, 1, 4000, 5000, 100'000, 3'000'000}) {
    const std::string sent(size, 'x');
    std::string answer;
    client->edu.reflect(answer, sent);
    ASSERT_TRUE(answer == sent) << size;
  }
}

TEST_F(PollingServerTest, ServesFramesAndTheOtherProtocol) {
  options.framing = Framing::kFramed;
  options.protocol = Protocol::kCompact;
  start();
  auto client = open();
  const std::string sent(100'000, 'x');
  std::string answer;
  client->edu.reflect(answer, sent);
  EXPECT_TRUE(answer == sent);
}

TEST_F(PollingServerTest, ServesWithEverySpin) {
  for (const Spin& spin : {Spin::never(), Spin::always(),
                           Spin::fixed(std::chrono::microseconds(10))}) {
    options.spin = spin;
    start();
    auto client = open();
    for (int i = 0; i < 100; ++i) client->edu.ping();
    EXPECT_TRUE(stop()) << name(spin);
  }
}

TEST_F(PollingServerTest, ACallThatWasServedIsGivenBack) {
  options.spin = Spin::always();
  start();
  auto client = open();
  client->edu.ping();
  lanecall_ring& sent = client->end.outgoing().core;
  while (lanecall_ring_arm_space(&sent, sent.size) < sent.size)
    ASSERT_GT(client->end.poll(POLLOUT, kPatienceMs), 0) << "not given back";
  EXPECT_EQ(lanecall_get32(&client->end.words().tx_consumer.tail),
            lanecall_get32(&client->end.words().tx_producer.head));
}

TEST_F(PollingServerTest, ManyChannelsDoNotNeedManyThreads) {
  start();
  const int before = threads();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(open());
  for (int round = 0; round < 3; ++round)
    for (auto& client : clients) client->edu.ping();
  // Not one or two: on a machine that is busy a call may look long, and get a
  // thread.
  EXPECT_LT(threads() - before, 32);
}

TEST_F(PollingServerTest, SaysWhoIsConnected) {
  start();
  open()->edu.ping();
  EXPECT_EQ(log->count("event=connected"), 1);
  EXPECT_EQ(log->count(" at=card:unix:" + path + " from=card:edu0:0"), 1);
  EXPECT_EQ(server->addresses().at(0), "card:unix:" + path);
}

TEST_F(PollingServerTest, ADrainedChannelIsServedToItsEnd) {
  start();
  auto client = open();
  for (int i = 0; i < 50; ++i) client->edu.note("read this");
  device->send(LANECALL_CARD_DRAIN, client->id);
  device->expect(LANECALL_CARD_RELEASED, client->id);
  EXPECT_EQ(edu->notes, 50);
  EXPECT_EQ(log->count("event=closed"), 1);
}

TEST_F(PollingServerTest, AChannelWithoutClientIsForgotten) {
  start();
  auto gone = open();
  gone->edu.ping();
  device->send(LANECALL_CARD_CLOSE, gone->id);
  auto client = open();
  client->edu.ping();
  EXPECT_TRUE(stop());
  EXPECT_EQ(log->count("event=stopping connections=1"), 1);
}

// ---- Calls that take long

TEST_F(PollingServerTest, ACallThatTakesLongDoesNotStopTheOthers) {
  blockEcho();
  start();
  auto slow = open();
  auto quick = open();
  slow->edu.send_echo("slow");
  running.wait();
  for (int i = 0; i < 10; ++i) quick->edu.ping();
  open()->edu.ping();  // nor those to come
  release.raise();
  std::string answer;
  slow->edu.recv_echo(answer);
  EXPECT_EQ(answer, "slow");
  slow->edu.ping();
}

TEST_F(PollingServerTest, AHandlerThatTakesLongToGoDoesNotStopTheOthers) {
  auto leaving = leavesSlowly();
  handler = [&]() -> std::shared_ptr<edu::EduIf> {
    if (leaving) return std::move(leaving);
    return edu;
  };
  start();
  auto slow = open();
  slow->edu.ping();
  auto quick = open();
  quick->transport->setRecvTimeout(kPatienceMs);
  quick->edu.ping();
  device->send(LANECALL_CARD_CLOSE, slow->id);
  running.wait();
  for (int i = 0; i < 10; ++i) quick->edu.ping();
}

TEST_F(PollingServerTest, AMakerThatTakesLongDoesNotStopTheOthers) {
  bool isSlow = false;
  handler = [&]() -> std::shared_ptr<edu::EduIf> {
    if (!isSlow) return edu;
    running.raise();
    release.wait();
    return edu;
  };
  start();
  auto quick = open();
  quick->transport->setRecvTimeout(kPatienceMs);
  quick->edu.ping();
  isSlow = true;
  auto slow = open();
  running.wait();
  for (int i = 0; i < 10; ++i) quick->edu.ping();
  release.raise();
  slow->edu.ping();
}

TEST_F(PollingServerTest, TheLeadIsTakenOnceAThreadCanBeMade) {
  start();
  auto quick = open();
  quick->transport->setRecvTimeout(kPatienceMs);
  quick->edu.ping();
  occupyAllThreads();
  quick->edu.send_ping();
  none.reset();
  quick->edu.recv_ping();
  EXPECT_EQ(log->count("event=no_thread"), 1);
}

TEST_F(PollingServerTest, AsManyLongCallsAsChannels) {
  blockEcho();
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(open());
    clients.back()->edu.send_echo("slow");
  }
  open()->edu.ping();
  release.raise();
  for (auto& client : clients) {
    std::string answer;
    client->edu.recv_echo(answer);
    EXPECT_EQ(answer, "slow");
  }
}

// The watch finds a call that takes long after 3 ms at the earliest.
TEST_F(PollingServerTest, AHandlerThatSaysThatItWaitsDelaysNobody) {
  using std::chrono::steady_clock;
  steady_clock::time_point begun;
  std::atomic<bool> isWaiting{false};
  auto best = steady_clock::duration::max();
  edu->onEcho = [&] {
    begun = steady_clock::now();
    aboutToWait();
    isWaiting = true;
    while (isWaiting) std::this_thread::yield();
  };
  edu->onPing = [&] { best = std::min(best, steady_clock::now() - begun); };
  start();
  auto slow = open();
  auto quick = open();
  // Once without a pause of the machine in between is enough.
  for (int i = 0; i < 1000 && best > std::chrono::milliseconds(2); ++i) {
    slow->edu.send_echo("slow");
    while (!isWaiting) std::this_thread::yield();
    quick->edu.ping();
    isWaiting = false;
    std::string answer;
    slow->edu.recv_echo(answer);
  }
  EXPECT_LT(best, std::chrono::milliseconds(2));
}

TEST_F(PollingServerTest, TheAnswerDoesNotWaitForWorkAfterIt) {
  edu->onPing = [this] { afterAnswer([this] { release.wait(); }); };
  start();
  auto client = open();
  client->edu.ping();
  client->edu.send_echo("next");
  release.raise();
  std::string answer;
  client->edu.recv_echo(answer);
  EXPECT_EQ(answer, "next");
}

TEST_F(PollingServerTest, WorkThatThrowsEndsTheConnection) {
  edu->onPing = [] {
    afterAnswer([] { throw std::runtime_error("it cannot begin"); });
  };
  start();
  auto client = open();
  client->edu.ping();
  expectEnd(*client);
  std::string answer;
  open()->edu.echo(answer, "another");
  EXPECT_EQ(answer, "another");
}

TEST_F(PollingServerTest, AMessageThatStallsDoesNotStopTheOthers) {
  start();
  auto slow = open();
  auto quick = open();
  const std::string begun("\x80\x01\x00\x01\x00\x00\x00\x04ping", 12);
  slow->send(begun);
  for (int i = 0; i < 10; ++i) quick->edu.ping();
  // The rest, and the message is as good as any.
  slow->send(std::string("\x00\x00\x00\x00\x00", 5));
  slow->edu.recv_ping();
  quick->edu.ping();
}

TEST_F(PollingServerTest, AnAnswerThatIsNotTakenDoesNotStopTheOthers) {
  start();
  auto slow = open();
  auto quick = open();
  const std::string sent(100'000, 'x');
  std::thread sender([&] { slow->edu.send_reflect(sent); });
  for (int i = 0; i < 10; ++i) quick->edu.ping();
  sender.join();
  for (int i = 0; i < 10; ++i) quick->edu.ping();
  std::string answer;
  slow->edu.recv_reflect(answer);
  EXPECT_TRUE(answer == sent);
}

TEST_F(PollingServerTest, SeveralCallsRunAtTheSameTime) {
  options.cardThreads = 2;
  start();
  auto a = open();
  auto b = open();
  for (int i = 0; i < 200; ++i) {
    a->edu.send_ping();
    b->edu.send_ping();
    a->edu.recv_ping();
    b->edu.recv_ping();
  }
}

// ---- Limits

TEST_F(PollingServerTest, AMessageThatStallsForTooLongIsCutOff) {
  options.messageTimeoutMs = 50;
  start();
  auto slow = open();
  slow->send("\x80");
  expectEnd(*slow);
  open()->edu.ping();
}

TEST_F(PollingServerTest, AnAnswerThatIsNotTakenForTooLongIsCutOff) {
  options.sendTimeoutMs = 50;
  start();
  auto slow = open();
  auto quick = open();
  slow->edu.send_reflect(std::string(100'000, 'x'));
  expectEnd(*slow);
  quick->edu.ping();
}

TEST_F(PollingServerTest, ForeignBytesEndOnlyTheirChannel) {
  start();
  auto good = open();
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(1000, '\xff'),
        std::string("\x7e\xee\x10\xf5\x95", 5)}) {
    auto hostile = open();
    hostile->send(bytes);
    expectEnd(*hostile);
    good->edu.ping();
  }
}

TEST_F(PollingServerTest, AnImpossibleIndexEndsOnlyItsChannel) {
  start();
  auto good = open();
  auto hostile = open();
  hostile->edu.ping();
  lanecall_put32(&hostile->end.words().tx_producer.head, 0x40000000);
  hostile->end.notify();
  expectEnd(*hostile, LANECALL_ERR_PROTOCOL);
  good->edu.ping();
  EXPECT_TRUE(stop());
  EXPECT_EQ(log->count("read: Protocol error"), 1);
}

TEST_F(PollingServerTest, AnImpossibleIndexOfTheAnswerEndsOnlyItsChannel) {
  start();
  auto good = open();
  auto hostile = open();
  lanecall_put32(&hostile->end.words().rx_consumer.tail, 0x40000000);
  hostile->edu.send_ping();
  expectEnd(*hostile, LANECALL_ERR_PROTOCOL);
  good->edu.ping();
}

TEST_F(PollingServerTest, LosingADeviceInACallLeavesTheOthers) {
  blockEcho();
  start();
  auto lost = open();
  lost->edu.send_echo("slow");
  running.wait();
  device->connect(path);  // the old session is gone
  device->greet();
  auto client = open();
  client->edu.ping();
  release.raise();
  client->edu.ping();
  EXPECT_TRUE(stop());
  EXPECT_EQ(log->count("event=connected"), 2);
}

TEST_F(PollingServerTest, AChannelCountsUntilItsCallIsDone) {
  options.maxConnections = 1;
  blockEcho();
  start();
  auto busy = open();
  busy->edu.send_echo("long");
  running.wait();
  device->send(LANECALL_CARD_CLOSE, busy->id);
  for (int i = 0; i < 3; ++i) device->offerDeclined(LANECALL_ERR_RESOURCES);
  EXPECT_EQ(log->count("event=full"), 1);
  release.raise();
  while (!device->tryOffer()) {
  }
  Client next(device->start(device->lastId()), *device, options);
  next.edu.ping();
}

TEST_F(PollingServerTest, AMakerThatFailsEndsItsChannelOnly) {
  bool fails = true;
  handler = [&]() -> std::shared_ptr<edu::EduIf> {
    if (fails) throw std::runtime_error("no handler");
    return edu;
  };
  start();
  auto failed = open();
  expectEnd(*failed);
  fails = false;
  open()->edu.ping();
  EXPECT_EQ(log->count("no handler"), 1);
}

// ---- Fairness

// A ping as it goes over the wire.
std::string pingBytes(const ServerOptions& options) {
  auto memory = std::make_shared<TMemoryBuffer>();
  edu::EduClient client(
      protocolFactory(options.protocol, options.limits)->getProtocol(memory));
  client.send_ping();
  return memory->getBufferAsString();
}

TEST_F(PollingServerTest, BusyChannelsAreServedInTurn) {
  constexpr int kChannels = 64;
  constexpr int kPings = 500;
  struct Counting : ScriptedEdu {
    int served = 0;
  };
  std::vector<std::shared_ptr<Counting>> handlers;
  bool counting = false;
  int total = 0;
  std::vector<int> window;
  // Counts until the window is full; one thread calls handlers, or several one
  // after the other.
  std::mutex mutex;
  Event full;
  handler = [&]() -> std::shared_ptr<edu::EduIf> {
    auto counted = std::make_shared<Counting>();
    counted->onPing = [&, c = counted.get()] {
      std::lock_guard<std::mutex> lock(mutex);
      if (!counting) return;
      ++c->served;
      if (++total < kChannels * kPings / 5) return;
      counting = false;
      for (auto& each : handlers) window.push_back(each->served);
      full.raise();
    };
    handlers.push_back(counted);
    return counted;
  };
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kChannels; ++i) {
    clients.push_back(open(16384));
    clients.back()->edu.ping();  // so that its handler is there
  }
  const std::string ping = pingBytes(options);
  ASSERT_LE(ping.size() * kPings, 16384u);
  std::string pings;
  for (int i = 0; i < kPings; ++i) pings += ping;

  // All of them at once: while the server is in a call.
  auto gate = open();
  gate->edu.ping();
  handlers.back()->onEcho = [&] {
    for (auto& client : clients) client->send(pings);
    std::lock_guard<std::mutex> lock(mutex);
    counting = true;
  };
  std::string answer;
  gate->edu.echo(answer, "go");
  full.wait();
  stop();             // its handlers use what ends with this function
  window.pop_back();  // the gate's
  const int mean = kPings / 5;
  EXPECT_GE(*std::min_element(window.begin(), window.end()), mean / 3);
  EXPECT_LE(*std::max_element(window.begin(), window.end()), 3 * mean);
}

// ---- Idle channels

TEST_F(PollingServerTest, IdleChannelsAreEndedAndCostNoCpuUntilThen) {
  options.idleTimeoutMs = 1500;
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(open());
  for (auto& client : clients) client->edu.ping();

  auto cpu = [] {
    rusage used;
    ::getrusage(RUSAGE_SELF, &used);
    auto seconds = [](const timeval& t) { return t.tv_sec + 1e-6 * t.tv_usec; };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
  };
  const auto began = std::chrono::steady_clock::now();
  const double before = cpu();
  for (int i = 0; i < 64; ++i) {
    auto frame = device->receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->type, unsigned{LANECALL_CARD_END});
  }
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - began;
  // A thread that spins would use all of it.
  EXPECT_LT(cpu() - before, took.count() / 4);
  EXPECT_EQ(log->count("idle for too long"), 64);
}

TEST_F(PollingServerTest, AChannelInUseIsNotIdle) {
  using Clock = std::chrono::steady_clock;
  options.idleTimeoutMs = 300;
  start();
  auto idle = open();
  auto used = open();
  // The idle one's end is the event; until then the other goes on.
  auto ended = std::async(std::launch::async, [&] { expectEnd(*idle); });
  Clock::duration longest{};
  bool served = true;
  for (auto last = Clock::now(); served;) {
    try {
      used->edu.ping();
    } catch (const TTransportException&) {
      served = false;
    }
    longest = std::max(longest, Clock::now() - last);
    last = Clock::now();
    if (ended.wait_for(std::chrono::milliseconds(1)) ==
        std::future_status::ready)
      break;
  }
  // Unless this machine stood still for as long.
  if (longest < std::chrono::milliseconds(options.idleTimeoutMs / 2)) {
    EXPECT_TRUE(served);
  }
}

// ---- Stopping

TEST_F(PollingServerTest, StopAnswersACallThatRunsAndEndsIdleChannels) {
  options.stopTimeoutMs = 0;  // however slow the machine
  blockEcho();
  start();
  auto idle = open();
  auto busy = open();
  busy->edu.send_echo("in time");
  running.wait();
  server->stop();
  expectEnd(*idle);
  release.raise();
  std::string answer;
  busy->edu.recv_echo(answer);
  EXPECT_EQ(answer, "in time");
  expectEnd(*busy);
  EXPECT_TRUE(outcome.get());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(PollingServerTest, StopIsBoundedWhenACallDoesNotEnd) {
  options.stopTimeoutMs = 20;
  blockEcho();
  start();
  auto busy = open();
  busy->edu.send_echo("too late");
  running.wait();
  EXPECT_FALSE(stop());
  EXPECT_EQ(log->count("event=cut"), 1);
  release.raise();
}

TEST_F(PollingServerTest, StopIsBoundedWhenAHandlerDoesNotGo) {
  options.stopTimeoutMs = 20;
  auto leaving = leavesSlowly();
  handler = [&] { return std::move(leaving); };
  start();
  auto slow = open();
  slow->edu.ping();
  server->stop();
  ASSERT_TRUE(isOverInTime());
  EXPECT_FALSE(outcome.get());
}

TEST_F(PollingServerTest, StopIsBoundedWhenAnIdleHandlerDoesNotGo) {
  options.stopTimeoutMs = 20;
  options.idleTimeoutMs = 20;
  auto leaving = leavesSlowly();
  handler = [&] { return std::move(leaving); };
  start();
  auto slow = open();
  expectEnd(*slow);
  running.wait();
  server->stop();
  ASSERT_TRUE(isOverInTime());
  EXPECT_FALSE(outcome.get());
  EXPECT_EQ(log->count("idle for too long"), 1);
}

TEST_F(PollingServerTest, StopIsBoundedWhenNoThreadCanBeMade) {
  options.stopTimeoutMs = 20;
  start();
  occupyAllThreads();
  server->stop();
  ASSERT_TRUE(isOverInTime());
  EXPECT_FALSE(outcome.get());
  EXPECT_EQ(log->count("event=cut"), 1);
}

TEST_F(PollingServerTest, ServeSaysThatNoThreadCanBeMade) {
  options.card = {"unix:" + path};
  PollingServer alone(
      options, [](const auto&) { return nullptr; },
      std::make_shared<spdlog::logger>("test"));
  NoThreads none;
  EXPECT_THROW(alone.serve(), std::system_error);
}

TEST_F(PollingServerTest, StopCutsAMessageThatStalls) {
  options.stopTimeoutMs = 20;
  start();
  auto slow = open();
  slow->send("\x80");
  open()->edu.ping();  // so that the server is in the message
  EXPECT_TRUE(stop());
}

TEST_F(PollingServerTest, ANewServerTakesThePlaceOfTheOld) {
  start();
  open()->edu.ping();
  EXPECT_TRUE(stop());
  server.reset();
  start();
  open()->edu.ping();
}

}  // namespace
}  // namespace lanecall
