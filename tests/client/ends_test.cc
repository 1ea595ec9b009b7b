// SPDX-License-Identifier: Apache-2.0
//
// Every end: a server that is absent, killed, restarted, silent; a message over
// its limit; another protocol; a client that is killed.
#include <lanecall/deadline.h>
#include <signal.h>
#include <sys/wait.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TTransportException.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "fixture.h"
#include "random.h"

namespace lanecall::test {
namespace {

using apache::thrift::transport::TTransportException;

class EndsTest : public ClientTest {
 protected:
  // Runs a call that must fail because the connection ended: not by timing out,
  // and not by hanging.
  template <typename F>
  static void expectEnded(F call) {
    try {
      call();
      ADD_FAILURE() << "the call succeeded";
    } catch (const TTransportException& error) {
      EXPECT_TRUE(error.getType() == TTransportException::END_OF_FILE ||
                  error.getType() == TTransportException::NOT_OPEN)
          << error.getType() << ": " << error.what();
    }
  }

  void expectServes() {
    auto client = connect();
    client->edu.ping();
  }
};
LANECALL_ON_EVERY_PATH(EndsTest);

TEST_P(EndsTest, NoServerIsOneLineAtOpen) {
  stopServer();
  try {
    connect();
    FAIL() << "something answers";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::NOT_OPEN);
    const std::string line = error.what();
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_NE(line.find("lanecall-server"), std::string::npos) << line;
  }
}

TEST_P(EndsTest, AKilledServerEndsItsConnections) {
  auto client = connect();
  client->edu.ping();
  killServer();
  expectEnded([&] { client->edu.ping(); });
}

TEST_P(EndsTest, AServerKilledInTheMiddleOfACallEndsIt) {
  auto client = connect();
  std::atomic<bool> began{false};
  std::thread caller([&] {
    const std::string sent(4 << 20, 'x');
    std::string answer;
    expectEnded([&] {
      for (;;) {
        client->edu.reflect(answer, sent);
        began = true;
        began.notify_all();
      }
    });
    // Whatever happened, the test goes on.
    began = true;
    began.notify_all();
  });
  began.wait(false);
  killServer();
  caller.join();
}

TEST_P(EndsTest, TheSameTransportOpensAgainAfterARestart) {
  auto client = connect();
  EXPECT_EQ(client->edu.counter(), 0);
  EXPECT_EQ(client->edu.counter(), 1);
  killServer();
  expectEnded([&] { client->edu.ping(); });
  client->transport->close();
  startServer();
  client->transport->open();
  EXPECT_EQ(client->edu.counter(), 0) << "the new server counts afresh";
}

TEST_P(EndsTest, AStoppedServerEndsItsConnections) {
  auto client = connect();
  client->edu.ping();
  stopServer();
  expectEnded([&] { client->edu.ping(); });
}

TEST_P(EndsTest, ASilentServerEndsTheCallAtTheReceiveTimeout) {
  ClientOptions options = patience();
  options.receiveTimeoutMs = 100;
  auto client = connect(options);
  path->harness().pause(server->id);
  try {
    client->edu.ping();
    ADD_FAILURE() << "it answered";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::TIMED_OUT) << error.what();
  }
  EXPECT_FALSE(client->transport->isOpen())
      << "the late answer could be taken for the next";
  path->harness().resume(server->id);
  expectServes();
}

TEST_P(EndsTest, AServerThatDoesNotReadEndsTheCallAtTheSendTimeout) {
  ClientOptions options = patience();
  options.sendTimeoutMs = 100;
  auto client = connect(options);
  path->harness().pause(server->id);
  std::string answer;
  try {
    client->edu.reflect(answer, std::string(32 << 20, 'x'));
    ADD_FAILURE() << "it answered";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::TIMED_OUT) << error.what();
  }
  EXPECT_FALSE(client->transport->isOpen());
  path->harness().resume(server->id);
  expectServes();
}

