// SPDX-License-Identifier: Apache-2.0
//
// The server library against clients that misbehave, and its stop.
#include <edu/Edu.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <lanecall/open.h>
#include <lanecall/serve.h>
#include <lanecall/server.h>
#include <lanecall/socket_io.h>
#include <lanecall/stream_transport.h>
#include <poll.h>
#include <spdlog/logger.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thrift/TApplicationException.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "edu_handler.h"
#include "log_lines.h"
#include "proxy_bytes.h"

namespace lanecall {
namespace {

using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;
using test::LogLines;

// echo() waits until the test lets it go.
class SlowEdu : public EduHandler {
 public:
  void echo(std::string& result, const std::string& text) override {
    std::unique_lock<std::mutex> lock(mutex);
    running = true;
    changed.notify_all();
    changed.wait(lock, [&] { return released; });
    result = text;
  }
  void awaitRunning() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return running; });
  }
  void release() {
    std::lock_guard<std::mutex> lock(mutex);
    released = true;
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool running = false;
  bool released = false;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    folder = ::mkdtemp(pattern.data());
    options.listen = {"unix:" + path()};
  }
  ~ServerTest() override {
    edu->release();
    stop();
    std::filesystem::remove_all(folder);
  }

  std::string path() const { return folder + "/socket"; }
  std::string address() const { return server->addresses().at(0); }

  // What a listener at our address says, which must fail.
  std::string whyNotListening() const {
    try {
      Listener listener(parseUri(options.listen[0]));
      ADD_FAILURE() << "it listens";
      return {};
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  }

  // As a server that is just about to listen in our folder.
  Descriptor lockedFolder() const {
    Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_EQ(::flock(lock.get(), LOCK_EX), 0);
    return lock;
  }

  // Clients may connect, but nobody serves them yet.
  void listen() {
    server = std::make_unique<Server>(
        options, maker, std::make_shared<spdlog::logger>("test", log));
  }

  void start() {
    listen();
    outcome =
        std::async(std::launch::async, [this] { return server->serve(); });
  }

  // Whether it stopped in order.
  bool stop() {
    if (!outcome.valid()) return true;
    server->stop();
    return outcome.get();
  }

  // A transport without buffers, for bytes that no generated client sends.
  std::unique_ptr<StreamTransport> raw() {
    auto transport = std::make_unique<StreamTransport>(
        std::make_unique<SocketIo>(parseUri(address())));
    transport->setRecvTimeout(60'000);
    transport->open();
    return transport;
  }

  // The server closes it without an answer.
  static void expectClosed(StreamTransport& transport) {
    std::uint8_t byte;
    try {
      EXPECT_EQ(transport.read(&byte, 1), 0u);
    } catch (const TTransportException& error) {
      // With our bytes unread, the end is a reset.
      EXPECT_EQ(error.getType(), TTransportException::END_OF_FILE)
          << error.what();
    }
  }

  void expectServes() {
    edu::EduClient client(protocolOn(openTransport(address())));
    client.ping();
  }

  bool isServed() {
    try {
      expectServes();
      return true;
    } catch (const TTransportException&) {
      return false;
    }
  }

  std::string folder;
  ServerOptions options;
  std::shared_ptr<SlowEdu> edu = std::make_shared<SlowEdu>();
  ProcessorMaker maker = [this](const auto&) {
    return std::make_shared<edu::EduProcessor>(edu);
  };
  std::shared_ptr<LogLines> log = std::make_shared<LogLines>();
  std::unique_ptr<Server> server;
  std::future<bool> outcome;
};

TEST_F(ServerTest, PortZeroTakesAFreePort) {
  options.listen = {"tcp:127.0.0.1:0", "tcp:127.0.0.1:0"};
  start();
  auto addresses = server->addresses();
  ASSERT_EQ(addresses.size(), 2u);
  EXPECT_NE(addresses[0], addresses[1]);
  EXPECT_NE(parseUri(addresses[0]).port, 0);
  expectServes();
}

TEST_F(ServerTest, ASocketFileLeftBehindIsReplaced) {
  {
    Descriptor left(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path().copy(at.sun_path, sizeof at.sun_path - 1);
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&at), sizeof at),
              0);
  }
  start();
  expectServes();
  EXPECT_TRUE(stop());
  EXPECT_FALSE(std::filesystem::exists(path())) << "not removed at the end";
}

