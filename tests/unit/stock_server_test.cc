// SPDX-License-Identifier: Apache-2.0
//
// A server class of Thrift's own, with the library's factories: what a server
// that is not built on ours has to do.
#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/buffered.h>
#include <lanecall/open.h>
#include <thrift/server/TThreadedServer.h>
#include <thrift/transport/TServerSocket.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <thread>

#include "edu_handler.h"

namespace lanecall {
namespace {

using apache::thrift::server::TServerEventHandler;
using apache::thrift::server::TThreadedServer;
using apache::thrift::transport::TServerSocket;

class Ready : public TServerEventHandler {
 public:
  void preServe() override { promise.set_value(); }
  std::promise<void> promise;
};

TEST(StockServerTest, OutlivesThriftsBudgetWithOurFactories) {
  std::string folder = ::testing::TempDir() + "lanecall-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  Limits limits;
  limits.messageBytes = limits.stringBytes = 1 << 20;
  TThreadedServer server(
      std::make_shared<edu::EduProcessor>(std::make_shared<EduHandler>()),
      std::make_shared<TServerSocket>(folder + "/socket"),
      std::make_shared<StackFactory>(Framing::kBuffered, limits),
      protocolFactory(Protocol::kBinary, limits));
  auto ready = std::make_shared<Ready>();
  server.setServerEventHandler(ready);
  std::thread thread([&] { server.serve(); });
  ready->promise.get_future().wait();
  {
    edu::EduClient client(
        protocolOn(openTransport("unix:" + folder + "/socket")));
    const std::string sent(600'000, 'x');
    // Ten times the budget that would be spent for good.
    for (int i = 0; i < 20; ++i) {
      std::string answer;
      client.reflect(answer, sent);
      ASSERT_TRUE(answer == sent) << i;
    }
  }
  server.stop();
  thread.join();
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace lanecall
