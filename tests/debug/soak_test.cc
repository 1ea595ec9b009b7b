// SPDX-License-Identifier: Apache-2.0
// Everything that programs do with the driver in order, at once and for long:
// bytes over both planes in both modes, opening and closing, memory that is
// lent and moved. Afterwards the kernel has no more memory in use than before.
#include <dirent.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../guest/card_orders.h"
#include "../guest/mapping.h"
#include "settings.h"

namespace lanecall::debug_tests {
namespace {

using namespace guest_tests;
using Clock = std::chrono::steady_clock;

constexpr int kExchanges = 20;  // over one channel
constexpr std::size_t kLongest = 3 * kPage;

struct Done {
  std::atomic<long> opens{0};
  std::atomic<long> exchanges{0};
  std::atomic<long> loans{0};
  std::atomic<long> moves{0};
};

// ---- What one thread does, again and again ----------------------------------

// Reads and writes a channel to its end, or closes it in the middle.
class Caller {
 public:
  Caller(const char* device, Done& done, std::uint64_t seed)
      : device_(device), done_(done), random_(seed) {}

  void operator()() {
    const bool mapped = random_() % 2 && mapped_mode_is_there();
    if (mapped) {
      MappedChannel channel = MappedChannel::with("echo", device_);
      exchange([&](const std::string& data) { channel.send(data); },
               [&](std::size_t count) { return channel.receive(count); });
    } else {
      Fd fd = open_with("echo", device_);
      exchange([&](const std::string& data) { write_all(fd.get(), data); },
               [&](std::size_t count) { return read_count(fd.get(), count); });
    }
    done_.opens++;
  }

 private:
  void exchange(const std::function<void(const std::string&)>& send,
                const std::function<std::string(std::size_t)>& receive) {
    for (int i = 0; i < kExchanges; i++) {
      const std::string data = pattern(random_() % 256, random_() % kLongest);
      send(data);
      if (random_() % kExchanges == 0) return;  // unread bytes are dropped
      EXPECT_EQ(receive(data.size()), data);
      done_.exchanges++;
    }
  }

  const char* device_;
  Done& done_;
  std::mt19937_64 random_;
};

// Lends memory, has it filled if the card can, and takes it back, or leaves
// that to close().
class Lender {
 public:
  Lender(Done& done, std::uint64_t seed) : done_(done), random_(seed) {}

  void operator()() {
    Memory memory(kPage * (1 + random_() % 64));
    const Lent lent(memory.data(), memory.bytes());
    done_.loans++;
    if (is_booted_with("lanecall_test.dma")) fill(memory, lent);
    if (random_() % 2) {
      EXPECT_EQ(unregister_region(lent.fd.get(), lent.region.region), 0);
    }
  }

 private:
  void fill(const Memory& memory, const Lent& lent) {
    const auto byte = static_cast<std::uint8_t>(random_());
    lent.writtenHere();
    EXPECT_EQ(card_fills(lent.region.key, 0, memory.bytes(), byte).error, 0);
    lent.readHere();
    EXPECT_EQ(memory.data()[0], byte);
    EXPECT_EQ(memory.data()[memory.bytes() - 1], byte);
    done_.moves++;
  }

  Done& done_;
  std::mt19937_64 random_;
};

void soak(std::chrono::seconds time, std::uint64_t seed, Done& done) {
  std::vector<std::function<void()>> work = {Caller(kPeer, done, seed),
                                             Caller(kPeer, done, seed + 1),
                                             Caller(kTcpPeer, done, seed + 2)};
  if (device_takes_regions()) work.push_back(Lender(done, seed + 3));
  const auto end = Clock::now() + time;
  std::vector<std::thread> threads;
  for (auto& each : work) {
    threads.emplace_back([&each, end] {
      while (Clock::now() < end && !::testing::Test::HasFailure()) each();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// ---- The kernel's memory ----------------------------------------------------

// Objects that were freed go back: those that KASAN holds on to, too.
void shrink_slabs() {
  const std::string folder = "/sys/kernel/slab/";
  EXPECT_TRUE(write_file("/proc/sys/vm/drop_caches", "2"));
  DIR* slabs = ::opendir(folder.c_str());
  ASSERT_NE(slabs, nullptr) << folder << ": " << std::strerror(errno);
  while (const dirent* slab = ::readdir(slabs))
    if (slab->d_name[0] != '.')
      write_file(folder + slab->d_name + "/shrink", "1");
  ::closedir(slabs);
}

long slab_kilobytes() {
  shrink_slabs();
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    long kilobytes = 0;
    if (word == "Slab:" && file >> kilobytes) return kilobytes;
  }
  ADD_FAILURE() << "/proc/meminfo has no Slab";
  return 0;
}

TEST(Soak, TakesNoMemory) {
  const std::chrono::seconds time{settings().seconds};
  Done warming;
  soak(time / 4, settings().seed, warming);
  const long before = slab_kilobytes();
  Done done;
  soak(time, settings().seed + 100, done);
  std::printf("%ld channels, %ld exchanges, %ld loans, %ld moves by the card\n",
              done.opens.load(), done.exchanges.load(), done.loans.load(),
              done.moves.load());
  EXPECT_TRUE(all_channels_free());
  EXPECT_TRUE(all_channels_free(kTcpPeer));
  EXPECT_EQ(pinned_pages(), 0U);
  // What waits for a grace period is freed soon.
  long after = 0;
  EXPECT_TRUE(eventually([&] {
    after = slab_kilobytes();
    return after - before < before / 100;
  }));
  std::printf("slabs: %ld KiB before, %ld KiB after\n", before, after);
}

}  // namespace
}  // namespace lanecall::debug_tests