TEST_P(EndsTest, AMessageOverTheServersLimitEndsTheConnection) {
  stopServer();
  startServer({"--max-message", "1000000"});
  auto client = connect();
  std::string answer;
  client->edu.reflect(answer, std::string(900'000, 'x'));
  EXPECT_EQ(answer.size(), 900'000u);
  expectEnded(
      [&] { client->edu.reflect(answer, std::string(3'000'000, 'x')); });
  expectServes();
}

TEST_P(EndsTest, AnAnswerOverTheClientsLimitClosesItsTransport) {
  Limits list, text, depth;
  list.containerItems = 100;
  text.stringBytes = 100;
  depth.depth = 1;  // of an answer; an exception in it is the second struct
  const std::tuple<Limits, const char*, std::function<void(edu::EduClient&)>>
      cases[] = {{list, "--max-container",
                  [](auto& edu) {
                    std::vector<std::int32_t> answer;
                    edu.scale(answer, std::vector<std::int32_t>(101), 1);
                  }},
                 {text, "--max-string",
                  [](auto& edu) {
                    std::string answer;
                    edu.echo(answer, std::string(101, 'x'));
                  }},
                 {depth, "--max-depth", [](auto& edu) { edu.factorial(21); }}};
  for (Protocol protocol : {Protocol::kBinary, Protocol::kCompact}) {
    stopServer();
    startServer({"--protocol", name(protocol)});
    for (const auto& [limits, option, call] : cases) {
      SCOPED_TRACE(std::string(name(protocol)) + " " + option);
      ClientOptions options = patience();
      options.protocol = protocol;
      options.limits = limits;
      auto client = connect(options);
      edu::EduClient byName(
          std::make_shared<apache::thrift::protocol::TMultiplexedProtocol>(
              client->protocol, "Edu"));
      for (edu::EduClient* edu : {&client->edu, &byName}) {
        edu->ping();
        try {
          call(*edu);
          ADD_FAILURE() << "it was taken";
        } catch (const std::exception& error) {
          EXPECT_NE(explainLimit(error, limits).find(option), std::string::npos)
              << error.what();
        }
        EXPECT_FALSE(client->transport->isOpen())
            << "the rest could be taken for the next answer";
        try {
          edu->ping();
          ADD_FAILURE() << "it was answered";
        } catch (const TTransportException& error) {
          EXPECT_EQ(error.getType(), TTransportException::NOT_OPEN);
          EXPECT_NE(std::string(error.what()).find("open() it again"),
                    std::string::npos)
              << error.what();
        }
        client->transport->open();
        edu->ping();
      }
    }
  }
}

TEST_P(EndsTest, AnotherProtocolEndsTheConnection) {
  for (auto [protocol, framing] :
       {std::pair{Protocol::kCompact, Framing::kBuffered},
        {Protocol::kBinary, Framing::kFramed},
        {Protocol::kCompact, Framing::kFramed}}) {
    ClientOptions options = patience();
    options.protocol = protocol;
    options.framing = framing;
    auto client = connect(options);
    expectEnded([&] { client->edu.ping(); });
  }
  expectServes();
}

// Never returns: connects, registers a snapshot, says so on the pipe, and calls
// until it is killed.
[[noreturn]] void callUntilKilled(const std::string& uri,
                                  const ClientOptions& options, int tell) {
  try {
    Client client(uri, options);
    virtine::Memory image;
    image.__set_bytes("of a client that will be killed");
    virtine::Snapshot snapshot;
    client.virtine.registerSnapshot(snapshot, image, false);
    if (::write(tell, "!", 1) != 1) ::_exit(1);
    const std::string sent(4 << 20, 'x');
    std::string answer;
    for (;;) client.edu.reflect(answer, sent);
  } catch (const std::exception&) {
    ::_exit(1);
  }
}

TEST_P(EndsTest, AKilledClientsConnectionEndsAtTheServer) {
  auto watcher = connect();
  const int rounds = settings().scaled(10, 3);
  for (int round = 0; round < rounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) callUntilKilled(uri(), patience(), ends[1]);
    ::close(ends[1]);
    char said = 0;
    EXPECT_EQ(::read(ends[0], &said, 1), 1) << "the child could not connect";
    ::close(ends[0]);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    // Its snapshot goes with its connection.
    virtine::Stats stats;
    const Deadline deadline = Deadline::in(patience().receiveTimeoutMs);
    do {
      watcher->virtine.stats(stats);
    } while (stats.snapshots > 0 && !deadline.passed());
    EXPECT_EQ(stats.snapshots, 0) << "the server still has the connection";
  }
  watcher->edu.ping();
}

}  // namespace
}  // namespace lanecall::test
