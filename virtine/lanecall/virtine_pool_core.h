// SPDX-License-Identifier: Apache-2.0
//
// What a pool and its leases share.
//
// A shell is in one place at a time: in a lease, in one of the queues below, in
// the table of tickets, or in the hands of the thread that works on it. Only
// ready_ is handed out, and it gets what a completion says is clean, or what
// was cleaned here.
//
// mutex_ guards all of it, and is not held during any call. Calls to the
// service, and taking memory back, are for the thread that has the word: who
// has set talking_. So nobody takes a lost connection's end for the device
// being done before it is.
#ifndef LANECALL_VIRTINE_POOL_CORE_H
#define LANECALL_VIRTINE_POOL_CORE_H

#include <lanecall/cleaning_link.h>
#include <lanecall/deadline.h>
#include <lanecall/pooled_shell.h>
#include <lanecall/virtine_pool.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace lanecall {

class VirtinePoolCore {
 public:
  using ShellPtr = std::unique_ptr<PooledShell>;

  VirtinePoolCore(VirtinePool::Maker maker, VirtinePool::Connector connector,
                  VirtinePoolOptions options);
  ~VirtinePoolCore() { close(); }

  // As in VirtinePool; null: none.
  ShellPtr acquire(int timeoutMs);
  // As release(), of a shell that knows what is dirty.
  void release(ShellPtr shell);
  void reconnect();
  VirtinePoolCounters counters() const;

  // No shells and no connection any more; what is released later is destroyed.
  void close();

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  // A shell at the service.
  struct Cleaning {
    ShellPtr shell;
    Clock::time_point due;
    bool late = false;
  };
  using Completions = std::vector<virtine::Completion>;

  // The word, for as long as this lives. The lock is held at both ends.
  class Word;
  // A thread that waits for a shell, likewise.
  class Waiter;
  // Between its ends the lock is not held.
  class Unlocked;

  ShellPtr make();
  std::unique_ptr<CleaningLink> connect();

  std::size_t shellsOnTheirWay() const;
  bool canTalk() const;
  bool canMake() const;
  bool hasToSend() const;
  bool shouldSend() const;
  ShellPtr takeReady();
  ShellPtr takeUncleaned();

  ShellPtr waitForOne(Lock& lock, int timeoutMs);
  ShellPtr afterReset(Lock& lock, ShellPtr shell);
  ShellPtr makeOne(Lock& lock);
  void cleanHere(Lock& lock, PooledShell& shell);

  void talk(Lock& lock, bool toWait, int waitMs);
  void sendAllDue(Lock& lock);
  void send(Lock& lock);
  void attachAll(Lock& lock);
  void collect(Lock& lock, int waitMs);
  void sortOut(Lock& lock, const Completions& completions);
  void countCleaned(const virtine::CleanResult& result);
  void markLate(Lock& lock);
  void destroySurplus(Lock& lock);
  void destroy(Lock& lock, ShellPtr shell);
  void detach(Lock& lock, PooledShell& shell);
  void fail(ShellPtr shell);
  void lose(Lock& lock, const std::string& why);
  template <typename Shells>
  static void moveLent(Shells& from, std::vector<ShellPtr>& to);

  void sayFailed(Lock& lock, const std::string& why);
  void say(Lock& lock, const std::string& line);

  const VirtinePool::Maker make_;
  const VirtinePool::Connector connect_;
  const VirtinePoolOptions options_;
  std::shared_ptr<const ImageBytes> image_;  // once the first shell is made
  std::size_t memoryBytes_ = 0;
  std::mutex making_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ShellPtr> ready_;  // the last one in is the first one out
  std::deque<ShellPtr> dirty_;
  std::vector<ShellPtr> sending_;
  std::unordered_map<virtine::Ticket, Cleaning> cleaning_;
  std::size_t late_ = 0;       // of them
  std::size_t accepting_ = 0;  // no longer there, being looked at
  // To be cleaned here, wholly, after their memory was taken back.
  std::deque<ShellPtr> failed_;
  std::size_t shells_ = 0;   // in all
  std::size_t waiting_ = 0;  // threads, for a shell
  bool talking_ = false;
  bool connected_ = false;
  bool closed_ = false;
  std::uint64_t links_ = 0;       // so far
  VirtinePoolCounters counters_;  // but what is counted above
  std::uint64_t sayFailedAt_ = 1;

  // Replaced by who has the word, not while connected_.
  std::unique_ptr<CleaningLink> link_;
};

}  // namespace lanecall

#endif
