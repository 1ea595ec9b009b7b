// SPDX-License-Identifier: Apache-2.0
//
// Commands and their answers, over every kind of channel that needs no device.
#include "control.h"

#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/server.h>
#include <pty.h>
#include <spdlog/sinks/null_sink.h>
#include <termios.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TFDTransport.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

namespace lanecall::bench {
namespace {

using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::transport::TBufferedTransport;
using apache::thrift::transport::TFDTransport;
using apache::thrift::transport::TTransportException;
using nlohmann::json;

class Reflector : public edu::EduNull {
 public:
  void ping() override { ++pings; }
  void reflect(std::string& answer, const std::string& bytes) override {
    answer = bytes;
    if (!answer.empty()) answer[answer.size() / 2] ^= flipped;
  }

  std::atomic<int> pings{0};
  char flipped = 0;  // bits of the byte in the middle
};

std::string makeFolder() {
  std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
  return ::mkdtemp(pattern.data());
}

class BenchControl : public ::testing::Test {
 protected:
  BenchControl() {
    channels = {parseChannel("memory=memory:")};
    options.listen = {"unix:" + folder + "/socket", "tcp:127.0.0.1:0"};
  }
  ~BenchControl() override {
    stop();
    std::filesystem::remove_all(folder);
  }

  void serve() {
    auto log = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::null_sink_mt>());
    server = std::make_unique<Server>(
        options,
        [this](const auto&) {
          ++connections;
          return std::make_shared<edu::EduProcessor>(handler);
        },
        log);
    const auto at = server->addresses();
    const std::string framing =
        std::string(",framing=") + name(options.framing);
    channels.push_back(parseChannel("unix=" + at[0] + framing));
    channels.push_back(parseChannel("tcp=" + at[1] + framing));
    thread = std::thread([this] { server->serve(); });
  }

  void stop() {
    if (!thread.joinable()) return;
    server->stop();
    thread.join();
    server.reset();
  }

  json ask(json command) {
    command["id"] = 5;
    if (!command.contains("seconds")) command["seconds"] = 0;
    command["warmup_seconds"] = 0;
    json answer = json::parse(answerTo(command.dump(), channels));
    EXPECT_EQ(answer["id"], 5);
    return answer;
  }

