// SPDX-License-Identifier: Apache-2.0
// The library's TPcieTransport on a device with no kernel in between: calls of
// every size to a Thrift server, and every end with its exception.
#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/buffered.h>
#include <lanecall/limits.h>
#include <lanecall/pcie_transport.h>
#include <lanecall/polling_server.h>
#include <lanecall/server.h>
#include <spdlog/sinks/null_sink.h>
#include <thrift/protocol/TBinaryProtocol.h>

#include <chrono>
#include <future>
#include <thread>

#include "contract.h"
#include "edu_handler.h"
#include "user_node.h"

namespace lanecall::test {
namespace {

using apache::thrift::transport::TTransportException;
using Type = TTransportException::TTransportExceptionType;

constexpr int kSoonMs = 20000;
constexpr int kShortMs = 50;  // for waits that have to run out

// How the node is used, how waits begin, and whether the rings are in card
// memory, with the server at their other end.
struct Use {
  const char* name;
  bool mapped;
  Spin spin;
  bool direct = false;
};
std::ostream& operator<<(std::ostream& to, const Use& use) {
  return to << use.name;
}

const Use kUses[] = {{"read_write", false, Spin::adaptive()},
                     {"mapped", true, Spin::adaptive()},
                     {"mapped_spinning", true, Spin::always()},
                     {"mapped_sleeping", true, Spin::never()},
                     {"direct_read_write", false, Spin::adaptive(), true},
                     {"direct_mapped", true, Spin::adaptive(), true},
                     {"direct_mapped_sleeping", true, Spin::never(), true}};

class Transport : public Contract, public ::testing::WithParamInterface<Use> {
 protected:
  // On a device whose server is the test's own.
  void beginNode(Family family = Family::kUnix, int backlog = 512,
                 ChannelOptions options = {}) {
    begin(GetParam().direct ? Family::kCard : family, {}, backlog);
    node_ = std::make_unique<UserNode>(device(), options);
  }

  std::shared_ptr<TPcieTransport> transport() {
    auto made = GetParam().mapped ? std::make_shared<TPcieTransport>(
                                        node_->rings(), configuration())
                                  : std::make_shared<TPcieTransport>(
                                        node_->channel(), configuration());
    made->setSpin(GetParam().spin);
    made->setConnTimeout(kSoonMs);
    made->setRecvTimeout(kSoonMs);
    made->setSendTimeout(kSoonMs);
    return made;
  }

  static std::shared_ptr<apache::thrift::TConfiguration> configuration() {
    return Limits().configuration();
  }

  template <typename Call>
  void throws(Type type, Call call) {
    try {
      call();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const TTransportException& e) {
      EXPECT_EQ(e.getType(), type) << e.what();
      said_ = e.what();
    }
  }

  static std::string read(TPcieTransport& from, uint32_t size) {
    std::string bytes(size, '\0');
    bytes.resize(from.read(reinterpret_cast<uint8_t*>(bytes.data()), size));
    return bytes;
  }
  static void write(TPcieTransport& to, const Bytes& bytes) {
    to.write(bytes.data(), static_cast<uint32_t>(bytes.size()));
    to.flush();
  }

  std::unique_ptr<UserNode> node_;
  std::string said_;
};

// ---- Calls
// -------------------------------------------------------------------

// Edu, and a way to wait for a call that has no answer.
class NotedEdu : public EduHandler {
 public:
  void note(const std::string& text) override { noted.set_value(text); }
  std::promise<std::string> noted;
};

class TransportCalls : public Transport {
 protected:
  void serve(Family family, ChannelOptions options = {}) {
    if (GetParam().direct) return serveCard(options);
    ServerOptions server;
    server.listen = {family == Family::kUnix ? "unix:" + dir_.file("edu.sock")
                                             : std::string("tcp:127.0.0.1:0")};
    auto processor = std::make_shared<edu::EduProcessor>(handler_);
    edu_ = std::make_unique<Server>(
        server, [processor](const auto&) { return processor; },
        std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::null_sink_mt>()));
    thread_ = std::thread([this] { edu_->serve(); });
    beginAt(edu_->addresses().at(0));
    enableEngine(device());
    node_ = std::make_unique<UserNode>(device(), options);
  }
  void serveCard(ChannelOptions options) {
    ServerOptions server;
    server.card = {"unix:" + dir_.file("edu.card")};
    auto processor = std::make_shared<edu::EduProcessor>(handler_);
    card_ = std::make_unique<PollingServer>(
        server, [processor](const auto&) { return processor; },
        std::make_shared<spdlog::logger>(
            "test", std::make_shared<spdlog::sinks::null_sink_mt>()));
    thread_ = std::thread([this] { card_->serve(); });
    use(makeDevice({.card = server.card.at(0)}));
    enableEngine(device(), LANECALL_FEATURE_CARD_RINGS);
    node_ = std::make_unique<UserNode>(device(), options);
  }
  void TearDown() override {
    node_.reset();
    if (edu_) edu_->stop();
    if (card_) card_->stop();
    if (thread_.joinable()) thread_.join();
  }

