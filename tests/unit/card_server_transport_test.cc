// SPDX-License-Identifier: Apache-2.0
//
// Thrift's own server classes on a card port.
#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/card_server_transport.h>
#include <lanecall/open.h>
#include <thrift/concurrency/ThreadFactory.h>
#include <thrift/concurrency/ThreadManager.h>
#include <thrift/server/TSimpleServer.h>
#include <thrift/server/TThreadPoolServer.h>
#include <thrift/server/TThreadedServer.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "card_device.h"
#include "edu_handler.h"

namespace lanecall {
namespace {

using apache::thrift::server::TServer;
using apache::thrift::server::TServerEventHandler;
using apache::thrift::server::TSimpleServer;
using apache::thrift::server::TThreadedServer;
using apache::thrift::server::TThreadPoolServer;
using apache::thrift::transport::TTransportException;
using apache::thrift::transport::TTransportFactory;
using test::CardDevice;

class Ready : public TServerEventHandler {
 public:
  void preServe() override { promise.set_value(); }
  std::promise<void> promise;
};

class CardServerTransportTest : public ::testing::Test {
 protected:
  ~CardServerTransportTest() override {
    if (server) server->stop();
    if (thread.joinable()) thread.join();
    std::filesystem::remove_all(folder);
  }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    return ::mkdtemp(pattern.data());
  }

  template <typename Server, typename... More>
  void serve(More... more) {
    server = std::make_unique<Server>(
        std::make_shared<edu::EduProcessor>(std::make_shared<EduHandler>()),
        transport, std::make_shared<TTransportFactory>(),
        protocolFactory(Protocol::kBinary, Limits()), more...);
    auto ready = std::make_shared<Ready>();
    server->setServerEventHandler(ready);
    thread = std::thread([this] { server->serve(); });
    ready->promise.get_future().wait();
    device = std::make_unique<CardDevice>(path);
    device->greet();
  }

  // A client on a channel of its own; hangs up as a driver does.
  class Client {
   public:
    explicit Client(CardDevice& device)
        : device_(device),
          transport_(std::make_shared<RingTransport>(device.open())),
          id_(device.lastId()),
          edu(protocolFactory(Protocol::kBinary, Limits())
                  ->getProtocol(transport_)) {}
    void hangUp() {
      device_.send(LANECALL_CARD_DRAIN, id_);
      device_.expect(LANECALL_CARD_RELEASED, id_);
    }

   private:
    CardDevice& device_;
    std::shared_ptr<RingTransport> transport_;
    std::uint64_t id_;

   public:
    edu::EduClient edu;
  };

  void expectAnswers(edu::EduClient& edu) {
    // Larger than the rings.
    const std::string sent(100'000, 'x');
    std::string answer;
    for (int i = 0; i < 10; ++i) {
      edu.reflect(answer, sent);
      ASSERT_TRUE(answer == sent);
    }
  }

  const std::string folder = makeFolder();
  const std::string path = folder + "/card";
  std::shared_ptr<TCardServerTransport> transport =
      std::make_shared<TCardServerTransport>("unix:" + path);
  std::unique_ptr<TServer> server;
  std::thread thread;
  std::unique_ptr<CardDevice> device;
};

TEST_F(CardServerTransportTest, AThreadedServerServesChannelsAtTheSameTime) {
  serve<TThreadedServer>();
  Client a(*device);
  Client b(*device);
  expectAnswers(a.edu);
  expectAnswers(b.edu);
  expectAnswers(a.edu);
  a.hangUp();
  expectAnswers(b.edu);
  b.hangUp();
}

TEST_F(CardServerTransportTest, ASimpleServerServesOneAfterTheOther) {
  serve<TSimpleServer>();
  for (int i = 0; i < 3; ++i) {
    Client client(*device);
    expectAnswers(client.edu);
    client.hangUp();
  }
}

TEST_F(CardServerTransportTest, AThreadPoolServerServesChannels) {
  using namespace apache::thrift::concurrency;
  auto pool = ThreadManager::newSimpleThreadManager(2);
  pool->threadFactory(std::make_shared<ThreadFactory>());
  pool->start();
  serve<TThreadPoolServer>(pool);
  Client a(*device);
  Client b(*device);
  expectAnswers(a.edu);
  expectAnswers(b.edu);
  a.hangUp();
  b.hangUp();
}

TEST_F(CardServerTransportTest, StopEndsClientsThatStay) {
  serve<TThreadedServer>();
  Client client(*device);
  expectAnswers(client.edu);
  server->stop();
  thread.join();
  device->expect(LANECALL_CARD_END, device->lastId());
  server.reset();
}

TEST_F(CardServerTransportTest, AcceptSaysWhenItWasInterrupted) {
  transport->listen();
  transport->interrupt();
  try {
    transport->accept();
    FAIL() << "accepted";
  } catch (const TTransportException& error) {
    EXPECT_EQ(error.getType(), TTransportException::INTERRUPTED);
  }
}

TEST_F(CardServerTransportTest, AnInterruptComesBeforeClientsThatWait) {
  transport->listen();
  device = std::make_unique<CardDevice>(path);
  device->greet();
  auto first = device->open();
  auto second = device->open();
  transport->accept();
  transport->interrupt();
  EXPECT_THROW(transport->accept(), TTransportException);
  EXPECT_TRUE(transport->accept());
}

TEST_F(CardServerTransportTest, AnInterruptOfAServerThatEndedIsForgotten) {
  serve<TSimpleServer>();
  server->stop();
  thread.join();
  server->stop();
  serve<TSimpleServer>();
  Client client(*device);
  expectAnswers(client.edu);
  client.hangUp();
}

TEST_F(CardServerTransportTest, ListenSaysWhatIsWrong) {
  for (const std::string& address :
       {std::string("tcp:127.0.0.1:0"), "unix:" + folder + "/none/card"}) {
    TCardServerTransport wrong(address);
    try {
      wrong.listen();
      FAIL() << "listens at " << address;
    } catch (const TTransportException& error) {
      EXPECT_EQ(error.getType(), TTransportException::NOT_OPEN);
      EXPECT_NE(std::string(error.what()).find(address), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace lanecall