  const std::string folder = makeFolder();
  ServerOptions options;
  std::shared_ptr<Reflector> handler = std::make_shared<Reflector>();
  std::atomic<int> connections{0};
  std::vector<Channel> channels;
  std::unique_ptr<Server> server;
  std::thread thread;
};

TEST_F(BenchControl, ReportsWhatASliceTook) {
  const json answer = ask({{"channel", "memory"},
                           {"test", "reflect_1k"},
                           {"seconds", 0.01},
                           {"minimum_calls", 200}});
  ASSERT_FALSE(answer.contains("error")) << answer;
  const double calls = answer["calls"];
  const double seconds = answer["seconds"];
  EXPECT_GE(calls, 200);
  EXPECT_GE(seconds, 0.01);
  EXPECT_NEAR(answer["calls_per_s"], calls / seconds, 1);
  EXPECT_NEAR(answer["mb_per_s"], calls / seconds * 1024 / 1e6, 1e-3);
  EXPECT_LE(answer["min_us"], answer["p50_us"]);
  EXPECT_LE(answer["p50_us"], answer["p99_us"]);
  EXPECT_LE(answer["p99_us"], answer["max_us"]);
  EXPECT_EQ(answer["percentiles_us"]["99"], answer["p99_us"]);
  // No call but those reported had a place in that time.
  EXPECT_LE(answer["mean_us"].get<double>() * calls, seconds * 1e6 * 1.001);
  EXPECT_GT(answer["clock_ns"], 0);
}

TEST_F(BenchControl, MakesTheCallsAskedForHoweverShortTheTime) {
  serve();
  for (const char* channel : {"unix", "tcp", "memory"}) {
    const json answer =
        ask({{"channel", channel}, {"test", "ping"}, {"minimum_calls", 123}});
    EXPECT_EQ(answer["calls"], 123) << answer;
  }
}

TEST_F(BenchControl, EveryClientHasAConnectionAndItsShare) {
  serve();
  const json answer = ask({{"channel", "unix"},
                           {"test", "reflect_4k"},
                           {"clients", 16},
                           {"minimum_calls", 160}});
  EXPECT_EQ(answer["calls"], 160) << answer;
  EXPECT_EQ(connections, 16);
}

TEST_F(BenchControl, SpeaksFramesToo) {
  options.framing = Framing::kFramed;
  serve();
  for (const char* channel : {"unix", "tcp"})
    for (const char* test : {"ping", "reflect_1m"})
      EXPECT_GE(ask({{"channel", channel}, {"test", test}})["calls"], 50);
}

TEST_F(BenchControl, OutlivesThriftsBudget) {
  serve();
  // Three times the 64 MB that a connection may have in flight.
  const json answer =
      ask({{"channel", "unix"}, {"test", "reflect_8m"}, {"minimum_calls", 24}});
  EXPECT_EQ(answer["calls"], 24) << answer;
}

TEST_F(BenchControl, KeepsSoManyCallsOnTheirWay) {
  serve();
  const json answer = ask({{"channel", "unix"},
                           {"test", "ping"},
                           {"outstanding", 64},
                           {"minimum_calls", 1000}});
  ASSERT_FALSE(answer.contains("error")) << answer;
  // Those that were on their way when it had enough are finished, and counted.
  EXPECT_GE(answer["calls"], 1000);
  EXPECT_LE(answer["calls"], 1000 + 2 * 64);
  // Each waits for the 32 or more before it, so that together they take longer
  // than the slice.
  EXPECT_GT(answer["mean_us"].get<double>() * answer["calls"].get<double>(),
            2 * 1e6 * answer["seconds"].get<double>());
  EXPECT_EQ(handler->pings, answer["calls"].get<int>() + 3);  // to warm up
}

TEST_F(BenchControl, AsynchronousClientsKeepCallsOnTheirWayToo) {
  serve();
  for (const char* channel : {"unix", "tcp"})
    for (int outstanding : {1, 64}) {
      handler->pings = 0;
      const json answer = ask({{"channel", channel},
                               {"test", "ping_cob"},
                               {"outstanding", outstanding},
                               {"minimum_calls", 1000}});
      ASSERT_FALSE(answer.contains("error")) << answer;
      EXPECT_GE(answer["calls"], 1000);
      EXPECT_LE(answer["calls"], 1000 + outstanding);
      EXPECT_EQ(handler->pings, answer["calls"].get<int>() + 3);
    }
  const json memory = ask({{"channel", "memory"}, {"test", "ping_cob"}});
  EXPECT_TRUE(memory.contains("error")) << memory;
}

// Together they are a ping; waiting is most of it where a server answers.
TEST_F(BenchControl, TimesStagesAlone) {
  serve();
  auto p50 = [this](const char* test) {
    const json answer = ask({{"channel", "unix"}, {"test", test}});
    EXPECT_EQ(answer["calls"], 50) << answer;
    return answer["p50_us"].get<double>();
  };
  const double waiting = p50("ping_wait");
  EXPECT_LT(p50("ping_receive"), waiting);
  EXPECT_GT(p50("ping_send"), 0);
  EXPECT_GT(p50("ping"), 0);
  EXPECT_EQ(handler->pings, 4 * 53);
  const json memory = ask({{"channel", "memory"}, {"test", "ping_wait"}});
  EXPECT_EQ(memory["calls"], 50) << memory;
}

TEST_F(BenchControl, NoticesAServerThatChangesBytes) {
  handler->flipped = 1;
  serve();
  const json answer = ask({{"channel", "unix"}, {"test", "reflect_64k"}});
  EXPECT_NE(answer["error"].get<std::string>().find("unix: reflect_64k"),
            std::string::npos)
      << answer;
}

TEST_F(BenchControl, SaysWhatFailedAndGoesOn) {
  serve();
  stop();
  const json answer =
      ask({{"channel", "unix"}, {"test", "ping"}, {"clients", 4}});
  EXPECT_NE(answer["error"].get<std::string>().find("unix: ping: "),
            std::string::npos)
      << answer;
  EXPECT_EQ(ask({{"channel", "memory"}, {"test", "ping"}})["calls"], 50);
}

// In a slice of several clients, too, whose others go on.
class BenchControlEnd : public BenchControl,
                        public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Of, BenchControlEnd,
                         ::testing::Values("ping", "ping_cob"));