TEST_F(ServerTest, ASocketInUseIsNotTaken) {
  start();
  const std::string why = whyNotListening();
  EXPECT_NE(why.find("choose another path"), std::string::npos) << why;
  EXPECT_EQ(why.find("port"), std::string::npos) << "a path has none: " << why;
  expectServes();
}

TEST_F(ServerTest, AFileThatIsNoSocketIsNotReplaced) {
  std::ofstream(path()) << "precious";
  EXPECT_NE(whyNotListening().find("no socket"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path()), 8u);
  try {
    openTransport("unix:" + path());
    FAIL() << "a client connected to it";
  } catch (const TTransportException& error) {
    EXPECT_NE(std::string(error.what()).find("no socket"), std::string::npos)
        << error.what();
  }
}

// Two servers that find the same stale socket must not both replace it.
TEST_F(ServerTest, AListenerWaitsForAnotherThatIsBeginning) {
  Descriptor other = lockedFolder();
  auto listener = std::async(std::launch::async, [this] {
    return std::make_unique<Listener>(parseUri(options.listen[0]));
  });
  EXPECT_EQ(listener.wait_for(std::chrono::milliseconds(50)),
            std::future_status::timeout);
  EXPECT_FALSE(std::filesystem::exists(path()));
  other.reset();
  EXPECT_NE(listener.get(), nullptr);
}

TEST_F(ServerTest, AFolderThatStaysLockedIsAnError) {
  Descriptor other = lockedFolder();
  const std::string why = whyNotListening();
  EXPECT_NE(why.find(folder + " locked"), std::string::npos) << why;
}

