// SPDX-License-Identifier: Apache-2.0
//
// A pool of clean shells. Whoever has run a function in one gives it back
// dirty and goes on; a co-processor (service VirtineCleanup) cleans it
// meanwhile, by DMA where there is a device, in batches.
//
//   lanecall::VirtinePool pool(
//       [&] { return std::make_unique<KvmShell>(image, bytes); },
//       [] { return lanecall::openVirtineService("pcie:/dev/lanecall0"); });
//   auto shell = pool.acquire(timeoutMs);
//   shell->run(argument);
//   auto dirty = shell->dirty();
//   pool.release(std::move(shell), std::move(dirty));
//
// - A shell that is handed out is clean: it was cleaned by the service, which
//   said so for as many bytes as were dirty, or by this process from the pool's
//   own copy of the image. What the service says it wrote is believed: it can
//   write to the memory in any case.
// - A shell that is being cleaned is never handed out. One whose clean failed,
//   or took too long, is in quarantine: its memory stays lent until the device
//   is done with it, is then taken back, and cleaned here. A shell whose memory
//   the device does not give back is destroyed.
// - A service that is lost, or breaks its own rules, is not used again until
//   reconnect(): the pool says so once, and acquire() cleans the shells that
//   were released, by memcpy; those that the device might still write to only
//   when the device has given back their memory.
//
// There is no thread in it: release() sends a batch when there is one,
// acquire() collects what is done when no clean shell is left. Threads may
// share a pool; one of them at a time talks to the service, the others do not
// wait for it unless they need a shell.
#ifndef LANECALL_VIRTINE_POOL_H
#define LANECALL_VIRTINE_POOL_H

#include <lanecall/shell.h>
#include <lanecall/virtine_service.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lanecall {

class PooledShell;
class VirtinePoolCore;

struct VirtinePoolOptions {
  // So many dirty shells are sent together; fewer, if the clean ones have
  // fallen to lowWater and the service has nothing to do, or if somebody has
  // waited in vain. At least 1.
  std::size_t batch = 16;
  // acquire(), when it has to wait for the service, waits for so many shells,
  // or for all if fewer are there. At least 1.
  std::size_t reapAtLeast = 1;
  // Clean shells, ready to be handed out: the constructor makes highWater of
  // them, and what is cleaned beyond that is destroyed.
  std::size_t lowWater = 4;
  std::size_t highWater = 32;
  // Shells in all, handed out or not; at least highWater. Beyond highWater they
  // are made when more threads wait for one than are on their way.
  std::size_t most = 64;
  // A clean that takes longer, from being sent to being collected by somebody
  // who waits for it, puts the shell into quarantine. At least 1.
  int cleanTimeoutMs = 10'000;
  // The service is given up when so many are in quarantine for that reason, or
  // when no shell is left because of them.
  std::size_t mostLate = 16;
  // Have the service read back what it wrote and compare.
  bool verify = false;
  // One line, for whoever runs the program; by default to standard error. From
  // any thread that uses the pool; must not throw, nor use the pool.
  std::function<void(const std::string& line)> say;
};

struct VirtinePoolCounters {
  // How many there are now. Their sum is all shells but those being made,
  // cleaned here, or destroyed at the moment.
  std::uint64_t ready = 0;
  std::uint64_t out = 0;       // handed out
  std::uint64_t dirty = 0;     // not sent yet
  std::uint64_t cleaning = 0;  // at the service, in time
  std::uint64_t quarantine = 0;
  // How many there were.
  std::uint64_t acquired = 0;
  std::uint64_t exhausted = 0;  // acquire() had none to give
  std::uint64_t waited = 0;     // acquire() waited for the service
  std::uint64_t released = 0;
  std::uint64_t made = 0;
  std::uint64_t destroyed = 0;
  std::uint64_t batches = 0;
  std::uint64_t submitted = 0;      // shells in them
  std::uint64_t cleaned = 0;        // by the service
  std::uint64_t failed = 0;         // cleans that did not succeed, or lied
  std::uint64_t late = 0;           // that took too long
  std::uint64_t cleanedHere = 0;    // by memcpy
  std::uint64_t restoredBytes = 0;  // by the service: from the snapshot
  std::uint64_t zeroedBytes = 0;    // and above it
  std::uint64_t losses = 0;         // of the service
  bool connected = false;
  bool byReference = false;  // memory is lent, not sent
};

class VirtinePool {
 public:
  // Makes a shell, always of the same image and size. Called in the constructor
  // and in acquire(), by one thread at a time.
  using Maker = std::function<std::unique_ptr<Shell>()>;
  // Connects, once in the constructor and once in each reconnect(). Its receive
  // timeout bounds the calls of this pool: choose at least a second. Nobody
  // else may use the connection; the pool ends it.
  using Connector = std::function<VirtineService()>;

  // A shell that is handed out; one thread's at a time. Destroyed, it is
  // released as all dirty. May live longer than the pool.
  class Lease {
   public:
    Lease() noexcept;  // none
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();

    explicit operator bool() const { return shell_ != nullptr; }
    Shell& operator*() const;
    Shell* operator->() const { return &**this; }

   private:
    friend class VirtinePool;
    Lease(std::shared_ptr<VirtinePoolCore> pool,
          std::unique_ptr<PooledShell> shell);

    std::shared_ptr<VirtinePoolCore> pool_;
    std::unique_ptr<PooledShell> shell_;
  };

  // Makes highWater shells and attaches them. Without a connector all cleaning
  // is done here. Throws what maker and connector throw, the service's own
  // exceptions, std::system_error (memory cannot be lent), and
  // std::invalid_argument (options, or shells that differ).
  VirtinePool(Maker maker, Connector connector,
              VirtinePoolOptions options = {});
  // Ends what is under way: waits until the device is done with the memory.
  ~VirtinePool();
  VirtinePool(const VirtinePool&) = delete;
  VirtinePool& operator=(const VirtinePool&) = delete;

  // A clean shell, after reset(). Waits at most timeoutMs for one (0: not at
  // all, beyond one call to the service), and gives none after that. Only
  // memory that the device will not give back can hold it up longer: until the
  // driver resets the device (10 s, its parameter revoke_ms). Throws what the
  // maker and the shell's reset() throw.
  Lease acquire(int timeoutMs);

  // Everything may be dirty, or just the extents, in any order; nothing if
  // there are none. Does not wait for cleaning: sending a batch takes
  // microseconds where memory is lent, but as long as its bytes take where it
  // is not. Throws std::invalid_argument for extents that overlap or are not
  // inside the memory; then the shell stays with the lease.
  void release(Lease&& lease);
  void release(Lease&& lease, std::vector<virtine::Extent> dirty);

  // Connects again once the service is lost; before that, nothing. Shells go
  // back to it as they are released. Throws as the constructor; then cleaning
  // goes on here.
  void reconnect();

  VirtinePoolCounters counters() const;

 private:
  std::shared_ptr<VirtinePoolCore> core_;
};

}  // namespace lanecall

#endif