TEST_P(BenchControlEnd, AServerThatGoesAwayEndsTheSlice) {
  serve();
  std::thread killer([this] {
    while (handler->pings < 1000) std::this_thread::yield();
    stop();
  });
  const json answer = ask({{"channel", "unix"},
                           {"test", GetParam()},
                           {"clients", 4},
                           {"minimum_calls", 10'000'000}});
  killer.join();
  EXPECT_TRUE(answer.contains("error")) << answer;
}

TEST_F(BenchControl, WhatIsNoCommandIsAnAnswerToo) {
  auto error = [this](const std::string& line) {
    return json::parse(answerTo(line, channels)).value("error", "none");
  };
  EXPECT_NE(error("nonsense").find("JSON object"), std::string::npos);
  EXPECT_NE(error("[1]").find("JSON object"), std::string::npos);
  EXPECT_NE(error("{}").find("'channel' and 'test'"), std::string::npos);
  EXPECT_NE(error(R"({"channel":"x","test":"ping"})").find("are: memory"),
            std::string::npos);
  const std::string ping = R"({"channel":"memory","test":"ping",)";
  for (const char* rest :
       {R"("colour":1})", R"("clients":0})", R"("clients":"x"})",
        R"("clients":1001})", R"("outstanding":0})", R"("outstanding":2})",
        R"("seconds":-1})", R"("seconds":1e9})", R"("minimum_calls":1e8})"})
    EXPECT_NE(error(ping + rest), "none") << rest;
  // It would wait for room that never comes.
  EXPECT_NE(
      error(R"({"channel":"memory","test":"reflect_1m","outstanding":2})"),
      "none");
}

// A serial port leads to a server that hears nothing of clients.
class SerialServer {
 public:
  SerialServer() {
    termios raw;
    ::cfmakeraw(&raw);
    raw.c_cflag |= CS8 | CREAD;
    if (::openpty(&ours_, &theirs_, nullptr, &raw, nullptr) < 0)
      throw std::system_error(errno, std::generic_category(), "openpty");
    thread_ = std::thread([this] { serve(); });
  }
  ~SerialServer() {
    ::close(theirs_);  // the last: reading the other end fails from now on
    thread_.join();
  }

  std::string path() const { return ::ttyname(theirs_); }

 private:
  void serve() {
    auto buffered = std::make_shared<TBufferedTransport>(
        std::make_shared<TFDTransport>(ours_, TFDTransport::CLOSE_ON_DESTROY),
        64 << 10);
    auto protocol = std::make_shared<TBinaryProtocol>(buffered);
    edu::EduProcessor processor(std::make_shared<Reflector>());
    try {
      while (processor.process(protocol, protocol, nullptr)) continue;
    } catch (const TTransportException&) {
    }
  }

  int ours_ = -1;
  int theirs_ = -1;
  std::thread thread_;
};

TEST_F(BenchControl, EachClientHasASerialPort) {
  SerialServer first;
  SerialServer second;
  std::filesystem::create_symlink(first.path(), folder + "/port0");
  std::filesystem::create_symlink(second.path(), folder + "/port1");
  channels.push_back(
      parseChannel("serial=serial:" + folder + "/port%d,ports=2"));
  EXPECT_EQ(ask({{"channel", "serial"}, {"test", "reflect_4k"}})["calls"], 50);
  EXPECT_EQ(
      ask({{"channel", "serial"}, {"test", "ping"}, {"clients", 2}})["calls"],
      50);
  const json many =
      ask({{"channel", "serial"}, {"test", "ping"}, {"clients", 3}});
  EXPECT_NE(many["error"].get<std::string>().find("2 ports"), std::string::npos)
      << many;
}

}  // namespace
}  // namespace lanecall::bench
