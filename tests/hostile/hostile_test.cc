// SPDX-License-Identifier: Apache-2.0
//
// Hostile peers of a whole server, through each of its ways in, in each
// protocol and framing. After each burst the good clients are answered right,
// and the server has not grown; at the end it stops in order.
#include <gtest/gtest.h>
#include <harness.h>
#include <lanecall/deadline.h>
#include <lanecall/ring_transport.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "card_peers.h"
#include "good_client.h"
#include "message_maker.h"
#include "settings.h"
#include "socket_peers.h"

namespace lanecall::test {
namespace {

using Combination = std::tuple<Protocol, Framing>;

// What the server may hold at once follows from these: a bound on its memory
// that the clients cannot move.
constexpr int kMostConnections = 64;
constexpr std::uint32_t kMostBytes = 262'144;
constexpr std::uint32_t kMostItems = 2048;
const std::vector<std::string> kLimits = {
    "--max-connections",    std::to_string(kMostConnections),
    "--max-message",        std::to_string(kMostBytes),
    "--max-container",      std::to_string(kMostItems),
    "--max-snapshot-bytes", "4194304",
    "--max-snapshots",      "64",
    "--max-attachments",    "1024",
    "--max-tickets",        "1024",
    "--message-timeout",    "2000",
    "--send-timeout",       "2000",
    "--log-level",          "off",
    "--no-call-log"};

// Far longer than any machine needs: only a bug gets here.
constexpr int kPatienceMs = 60'000;

// Of the connections; the good clients and the bursts need some.
constexpr std::size_t kLoiterers = 16;
constexpr std::uint64_t kMostStreams = 8;
constexpr std::uint64_t kMostInStream = 12;
constexpr std::uint64_t kFloodOneIn = 64;

class HostileTest : public ::testing::TestWithParam<Combination> {
 protected:
  HostileTest()
      : random_(settings().seed + index()),
        maker_(std::get<Protocol>(GetParam()), std::get<Framing>(GetParam()),
               random_),
        folder_(makeFolder()),
        harness_(localHarness(settings().server)) {
    options_.protocol = std::get<Protocol>(GetParam());
    options_.framing = std::get<Framing>(GetParam());
    options_.receiveTimeoutMs = options_.sendTimeoutMs = kPatienceMs;
    std::vector<std::string> arguments = kLimits;
    arguments.insert(arguments.end(), settings().serverOptions.begin(),
                     settings().serverOptions.end());
    arguments.insert(arguments.end(), {"--protocol", name(options_.protocol),
                                       "--framing", name(options_.framing)});
    server_ = harness_->start({"tcp:127.0.0.1:0", "unix:" + folder_ + "/server",
                               "card:unix:" + cardPath()},
                              arguments);
  }

  ~HostileTest() override {
    if (server_) {
      EXPECT_EQ(harness_->stop(server_->id), 0);
    }
    std::filesystem::remove_all(folder_);
  }

  // Of the four.
  static std::uint64_t index() {
    return 2 * static_cast<std::uint64_t>(std::get<Protocol>(GetParam())) +
           static_cast<std::uint64_t>(std::get<Framing>(GetParam()));
  }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    return pattern;
  }

  // This test's share of all messages: three ways in, four combinations.
  static std::uint64_t share() { return settings().messages / 12; }

  std::string cardPath() const { return folder_ + "/card"; }
  std::string address(bool isUnix) const {
    return server_->addresses.at(isUnix ? 1 : 0);
  }

  GoodClient goodClient(const std::string& address) {
    return {openTransport(address, options_), options_};
  }

  // Of the process that listens at the Unix socket.
  pid_t pid() const {
    const Descriptor socket = connectTo(parseUri(address(true)));
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
      throw std::runtime_error("SO_PEERCRED");
    return peer.pid;
  }

  std::uint64_t memoryMost() const {
    std::ifstream status("/proc/" + std::to_string(pid()) + "/status");
    for (std::string word; status >> word;) {
      std::uint64_t kilobytes;
      if (word == "VmHWM:" && status >> kilobytes) return kilobytes << 10;
    }
    throw std::runtime_error("the server is gone");
  }