  edu::EduClient client() {
    auto raw = transport();
    raw->open();
    return edu::EduClient(
        protocolFactory(Protocol::kBinary, Limits())->getProtocol(raw));
  }

  std::shared_ptr<NotedEdu> handler_ = std::make_shared<NotedEdu>();
  std::unique_ptr<Server> edu_;
  std::unique_ptr<PollingServer> card_;
  std::thread thread_;
};

TEST_P(TransportCalls, EveryKindIsAnswered) {
  serve(Family::kTcp);
  auto c = client();
  c.ping();
  std::string text;
  c.echo(text, "Hello, world!");
  EXPECT_EQ(text, "Hello, world!");
  EXPECT_EQ(c.counter(), 0);
  EXPECT_EQ(c.counter(), 1);
  EXPECT_EQ(c.factorial(20), 2432902008176640000);
  EXPECT_THROW(c.factorial(21), edu::OutOfRange);
  std::vector<int32_t> scaled;
  c.scale(scaled, {1, -2, 3}, 4);
  EXPECT_EQ(scaled, (std::vector<int32_t>{4, -8, 12}));
  c.note("no answer");
  c.ping();
}

TEST_P(TransportCalls, BytesOfEverySizeComeBackThroughTheSmallestRings) {
  serve(Family::kUnix, {.tx_shift = 12, .rx_shift = 12});
  auto c = client();
  for (size_t size :
       {0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20}) {
    const Bytes bytes = someBytes(size, static_cast<unsigned>(size));
    const std::string sent(bytes.begin(), bytes.end());
    std::string back;
    c.reflect(back, sent);
    ASSERT_TRUE(back == sent) << size;
  }
}

TEST_P(TransportCalls, ClientsOnManyThreadsDoNotMeet) {
  serve(Family::kUnix, {.tx_shift = 13, .rx_shift = 13});
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 16; ++t) {
    threads.emplace_back([this, t] {
      auto c = client();
      for (unsigned i = 0; i < 20; ++i) {
        const Bytes bytes = someBytes(100 + i * 700, t * 100 + i);
        const std::string sent(bytes.begin(), bytes.end());
        std::string back;
        c.reflect(back, sent);
        EXPECT_TRUE(back == sent) << t << ", " << i;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(guestErrors(), 0u);
}

TEST_P(TransportCalls, OnewayCallBeforeCloseArrives) {
  serve(Family::kUnix);
  client().note("the last thing said");
  auto noted = handler_->noted.get_future();
  ASSERT_EQ(noted.wait_for(std::chrono::milliseconds(kSoonMs)),
            std::future_status::ready);
  EXPECT_EQ(noted.get(), "the last thing said");
}

// The same, compiled for the transport: no virtual call is left.
TEST_P(TransportCalls, TemplatesAnswerAsVirtualCallsDo) {
  serve(Family::kUnix, {.tx_shift = 12, .rx_shift = 12});
  using Inlined = apache::thrift::protocol::TBinaryProtocolT<TPcieTransport>;
  auto raw = transport();
  raw->open();
  edu::EduClientT<Inlined> inlined(std::make_shared<Inlined>(raw));
  auto usual = client();
  for (size_t size : {0, 1, 4095, 4096, 4097, 1 << 20}) {
    const Bytes bytes = someBytes(size, static_cast<unsigned>(size));
    const std::string sent(bytes.begin(), bytes.end());
    std::string a, b;
    inlined.reflect(a, sent);
    usual.reflect(b, sent);
    ASSERT_TRUE(a == sent && b == sent) << size;
  }
  std::vector<int32_t> a, b;
  inlined.scale(a, {1, -2, 3}, 4);
  usual.scale(b, {1, -2, 3}, 4);
  EXPECT_EQ(a, b);
  EXPECT_EQ(inlined.counter(), 0);
  EXPECT_EQ(usual.counter(), 1);
  EXPECT_THROW(inlined.factorial(21), edu::OutOfRange);
  inlined.ping();
}

// ---- Ends
// --------------------------------------------------------------------

TEST_P(Transport, NobodyListensIsNotOpen) {
  beginAt("unix:" + dir_.file("nobody.sock"));
  enableEngine(device());
  node_ = std::make_unique<UserNode>(device());
  auto t = transport();
  throws(TTransportException::NOT_OPEN, [&] { t->open(); });
  EXPECT_NE(said_.find("refused"), std::string::npos) << said_;
  EXPECT_FALSE(t->isOpen());
}

TEST_P(Transport, ServerTooBusyToAcceptTimesOut) {
  beginNode(Family::kTcp, 0);
  Descriptor in_the_way;
  if (GetParam().direct) {
    server().holdOffers(true);
  } else {
    in_the_way = server().fillQueue();
  }
  auto t = transport();
  t->setConnTimeout(kShortMs);
  throws(TTransportException::NOT_OPEN, [&] { t->open(); });
  EXPECT_FALSE(t->isOpen());
}

TEST_P(Transport, AllChannelsInUseIsNotOpenUntilOneIsFree) {
  begin(GetParam().direct ? Family::kCard : Family::kUnix, {.channels = 2});
  node_ = std::make_unique<UserNode>(device());
  auto a = transport(), b = transport(), c = transport();
  a->open();
  b->open();
  throws(TTransportException::NOT_OPEN, [&] { c->open(); });
  a->close();
  ASSERT_TRUE(eventually([&] {
    try {
      c->open();
    } catch (const TTransportException&) {
    }
    return c->isOpen();
  }));
}

TEST_P(Transport, SilentServerTimesOutAndClosesTheTransport) {
  beginNode();
  auto t = transport();
  t->open();
  auto peer = server().accept(soon());
  t->setRecvTimeout(kShortMs);
  write(*t, someBytes(10));
  throws(TTransportException::TIMED_OUT, [&] { read(*t, 10); });
  EXPECT_FALSE(t->isOpen());
  EXPECT_EQ(peer->receiveToEnd(soon()), someBytes(10));
}

TEST_P(Transport, ServerThatDoesNotReadTimesOutTheSender) {
  beginNode();
  auto t = transport();
  t->open();
  auto peer = server().accept(soon());
  t->setSendTimeout(kShortMs);
  throws(TTransportException::TIMED_OUT,
         [&] { write(*t, someBytes(8 << 20)); });
  EXPECT_FALSE(t->isOpen());
}

TEST_P(Transport, EndInOrderIsReadAfterAllBytes) {
  beginNode();
  auto t = transport();
  t->open();
  auto peer = server().accept(soon());
  ASSERT_TRUE(peer->send(someBytes(5), soon()));
  peer->close();
  const Bytes five = someBytes(5);
  EXPECT_EQ(read(*t, 100), std::string(five.begin(), five.end()));
  EXPECT_EQ(read(*t, 100), "");
  throws(TTransportException::NOT_OPEN, [&] { write(*t, someBytes(1)); });
}

TEST_P(Transport, BrokenConnectionIsEndOfFile) {
  beginNode();
  auto t = transport();
  t->open();
  auto peer = server().accept(soon());
  write(*t, someBytes(10));
  ASSERT_TRUE(peer->receive(5, soon()).size() == 5);
  peer->abort();
  throws(TTransportException::END_OF_FILE, [&] { read(*t, 10); });
}

TEST_P(Transport, ServerThatDiesInMidCallEndsTheWait) {
  beginNode();
  auto t = transport();
  t->open();
  auto peer = server().accept(soon());
  std::thread killer([&] {
    EXPECT_EQ(peer->receive(10, soon()), someBytes(10));
    peer->close();
  });
  write(*t, someBytes(10));
  EXPECT_EQ(read(*t, 10), "");
  killer.join();
}

TEST_P(Transport, InterruptEndsAWaitFromAnotherThread) {
  beginNode();
  auto t = transport();
  t->setRecvTimeout(0);
  t->open();
  std::thread other([&] { t->interrupt(); });
  throws(TTransportException::INTERRUPTED, [&] { read(*t, 10); });
  other.join();
}

TEST_P(Transport, DeviceThatIsResetEndsTheWait) {
  beginNode();
  auto t = transport();
  t->open();
  auto peer = server().accept(soon());
  std::thread other([&] {
    device().write32(LANECALL_REG_CONTROL, 0);
    node_->lose();
  });
  throws(TTransportException::NOT_OPEN, [&] { read(*t, 10); });
  other.join();
  EXPECT_TRUE(peer->waitEnd(soon()));
  t->close();
  enable();
  t->open();
  peer = server().accept(soon());
  write(*t, someBytes(10));
  EXPECT_EQ(peer->receive(10, soon()), someBytes(10));
}

TEST_P(Transport, MayBeOpenedAgainAndAgain) {
  beginNode();
  auto t = transport();
  for (int i = 0; i < 100; ++i) {
    t->open();
    auto peer = server().accept(soon());
    write(*t, someBytes(100));
    t->close();
    ASSERT_EQ(peer->receiveToEnd(soon()), someBytes(100)) << i;
  }
  EXPECT_EQ(guestErrors(), 0u);
}

std::string useName(const ::testing::TestParamInfo<Use>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Each, TransportCalls, ::testing::ValuesIn(kUses),
                         useName);
INSTANTIATE_TEST_SUITE_P(Each, Transport, ::testing::ValuesIn(kUses), useName);

}  // namespace
}  // namespace lanecall::test
