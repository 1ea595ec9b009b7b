// SPDX-License-Identifier: Apache-2.0
// Two real threads on one small ring: bytes arrive whole and in order, and
// nobody sleeps while there is work. A lost wake-up makes the wait run into
// its deadline, which is far longer than any machine needs.
#include <gtest/gtest.h>
#include <lanecall/ring.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "../seed.h"

namespace {

constexpr auto kDeadline = std::chrono::seconds(60);

// What an interrupt or a doorbell is to a sleeper.
class Event {
 public:
  void raise() {
    std::lock_guard lock(mutex_);
    raised_ = true;
    condition_.notify_one();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    const bool in_time =
        condition_.wait_for(lock, kDeadline, [&] { return raised_; });
    raised_ = false;
    return in_time;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool raised_ = false;
};

// The byte that belongs at a position of the stream.
unsigned char pattern(uint64_t i) {
  return static_cast<unsigned char>(i * 131 + (i >> 8) * 7 + (i >> 16));
}

struct Shared {
  explicit Shared(__u32 size) : bytes(size) {
    std::memset(&page, 0, sizeof page);
  }
  lanecall_index_page page;
  std::vector<unsigned char> bytes;
  Event data, room;
};

void produce(Shared& s, uint64_t total, unsigned seed, bool& ok) {
  std::mt19937 random(seed);
  lanecall_ring ring;
  lanecall_ring_init(&ring, &s.page.tx_producer, &s.page.tx_consumer,
                     s.bytes.size());
  for (uint64_t sent = 0; sent < total;) {
    __s64 space = lanecall_ring_space(&ring);
    if (space == 0) {
      const __u32 room = 1 + random() % ring.size;
      space = lanecall_ring_arm_space(&ring, room);
      if (space < room && !s.room.wait()) return;
      continue;
    }
    if (space < 0) return;
    const __u32 n = std::min<uint64_t>(1 + random() % space, total - sent);
    for (__u32 i = 0; i < n; ++i) {
      s.bytes[lanecall_ring_offset(&ring, ring.own + i)] = pattern(sent + i);
    }
    sent += n;
    if (lanecall_ring_publish(&ring, n)) s.data.raise();
  }
  ok = true;
}

void consume(Shared& s, uint64_t total, unsigned seed, bool& ok) {
  std::mt19937 random(seed);
  lanecall_ring ring;
  lanecall_ring_init(&ring, &s.page.tx_producer, &s.page.tx_consumer,
                     s.bytes.size());
  for (uint64_t seen = 0; seen < total;) {
    __s64 held = lanecall_ring_look(&ring);
    if (held == 0) {
      held = lanecall_ring_arm(&ring);
      if (held == 0 && !s.data.wait()) return;
      continue;
    }
    if (held < 0) return;
    const __u32 n = 1 + random() % held;
    for (__u32 i = 0; i < n; ++i) {
      if (s.bytes[lanecall_ring_offset(&ring, ring.own + i)] !=
          pattern(seen + i)) {
        return;
      }
    }
    seen += n;
    if (lanecall_ring_release(&ring, n)) s.room.raise();
  }
  ok = true;
}

TEST(RingStress, BytesArriveInOrderAndNobodySleepsOverWork) {
  const auto seed = static_cast<unsigned>(lanecall::test::announcedSeed());
  for (__u32 size : {1u, 2u, 64u, 4096u}) {
    SCOPED_TRACE(testing::Message() << "ring of " << size);
    const uint64_t total = size < 64 ? 20000 : 2000000;
    Shared shared(size);
    bool produced = false, consumed = false;
    std::thread producer([&] { produce(shared, total, seed, produced); });
    std::thread consumer([&] { consume(shared, total, seed + 1, consumed); });
    producer.join();
    consumer.join();
    EXPECT_TRUE(produced);
    EXPECT_TRUE(consumed);
  }
}

}  // namespace
