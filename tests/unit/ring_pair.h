// SPDX-License-Identifier: Apache-2.0
//
// Two RingIo ends of one channel in plain memory: what a mapped device and a
// card channel are to RingTransport, and what no good device would do.
#ifndef LANECALL_TESTS_RING_PAIR_H
#define LANECALL_TESTS_RING_PAIR_H

#include <lanecall/mapping.h>
#include <lanecall/ring_io.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

namespace lanecall::test {

// Outlives its ends.
class RingPair {
 public:
  enum Side { kClient, kServer };

  explicit RingPair(std::uint32_t bytes = 4096);

  // The client's is to be opened, the server's is open.
  std::unique_ptr<RingIo> end(Side side);

  // What both sides see; index words may be spoiled.
  lanecall_index_page& words() { return words_; }

  // As if the side's channel had ended: 0, -ESHUTDOWN, or an error.
  void finish(Side side, int end);

  // Of each end made from now on: outgoing's and incoming's, if not null.
  lanecall_user_counters* counters[2] = {nullptr, nullptr};

  // Answers of the client's open() and status(), once each.
  int nextOpen = 0;
  int nextStatus = 0;
  std::atomic<int> nextPoll = 0;  // of the client, if not 0
  // Called in each poll() of the client, before it sleeps.
  std::function<void()> onPoll;
  // Called in each look of the client.
  std::function<void()> onLook;
  // When an end closes: what it was given is then no longer its.
  std::function<void()> onClose;

  // How often each side refused what the other did, was told, and slept.
  std::atomic<int> refused[2] = {0, 0};
  std::atomic<int> told[2] = {0, 0};
  std::atomic<int> slept[2] = {0, 0};

 private:
  friend class RingPairEnd;

  void signal(Side side);  // holds mutex_

  const std::uint32_t bytes_;
  Mapping memory_[2];
  lanecall_index_page words_{};
  std::atomic<int> ends_[2] = {0, 0};
  std::mutex mutex_;
  std::condition_variable changed_;
  // Not seen yet by waits for room, and for bytes: two threads may wait.
  bool signalled_[2][2] = {};
  bool interrupted_[2] = {false, false};
};

}  // namespace lanecall::test

#endif