  void expectModest(std::uint64_t idle) const {
    const std::uint64_t more = memoryMost() - idle;
    RecordProperty("bytes_above_idle", std::to_string(more));
    std::printf("at most %llu KiB above idle\n",
                static_cast<unsigned long long>(more >> 10));
    std::fflush(stdout);
    if (settings().memoryMost > 0) {
      EXPECT_LT(more, settings().memoryMost);
    }
  }

  // Some messages, one after the other.
  std::string stream(std::uint64_t* count) {
    std::string bytes;
    for (std::uint64_t n = 1 + random_.below(kMostInStream); n > 0; --n) {
      bytes += maker_.next();
      ++*count;
    }
    return bytes;
  }

  void attackSocket(bool isUnix) {
    const Uri server = parseUri(address(isUnix));
    GoodClient steady = goodClient(address(isUnix));
    steady.call(random_);
    const std::uint64_t idle = memoryMost();
    Loiterers loiterers(server, kLoiterers, [this] { return maker_.next(); });
    for (std::uint64_t sent = 0; sent < share();) {
      loiterers.turn();
      std::vector<std::string> streams(1 + random_.below(kMostStreams));
      for (std::string& one : streams) one = stream(&sent);
      sendBurst(server, streams, random_);
      steady.call(random_);
      if (random_.below(kFloodOneIn) == 0) {
        flood(server, 4 * kMostConnections, maker_.next(), random_);
        steady.call(random_);
        awaitRoom(server, steady);
      }
    }
    expectModest(idle);
  }

  // A flood takes its connections with it, but that takes the server a while.
  void awaitRoom(const Uri& server, GoodClient& steady) {
    const Deadline deadline = Deadline::in(kPatienceMs);
    for (;;) try {
        goodClient(server.str()).call(random_);
        return;
      } catch (const apache::thrift::transport::TTransportException&) {
        if (deadline.passed()) throw;
        steady.call(random_);  // A turn of the server: it has gone on.
      }
  }

  ClientOptions options_;
  Random random_;
  MessageMaker maker_;
  const std::string folder_;
  const std::unique_ptr<Harness> harness_;
  std::optional<Harness::Server> server_;
};

INSTANTIATE_TEST_SUITE_P(
    All, HostileTest,
    ::testing::Combine(::testing::Values(Protocol::kBinary, Protocol::kCompact),
                       ::testing::Values(Framing::kBuffered, Framing::kFramed)),
    [](const auto& combination) {
      return std::string(name(std::get<0>(combination.param))) + "_" +
             name(std::get<1>(combination.param));
    });

TEST_P(HostileTest, OverTcpTheOthersAreServed) { attackSocket(false); }

TEST_P(HostileTest, OverAUnixSocketTheOthersAreServed) { attackSocket(true); }

// All that one connection may have the server hold, on every one at once: the
// items of a list, none of which comes, or a string but for its end.
TEST_P(HostileTest, WhatAllConnectionsAnnounceIsBounded) {
  const Uri server = parseUri(address(true));
  const std::uint64_t idle = memoryMost();
  std::vector<Descriptor> all;
  while (all.size() < kMostConnections - 1) {
    all.push_back(connectTo(server));
    const std::string message =
        all.size() % 2 ? maker_.longList(kMostItems)
                       : maker_.longString(kMostBytes - 100, kMostBytes - 200);
    ASSERT_TRUE(sendAll(all.back(), message));
  }
  for (const Descriptor& one : all) awaitEnd(one);
  expectModest(idle);
}

TEST_P(HostileTest, AtTheCardPortTheOthersAreServed) {
  HonestCard card(cardPath());
  auto channel = card.open(4096);
  auto transport = std::make_shared<RingTransport>(std::move(channel.client));
  transport->setFraming(options_.framing);
  transport->setRecvTimeout(options_.receiveTimeoutMs);
  GoodClient steady(transport, options_);
  steady.call(random_);
  const std::uint64_t idle = memoryMost();
  for (std::uint64_t sent = 0; sent < share();) {
    for (std::uint64_t n = 1 + random_.below(kMostStreams); n > 0; --n)
      card.sendStream(stream(&sent), random_);
    if (random_.below(2)) card.lieAboutIndex(random_);
    if (random_.below(4) == 0) attachHostileDevice(cardPath(), random_);
    steady.call(random_);
  }
  expectModest(idle);
}

}  // namespace
}  // namespace lanecall::test