TEST_F(ServerTest, ASocketsFileHasItsModeWhateverTheUmask) {
  struct stat file;
  const mode_t before = ::umask(0);
  for (mode_t mask : {0, 077}) {
    ::umask(mask);
    for (mode_t mode : {0600, 0660, 0777}) {
      const Listener listener(parseUri(options.listen[0]), {.mode = mode});
      ASSERT_EQ(::lstat(path().c_str(), &file), 0);
      EXPECT_EQ(file.st_mode & 07777, mode) << "umask " << mask;
    }
    const Listener usual(parseUri(options.listen[0]));
    ASSERT_EQ(::lstat(path().c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 07777, 0600u) << "umask " << mask;
  }
  ::umask(before);
}

TEST_F(ServerTest, AnotherUsersConnectionIsClosed) {
  options.access.uids = {::getuid() + 1, ::getuid() + 2};
  start();
  expectClosed(*raw());
  log->await("event=denied at=" + address() + " from=pid:" +
             std::to_string(::getpid()) + " uid=" + std::to_string(::getuid()));
}

TEST_F(ServerTest, AUserWhoIsNamedIsServed) {
  options.access.uids = {::getuid() + 1, ::getuid()};
  start();
  expectServes();
  EXPECT_EQ(log->count("event=denied"), 0);
}

// A device's connections begin with a header.
class ProxiedServerTest : public ServerTest {
 protected:
  ProxiedServerTest() { options.proxy = true; }

  static std::string header(std::uint32_t uid) {
    return test::proxyHeader(test::proxyField(0xe0, "edu0") +
                             test::proxyNumber(0xe1, 3) +
                             test::proxyNumber(0xe2, uid));
  }

  std::unique_ptr<StreamTransport> said(const std::string& bytes) {
    auto transport = raw();
    transport->write(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                     static_cast<std::uint32_t>(bytes.size()));
    return transport;
  }

  void expectServed(std::unique_ptr<StreamTransport> transport) {
    edu::EduClient client(protocolOn(std::move(transport)));
    client.ping();
  }
};

TEST_F(ProxiedServerTest, IsToldWhoCalls) {
  std::promise<Caller> told;
  maker = [&](const auto& connection) {
    told.set_value(callerOf(connection.transport));
    return std::make_shared<edu::EduProcessor>(edu);
  };
  start();
  expectServed(said(header(1000)));
  EXPECT_EQ(told.get_future().get(), (Caller{"edu0", 3, 1000}));
  EXPECT_EQ(log->count(" device=edu0 channel=3 uid=1000"), 1);
}

TEST_F(ProxiedServerTest, ServesWhomThePolicyAllows) {
  options.policy.allow("uid=0");
  start();
  expectServed(said(header(0)));
  expectClosed(*said(header(1000)));
  expectClosed(*said(header(1000)));
  EXPECT_GE(log->count("event=denied connection="), 1);
  EXPECT_GE(log->count("device=edu0 channel=3 uid=1000 denied="), 1);
  EXPECT_GE(log->count("rule=\"no --allow\""), 1);
  expectServed(said(header(0)));
}

TEST_F(ProxiedServerTest, MakesNoHandlerForWhomItDoesNotServe) {
  options.policy.deny("uid=1000");
  std::atomic<int> made{0};
  maker = [&](const auto&) {
    ++made;
    return std::make_shared<edu::EduProcessor>(edu);
  };
  start();
  expectClosed(*said(header(1000)));
  EXPECT_EQ(made, 0);
  expectServed(said(header(1001)));
  EXPECT_EQ(made, 1);
}

TEST_F(ProxiedServerTest, WhoDoesNotSayIsClosedAndNamedInTheLog) {
  start();
  expectClosed(*said(std::string("\x80\x01\x00\x01\x00\x00\x00\x04ping", 12)));
  log->await("event=failed");
  EXPECT_EQ(log->count("does not begin with a PROXY header; --proxy is for "
                       "devices with proxy=on"),
            1);
  expectServed(said(header(0)));
}

TEST_F(ProxiedServerTest, AHeaderThatTricklesInIsCutOff) {
  options.messageTimeoutMs = 50;
  start();
  auto silent = raw();
  auto halfway = said(header(0).substr(0, 20));
  expectClosed(*silent);
  expectClosed(*halfway);
}

TEST_F(ProxiedServerTest, StopsWhileItWaitsForAHeader) {
  start();
  auto silent = raw();
  log->await("event=connected");
  EXPECT_TRUE(stop());
}

TEST_F(ProxiedServerTest, AHeaderThatNobodyReadsIsNamedInTheLog) {
  options.proxy = false;
  for (Framing framing : {Framing::kBuffered, Framing::kFramed}) {
    options.framing = framing;
    start();
    expectClosed(*said(header(0) + "a call"));
    EXPECT_TRUE(stop());
    EXPECT_EQ(log->count("start this server with --proxy"), 1);
    log = std::make_shared<LogLines>();
  }
}

TEST_F(ServerTest, UsersAreNotForTcp) {
  options.listen = {"tcp:127.0.0.1:0"};
  options.access.uids = {::getuid()};
  try {
    listen();
    ADD_FAILURE() << "it listens";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("--allow-uid"), std::string::npos)
        << error.what();
  }
}

TEST_F(ServerTest, OneConnectionTooManyIsClosedAndTheOthersServed) {
  options.maxConnections = 2;
  start();
  auto first = raw();
  edu::EduClient second(protocolOn(openTransport(address())));
  second.ping();
  auto third = raw();
  expectClosed(*third);
  second.ping();
}

TEST_F(ServerTest, AConnectionCountsUntilItsCallIsDone) {
  options.maxConnections = 1;
  start();
  {
    edu::EduClient leaving(protocolOn(openTransport(address())));
    leaving.send_echo("long");
    edu->awaitRunning();
  }
  for (int i = 0; i < 3; ++i) expectClosed(*raw());
  EXPECT_EQ(log->count("event=full"), 1);
  edu->release();
  while (!isServed()) {
  }
}

TEST_F(ServerTest, AnIdleConnectionIsClosed) {
  options.idleTimeoutMs = 30;
  start();
  auto idle = raw();
  expectClosed(*idle);
}

