// SPDX-License-Identifier: Apache-2.0
//
// A whole server program, from its command line to its exit status.
#include <edu/Edu.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <lanecall/open.h>
#include <lanecall/ring_transport.h>
#include <lanecall/serve.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "card_device.h"
#include "edu_handler.h"

namespace lanecall {
namespace {

class ServeTest : public ::testing::Test {
 protected:
  ~ServeTest() override { std::filesystem::remove_all(folder); }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    return ::mkdtemp(pattern.data());
  }

  static int run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "server");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    return serve(
        static_cast<int>(arguments.size()), argv.data(), "Edu",
        std::make_shared<edu::EduProcessor>(std::make_shared<EduHandler>()));
  }

  // Returns what it announces, once it serves.
  std::string start(std::vector<std::string> arguments) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    Descriptor ready(ends[0]);
    arguments.insert(arguments.end(), {"--ready-fd", std::to_string(ends[1]),
                                       "--log-level", "off"});
    status = std::async(std::launch::async, run, arguments);
    std::string text;
    char part[256];
    ssize_t got;
    while ((got = ::read(ready.get(), part, sizeof part)) > 0)
      text.append(part, got);
    return text;
  }

  int stop() {
    ::kill(::getpid(), SIGTERM);
    return status.get();
  }

  void expectServesCard(const std::string& path) {
    test::CardDevice device(path);
    device.greet();
    edu::EduClient client(
        protocolOn(std::make_shared<RingTransport>(device.open())));
    client.ping();
  }

  const std::string folder = makeFolder();
  const std::string card = folder + "/card";
  const std::string socket = "unix:" + folder + "/socket";
  std::future<int> status;
};

TEST_F(ServeTest, ServesSocketsAndCards) {
  EXPECT_EQ(start({"--listen", socket, "--card", "unix:" + card}),
            socket + "\ncard:unix:" + card + "\n");
  edu::EduClient client(protocolOn(openTransport(socket)));
  client.ping();
  expectServesCard(card);
  EXPECT_EQ(stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(card));
}

TEST_F(ServeTest, ServesCardsOnly) {
  EXPECT_EQ(start({"--card", "unix:" + card, "--card", "unix:" + card + "2",
                   "--spin", "never", "--card-threads", "2"}),
            "card:unix:" + card + "\ncard:unix:" + card + "2\n");
  expectServesCard(card);
  expectServesCard(card + "2");
  EXPECT_EQ(stop(), 0);
}

TEST_F(ServeTest, ACardNeedsAUnixSocket) {
  EXPECT_EQ(run({"--card", "tcp:127.0.0.1:0"}), 2);
  EXPECT_EQ(run({"--card", folder}), 2);
}

TEST_F(ServeTest, SpinIsAWordOrMicroseconds) {
  EXPECT_EQ(run({"--card", "unix:" + card, "--spin", "sometimes"}), 2);
}

}  // namespace
}  // namespace lanecall
