// SPDX-License-Identifier: Apache-2.0
#include "virtine_runs.h"

#include <lanecall/kvm_shell.h>
#include <lanecall/plain_shell.h>
#include <lanecall/virtine_pool.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "clock.h"
#include "transports.h"

namespace lanecall::bench {
namespace {

constexpr std::uint32_t kPagesWritten = 16;

using ImagePtr = std::shared_ptr<const VirtineImage>;

std::unique_ptr<Shell> makeShell(const ImagePtr& image, const Test& test) {
  if (!whyNoKvm().empty())
    return std::make_unique<PlainShell>(image, test.bytes);
  return std::make_unique<KvmShell>(
      image, test.bytes, test.dirtyOnly ? DirtyLog::kOn : DirtyLog::kOff);
}

void runOnce(Shell& shell) {
  if (shell.run(kPagesWritten) != kPagesWritten)
    throw std::runtime_error("a function in a virtine gave a wrong answer");
}

void checkClean(Shell& shell) {
  const auto memory = shell.memory();
  const auto image = shell.image();
  const bool isClean =
      std::memcmp(memory.data(), image.data(), image.size()) == 0 &&
      std::all_of(memory.begin() + image.size(), memory.end(),
                  [](std::uint8_t byte) { return byte == 0; });
  if (!isClean)
    throw std::runtime_error("a virtine began in memory that is not clean");
}

// Runs a function each time that it is called, in clean memory.
class Runs : public Connection {
 public:
  void warmUp(const Span& span) override {
    const Span whole{span.untilNs, std::max(span.calls, warmUpRuns())};
    for (std::size_t made = 0; !whole.isOver(nowNs(), made); ++made)
      runInClean(checkClean);
  }

  void run(const Span& span, int, Latencies& latencies) override {
    begin();
    std::int64_t before = nowNs();
    while (latencies.room() > 0) {
      runInClean([](Shell&) {});
      const std::int64_t now = nowNs();
      latencies.add(now - before);
      before = now;
      if (span.isOver(now, latencies.count())) break;
    }
  }

 protected:
  using Look = void (*)(Shell&);

  // look: at the shell, before the function runs.
  virtual void runInClean(Look look) = 0;
  // Before there is nothing new any more.
  virtual std::size_t warmUpRuns() const { return 0; }
  // Of run().
  virtual void begin() {}
};

// What a run takes by itself.
class UncleanedRuns : public Runs {
 public:
  explicit UncleanedRuns(const Test& test)
      : shell_(makeShell(makeVirtineImage(pageWriter(), test.bytes), test)) {}

 private:
  void runInClean(Look) override {
    runOnce(*shell_);
    shell_->reset();
  }

  const std::unique_ptr<Shell> shell_;
};

class MemcpyRuns : public Runs {
 public:
  explicit MemcpyRuns(const Test& test)
      : dirtyOnly_(test.dirtyOnly),
        shell_(makeShell(makeVirtineImage(pageWriter(), test.bytes), test)) {}

 private:
  void runInClean(Look look) override {
    look(*shell_);
    runOnce(*shell_);
    if (dirtyOnly_)
      for (const virtine::Extent& extent : shell_->dirty())
        clean(extent.offset, extent.length);
    else
      clean(0, shell_->memory().size());
    shell_->reset();
  }

  void clean(std::size_t offset, std::size_t length) {
    std::memcpy(shell_->memory().data() + offset,
                shell_->image().data() + offset, length);
  }

  const bool dirtyOnly_;
  const std::unique_ptr<Shell> shell_;
};

// How much of the time in which a pool's shells were being cleaned functions
// ran in. Looked at when one has been released: a pool hears of cleans that are
// done only when it needs a shell, so that all of the turn counts, or nothing
// of it.
class Overlap {
 public:
  // A function ran for so long since the last time.
  void add(std::int64_t runNs, const VirtinePoolCounters& counters) {
    const std::int64_t now = nowNs();
    if (wasCleaning_) {
      cleaningNs_ += now - beforeNs_;
      runNs_ += runNs;
    }
    wasCleaning_ = counters.cleaning > 0;
    beforeNs_ = now;
  }

  std::optional<double> share() const {
    if (cleaningNs_ == 0) return {};
    return static_cast<double>(runNs_) / static_cast<double>(cleaningNs_);
  }

 private:
  bool wasCleaning_ = false;
  std::int64_t beforeNs_ = 0;
  std::int64_t cleaningNs_ = 0;
  std::int64_t runNs_ = 0;
};

class PoolRuns : public Runs {
 public:
  PoolRuns(const Channel& channel, const Test& test, std::size_t batch)
      : dirtyOnly_(test.dirtyOnly),
        pool_(
            [test, image = makeVirtineImage(pageWriter(), test.bytes)] {
              return makeShell(image, test);
            },
            [channel] { return connectTo(channel); }, optionsFor(batch)) {
    if (channel.kind == Channel::Kind::kPcie && !pool_.counters().byReference)
      throw std::runtime_error(
          "memory would travel in messages: the device has no regions, or its "
          "server no DMA");
  }

 private:
  static VirtineService connectTo(const Channel& channel) {
    ClientOptions options;
    options.connectTimeoutMs = kTimeoutMs;
    options.receiveTimeoutMs = kTimeoutMs;
    options.sendTimeoutMs = kTimeoutMs;
    options.framing = channel.framing;
    options.mode = channel.mode;
    options.spin = channel.spin;
    return openVirtineService(uriOf(channel), options);
  }

  // A batch is cleaned while another runs, with a few in between.
  static VirtinePoolOptions optionsFor(std::size_t batch) {
    VirtinePoolOptions options;
    options.batch = batch;
    options.lowWater = std::min<std::size_t>(4, batch);
    options.highWater = 2 * batch + options.lowWater;
    options.most = options.highWater;
    return options;
  }

  void runInClean(Look look) override {
    VirtinePool::Lease shell = pool_.acquire(kTimeoutMs);
    if (!shell) throw std::runtime_error("the pool has no clean virtine left");
    look(*shell);
    const std::int64_t begunNs = nowNs();
    runOnce(*shell);
    const std::int64_t runNs = nowNs() - begunNs;
    if (dirtyOnly_) {
      auto dirty = shell->dirty();
      pool_.release(std::move(shell), std::move(dirty));
    } else {
      pool_.release(std::move(shell));
    }
    const VirtinePoolCounters counters = pool_.counters();
    if (counters.losses > 0 || counters.failed > 0)
      throw std::runtime_error("the service did not clean a virtine");
    overlap_.add(runNs, counters);
  }

  // Each shell several times: a virtual machine's first run takes milliseconds,
  // and with all of them in it a slice would measure little else.
  std::size_t warmUpRuns() const override { return 5 * pool_.counters().made; }
  void begin() override { overlap_ = {}; }
  std::optional<double> overlap() const override { return overlap_.share(); }

  const bool dirtyOnly_;
  VirtinePool pool_;
  Overlap overlap_;
};

}  // namespace

std::unique_ptr<Connection> runVirtines(const Channel& channel,
                                        const Test& test, int batch) {
  if (test.isUncleaned) return std::make_unique<UncleanedRuns>(test);
  if (channel.kind == Channel::Kind::kMemory)
    return std::make_unique<MemcpyRuns>(test);
  return std::make_unique<PoolRuns>(channel, test,
                                    static_cast<std::size_t>(batch));
}

std::string virtineKind() {
  const std::string why = whyNoKvm();
  return why.empty() ? "KVM" : "plain memory: " + why;
}

}  // namespace lanecall::bench
