// SPDX-License-Identifier: Apache-2.0
//
// Many calls outstanding on one connection, by send_x and recv_x of clients
// that are compiled for their transport: answers in the order of the requests,
// and small requests that share a doorbell.
#include <lanecall/buffered.h>
#include <lanecall/pcie_transport.h>
#include <thrift/protocol/TBinaryProtocol.h>

#include <cstdint>
#include <string>

#include "fixture.h"

namespace lanecall::test {
namespace {

using apache::thrift::protocol::TBinaryProtocolT;

constexpr int kOutstanding = 64;

class PipeliningTest : public ClientTest {
 protected:
  // Runs f with a client for the very transport of this path.
  template <typename F>
  void withTemplatedClient(F f) {
    const TransportPtr transport = openTransport(uri(), patience());
    if (auto rings = std::dynamic_pointer_cast<TPcieTransport>(transport))
      return f(*rings, *clientOf(rings));
    auto buffered = std::dynamic_pointer_cast<BufferedTransport>(transport);
    ASSERT_TRUE(buffered);
    f(*buffered, *clientOf(buffered));
  }

  // Keeps up to 64 calls outstanding: send(i) and receive(i), in batches of 32.
  template <typename Send, typename Receive>
  static void pipeline(int calls, Send send, Receive receive) {
    int sent = 0;
    for (int received = 0; received < calls;) {
      while (sent < calls && sent - received < kOutstanding) send(sent++);
      const int left = sent < calls ? kOutstanding / 2 : 0;
      while (sent - received > left) receive(received++);
    }
  }

 private:
  template <typename Transport>
  static auto clientOf(const std::shared_ptr<Transport>& transport) {
    using Protocol = TBinaryProtocolT<Transport>;
    return std::make_unique<edu::EduClientT<Protocol>>(
        std::make_shared<Protocol>(transport));
  }
};
LANECALL_ON_EVERY_PATH(PipeliningTest);

TEST_P(PipeliningTest, AnswersComeInTheOrderOfTheRequests) {
  const int calls = settings().scaled(20'000, 2'000);
  withTemplatedClient([&](auto&, auto& client) {
    pipeline(
        calls,
        [&](int i) { client.send_echo("question " + std::to_string(i)); },
        [&](int i) {
          std::string answer;
          client.recv_echo(answer);
          ASSERT_EQ(answer, "question " + std::to_string(i));
        });
  });
}

// Of a kind each, among them answers that are exceptions, and a call without.
TEST_P(PipeliningTest, CallsOfDifferentKindsMayBeOutstanding) {
  const int calls = settings().scaled(4'000, 400);
  const auto bytes = [](int i) { return std::string(i * 7 % 1024, 'b'); };
  withTemplatedClient([&](auto&, auto& client) {
    pipeline(
        calls,
        [&](int i) {
          if (i % 4 == 0) client.send_ping();
          if (i % 4 == 1) client.send_factorial(i % 40);
          if (i % 4 == 2) client.send_reflect(bytes(i));
          if (i % 4 == 3) client.send_scale({i, -i}, 2);
          if (i % 16 == 0) client.send_note("no answer");
        },
        [&](int i) {
          if (i % 4 == 0) client.recv_ping();
          if (i % 4 == 1 && i % 40 <= 20) client.recv_factorial();
          if (i % 4 == 1 && i % 40 > 20) {
            EXPECT_THROW(client.recv_factorial(), edu::OutOfRange);
          }
          if (i % 4 == 2) {
            std::string answer;
            client.recv_reflect(answer);
            ASSERT_EQ(answer, bytes(i));
          }
          if (i % 4 == 3) {
            std::vector<std::int32_t> answer;
            client.recv_scale(answer);
            ASSERT_EQ(answer, (std::vector<std::int32_t>{2 * i, -2 * i}));
          }
        });
  });
}

double doorbellsPerCall(const TPcieTransport& transport, int calls,
                        std::uint64_t* before) {
  const Counters now = transport.counters();
  const std::uint64_t all = now.sent.doorbells + now.received.doorbells;
  const double rung = static_cast<double>(all - *before);
  *before = all;
  return rung / calls;
}

// A device that asks for each request's doorbell at once gets nearly as many as
// there are calls. How many fewer there are is for the bench to say (0.2 a call
// at most, of a machine that does nothing else): a device that has time to look
// for more between two requests of a client that the machine holds up, asks
// more often. In rounds, since a machine does not always: on a busy one such a
// device may pass.
TEST_P(PipeliningTest, SmallRequestsShareADoorbell) {
  constexpr int kCalls = 2'000;
  constexpr int kRounds = 20;
  constexpr double kMost = 0.8;
  withTemplatedClient([&](auto& transport, auto& client) {
    if constexpr (std::is_same_v<decltype(transport), TPcieTransport&>) {
      if (!transport.isMapped()) GTEST_SKIP() << "the kernel rings";
      std::uint64_t before = 0;
      double rung = 1;
      for (int round = 0; round < kRounds && rung >= kMost; ++round) {
        pipeline(
            kCalls, [&](int) { client.send_ping(); },
            [&](int) { client.recv_ping(); });
        rung = doorbellsPerCall(transport, kCalls, &before);
      }
      EXPECT_LT(rung, kMost) << "doorbells a call";
    } else {
      GTEST_SKIP() << "no doorbells";
    }
  });
}

}  // namespace
}  // namespace lanecall::test
