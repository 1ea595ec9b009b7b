// SPDX-License-Identifier: Apache-2.0
//
// Sizes at every boundary, many bytes, many channels.
#include <atomic>
#include <barrier>
#include <thread>

#include "fixture.h"
#include "random.h"

namespace lanecall::test {
namespace {

class SizesTest : public ClientTest {
 protected:
  static void expectReflected(edu::EduClient& edu, std::size_t size,
                              std::uint64_t seed) {
    const std::string sent = Random(seed).bytes(size);
    std::string answer;
    edu.reflect(answer, sent);
    EXPECT_TRUE(answer == sent) << size << " bytes, seed " << seed;
  }
};
LANECALL_ON_EVERY_PATH(SizesTest);

TEST_P(SizesTest, EveryBoundary) {
  auto client = connect();
  std::vector<std::size_t> sizes = {0,    1,    511,  512,     513,
                                    4095, 4096, 4097, 1 << 20, 16 << 20};
  // Rings of these sizes are exactly full, or not quite, with the payload
  // alone, and with the message around it.
  for (std::size_t ring : {64 << 10, 128 << 10, 256 << 10}) {
    for (std::size_t size = ring - 1; size <= ring + 1; ++size)
      sizes.push_back(size);
    // reflect's call is 4 + 4 + 7 + 4 + 3 + 4 bytes before the payload, 1
    // after.
    for (std::size_t size = ring - 28; size <= ring - 26; ++size)
      sizes.push_back(size);
  }
  for (std::size_t size : sizes)
    expectReflected(client->edu, size, settings().seed + size);
}

TEST_P(SizesTest, ThreeHundredMebibytesThroughOneConnection) {
  auto client = connect();
  const std::string sent = Random(settings().seed).bytes(1 << 20);
  // Even quickly, more than Thrift's budget of 100 MB for a connection.
  const int count = settings().scaled(300, 110);
  for (int i = 0; i < count; ++i) {
    std::string answer;
    client->edu.reflect(answer, sent);
    ASSERT_TRUE(answer == sent) << "after " << i << " MiB";
  }
}

TEST_P(SizesTest, SixtyFourChannelsAtOnce) {
  constexpr int kChannels = 64;
  const int calls = settings().scaled(50, 10);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kChannels; ++i) clients.push_back(connectWhenFree());
  std::barrier start(kChannels);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kChannels; ++i) {
    threads.emplace_back([&, i] {
      Random random(settings().seed + i);
      start.arrive_and_wait();
      try {
        for (int call = 0; call < calls; ++call) {
          const std::string sent = random.bytes(random.below(20'000));
          std::string answer;
          clients[i]->edu.reflect(answer, sent);
          if (answer != sent) ++wrong;
        }
      } catch (const std::exception& error) {
        ADD_FAILURE() << "channel " << i << ": " << error.what();
        ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0) << "seed " << settings().seed;
}

}  // namespace
}  // namespace lanecall::test
