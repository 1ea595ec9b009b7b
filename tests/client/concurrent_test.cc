// SPDX-License-Identifier: Apache-2.0
//
// Thrift's generated ConcurrentClient: one connection, shared by threads.
#include <thrift/TApplicationException.h>
#include <thrift/async/TConcurrentClientSyncInfo.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fixture.h"

namespace lanecall::test {
namespace {

using apache::thrift::async::TConcurrentClientSyncInfo;

constexpr int kThreads = 8;

class ConcurrentTest : public ClientTest {
 protected:
  // One thread's calls.
  using Calls = std::function<void(edu::EduConcurrentClient&, int thread)>;

  void share(const Calls& calls) {
    ClientOptions options = patience();
    options.shared = true;
    const TransportPtr transport = openTransport(uri(), options);
    edu::EduConcurrentClient client(
        protocolOn(transport, options), protocolOn(transport, options),
        std::make_shared<TConcurrentClientSyncInfo>());
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] { calls(client, i); });
    for (std::thread& thread : threads) thread.join();
  }
};
LANECALL_ON_EVERY_PATH(ConcurrentTest);

TEST_P(ConcurrentTest, EachThreadGetsItsOwnAnswers) {
  const int calls = settings().scaled(2'000, 200);
  share([&](edu::EduConcurrentClient& client, int thread) {
    try {
      for (int i = 0; i < calls; ++i) {
        // Of different lengths, and now and then one that is an exception.
        const std::string text =
            std::to_string(thread) + "/" + std::string(i * 37 % 3000, 'x');
        std::string answer;
        client.echo(answer, text);
        ASSERT_EQ(answer, text);
        ASSERT_EQ(client.factorial(thread % 3), thread % 3 < 2 ? 1 : 2);
        if (i % 10 == 0) client.note(text);
        if (i % 10 == 5) {
          EXPECT_THROW(client.factorial(21 + thread), edu::OutOfRange);
        }
      }
    } catch (const std::exception& error) {
      ADD_FAILURE() << "thread " << thread << ": " << error.what();
    }
  });
}

// Every one of them has an end, whoever finds out first.
TEST_P(ConcurrentTest, TheServersEndIsEveryThreads) {
  std::atomic<int> busy = 0;
  std::atomic<int> failed = 0;
  std::thread killer([&] {
    while (busy < kThreads) std::this_thread::yield();
    killServer();
  });
  share([&](edu::EduConcurrentClient& client, int) {
    try {
      client.ping();
      ++busy;
      for (;;) client.ping();
    } catch (const apache::thrift::TException&) {
      ++failed;
    }
  });
  killer.join();
  EXPECT_EQ(failed, kThreads);
}

}  // namespace
}  // namespace lanecall::test