TEST_F(ServerTest, AMessageThatTricklesInIsCutOff) {
  options.messageTimeoutMs = 50;
  start();
  auto slow = raw();
  const std::string begun("\x80\x01\x00\x01\x00\x00\x00\x04ping", 12);
  std::thread trickle([&] {
    // Ends when the server has closed the connection.
    try {
      slow->write(reinterpret_cast<const std::uint8_t*>(begun.data()),
                  begun.size());
      const std::uint8_t stuff[] = {0, 0, 0, 0, 0x0b, 0, 9, 0, 0, 0, 1, 'x'};
      slow->write(stuff, 4);
      for (;;) {
        slow->write(stuff + 4, 8);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } catch (const TTransportException&) {
    }
  });
  trickle.join();
  expectServes();
}

TEST_F(ServerTest, ForeignBytesCloseOnlyTheirConnection) {
  start();
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(1000, '\xff'),
        std::string("\x7e\xee\x10\xf5\x95", 5),
        std::string("\x80\x01\x00\x01\x7f\xff\xff\xff", 8),
        std::string("\x80\x01\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                    13)}) {
    auto hostile = raw();
    hostile->write(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                   bytes.size());
    expectClosed(*hostile);
  }
  expectServes();
}

TEST_F(ServerTest, AnErrorsTextStaysInItsFieldOfTheLog) {
  maker = [](const auto&) -> std::shared_ptr<apache::thrift::TProcessor> {
    throw std::runtime_error("a\"\nevent=forged " + std::string(1000, 'x'));
  };
  start();
  expectClosed(*raw());
  EXPECT_EQ(log->count("error=\"a??event=forged xx"), 1);
  EXPECT_EQ(log->count(std::string(512, 'x')), 0);
}

TEST_F(ServerTest, ALimitThatIsMetIsNamedInTheLog) {
  options.limits.stringBytes = 1000;
  options.limits.containerItems = 2;
  options.limits.messageBytes = 100'000;
  for (Framing framing : {Framing::kBuffered, Framing::kFramed}) {
    options.framing = framing;
    start();
    auto expectFails = [&](auto call) {
      ClientOptions client;
      client.framing = framing;
      auto transport = openTransport(address(), client);
      edu::EduClient edu(protocolOn(transport, client));
      EXPECT_THROW(call(edu), TTransportException);
    };
    std::vector<std::int32_t> numbers;
    std::string answer;
    expectFails([&](auto& edu) { edu.scale(numbers, {1, 2, 3}, 1); });
    expectFails([&](auto& edu) { edu.echo(answer, std::string(1001, 'x')); });
    expectFails(
        [&](auto& edu) { edu.echo(answer, std::string(100'001, 'x')); });
    EXPECT_TRUE(stop());
    EXPECT_EQ(log->count("event=failed"), 3);
    EXPECT_GE(log->count("--max-container"), 2);
    EXPECT_GE(log->count("--max-"), 3);
    log = std::make_shared<LogLines>();
  }
}

TEST_F(ServerTest, AClientThatLeavesInTheMiddleOfAMessageIsNamedPlainly) {
  start();
  const std::string half("\x80\x01\x00\x01\x00\x00\x00\x04pi", 10);
  raw()->write(reinterpret_cast<const std::uint8_t*>(half.data()), half.size());
  log->await(
      "error=\"the client closed the connection in the middle of a message\"");
}

TEST_F(ServerTest, ALogsRemediesSpeakOfTheClient) {
  options.messageTimeoutMs = 20;
  start();
  auto slow = raw();
  const std::uint8_t begun = 0x80;
  slow->write(&begun, 1);
  expectClosed(*slow);
  log->await("within --message-timeout\"");
}

class FailingEdu : public EduHandler {
 public:
  std::int32_t counter() override {
    throw std::runtime_error("out of \"numbers\"");
  }
  void note(const std::string& text) override {
    throw std::runtime_error(text);
  }
  std::int64_t factorial(std::int32_t) override {
    throw edu::OutOfRange();  // declared
  }
};

TEST_F(ServerTest, WhatAHandlerThrowsUndeclaredIsInTheLog) {
  auto shared =
      std::make_shared<edu::EduProcessor>(std::make_shared<FailingEdu>());
  maker = [shared](const auto&) { return shared; };
  start();
  edu::EduClient client(protocolOn(openTransport(address())));
  EXPECT_THROW(client.counter(), apache::thrift::TApplicationException);
  EXPECT_THROW(client.factorial(1), edu::OutOfRange);
  client.note("of a oneway call");
  client.ping();
  EXPECT_EQ(log->count("event=handler_error"), 2);
  EXPECT_EQ(log->count("method=Edu.counter error=\"out of ?numbers?\""), 1);
  EXPECT_EQ(log->count("method=Edu.note error=\"of a oneway call\""), 1);
}

// A whole program, ended by the signal that its client sends when it is done.
[[noreturn]] void serveOneFailingCall(const std::string& address) {
  ServerProgram program;
  program.makeServices = [](const ServerOptions&) {
    return std::vector<Service>{{"Edu", [](const auto&) {
                                   return std::make_shared<edu::EduProcessor>(
                                       std::make_shared<FailingEdu>());
                                 }}};
  };
  std::thread caller;
  program.onReady = [&] {
    caller = std::thread([&] {
      edu::EduClient client(protocolOn(openTransport(address)));
      EXPECT_THROW(client.counter(), apache::thrift::TApplicationException);
      ::kill(::getpid(), SIGTERM);
    });
  };
  std::string words[] = {"server", "--listen", address};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  int status = serve(3, argv, program);
  caller.join();
  std::exit(status);
}

TEST_F(ServerTest, AProgramsLogHasWhatAHandlerOfOneOfItsServicesThrows) {
  EXPECT_EXIT(serveOneFailingCall(options.listen[0]),
              ::testing::ExitedWithCode(0), "method=Edu.counter");
}

TEST_F(ServerTest, AClientThatDoesNotTakeItsAnswerIsCutOff) {
  options.sendTimeoutMs = 50;
  start();
  auto owned = std::make_unique<SocketIo>(parseUri(address()));
  SocketIo* io = owned.get();
  auto transport = stack(std::make_shared<StreamTransport>(std::move(owned)),
                         Framing::kBuffered, Limits());
  transport->open();
  edu::EduClient client(protocolOn(transport));
  // More than any socket buffer holds; the answer is not read.
  client.send_reflect(std::string(32 << 20, 'x'));
  EXPECT_TRUE(io->poll(0, 60'000) & POLLHUP) << "the server still waits";
  log->await("within --send-timeout\"");
  expectServes();
}

TEST_F(ServerTest, StopAnswersACallThatRunsAndEndsIdleConnections) {
  options.stopTimeoutMs = 0;  // however slow the machine
  start();
  auto idle = raw();
  auto transport = openTransport(address());
  std::string answer;
  std::thread caller([&] {
    edu::EduClient client(protocolOn(transport));
    client.echo(answer, "in time");
  });
  edu->awaitRunning();
  server->stop();
  expectClosed(*idle);
  EXPECT_THROW(openTransport("unix:" + path()), TTransportException);
  edu->release();
  caller.join();
  EXPECT_EQ(answer, "in time");
  EXPECT_TRUE(outcome.get());
}

TEST_F(ServerTest, StopIsNoticedWhileConnectionsFloodIn) {
  listen();
  std::vector<std::unique_ptr<StreamTransport>> flood;
  for (int i = 0; i < 200; ++i) flood.push_back(raw());
  log->onLine = [this](const std::string& line) {
    if (line.starts_with("event=connected")) server->stop();
  };
  EXPECT_TRUE(server->serve());
  EXPECT_LT(log->count("event=connected"), 200);
}

TEST_F(ServerTest, StopIsBoundedWhenACallDoesNotEnd) {
  options.stopTimeoutMs = 20;
  start();
  auto transport = openTransport(address());
  std::thread caller([&] {
    edu::EduClient client(protocolOn(transport));
    std::string answer;
    try {
      client.echo(answer, "too late");
    } catch (const TTransportException&) {
      // The handler, once released, may or may not still answer.
    }
  });
  edu->awaitRunning();
  EXPECT_FALSE(stop());
  edu->release();
  caller.join();
}

}  // namespace
}  // namespace lanecall
