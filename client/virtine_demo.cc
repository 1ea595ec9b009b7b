// SPDX-License-Identifier: Apache-2.0
#include "virtine_demo.h"

#include <lanecall/kvm_shell.h>
#include <lanecall/plain_shell.h>
#include <lanecall/virtine_pool.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

namespace lanecall {
namespace {

constexpr std::size_t kMiB = 1 << 20;
constexpr std::size_t kShells = 8;  // of a size
constexpr std::size_t kBatch = 4;
constexpr int kAcquireMs = 30'000;
constexpr std::uint32_t kFibonacciOf = 15;
constexpr std::uint32_t kFibonacci = 610;

// What came of one function in shells of one size.
struct Row {
  const VirtineFunction* function;
  std::size_t bytes = 0;
  std::uint32_t runs = 0;
  std::uint64_t byService = 0;  // cleans by the co-processor
  std::uint64_t byCopy = 0;     // cleans here, by memcpy
  std::uint64_t unclean = 0;    // runs that began in a shell that was not clean
  std::uint64_t found = 0;      // runs that found a secret
};

bool is_zero(std::span<const std::uint8_t> bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 &&
          std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Every byte is looked at, so the functions of the C library that are fast.
bool is_clean(Shell& shell) {
  const auto image = shell.image();
  const auto memory = shell.memory();
  return std::memcmp(memory.data(), image.data(), image.size()) == 0 &&
         is_zero(memory.subspan(image.size()));
}

void runIn(Shell& shell, Row& row) {
  row.unclean += !is_clean(shell);
  const bool hunts = row.function == &secretHunter();
  // The hunter's is where it leaves the secret.
  const std::uint32_t result = shell.run(hunts ? row.runs * 8 : kFibonacciOf);
  if (hunts)
    row.found += result != 0;
  else if (result != kFibonacci)
    throw std::runtime_error(
        "a virtine's Fibonacci number " + std::to_string(kFibonacciOf) +
        " is " + std::to_string(result) + ", not " +
        std::to_string(kFibonacci) + ": its shell was spoilt");
  ++row.runs;
}

class Demo {
 public:
  Demo(Session& session, const VirtineDemoOptions& options)
      : session_(session), options_(options), kvm_(useKvm(options.shells)) {}

  int run() {
    std::printf("%-8s %-13s %6s %15s %10s %8s %8s\n", "memory", "function",
                "runs", "by co-processor", "by memcpy", "unclean", "secrets");
    for (std::size_t bytes : options_.sizes) {
      const std::uint32_t hunts = huntsIn(bytes);
      show(runMany(fibonacci(), bytes, std::max(hunts / 10, 1u)));
      show(runMany(secretHunter(), bytes, hunts));
    }
    return conclude();
  }

 private:
  // Says what the shells are.
  static bool useKvm(ShellKind kind) {
    const std::string why =
        kind == ShellKind::kPlain ? "it was asked for" : whyNoKvm();
    if (kind == ShellKind::kKvm && !why.empty()) throw std::runtime_error(why);
    if (why.empty())
      std::printf("Virtines are virtual machines of KVM.\n");
    else
      std::printf(
          "Virtines are models in plain memory, no virtual machines: "
          "%s\n",
          why.c_str());
    return why.empty();
  }

  std::uint32_t huntsIn(std::size_t bytes) const {
    const std::uint32_t mebibytes = std::max<std::size_t>(bytes / kMiB, 1);
    return std::max(options_.runs / mebibytes, 1u);
  }

  // Memory is half image, half zeroes.
  VirtinePool::Maker makerOf(const VirtineFunction& function,
                             std::size_t bytes) const {
    auto image = makeVirtineImage(function, bytes / 2);
    return [image, bytes, kvm = kvm_]() -> std::unique_ptr<Shell> {
      if (kvm) return std::make_unique<KvmShell>(image, bytes);
      return std::make_unique<PlainShell>(image, bytes);
    };
  }

  Row runMany(const VirtineFunction& function, std::size_t bytes,
              std::uint32_t runs) {
    Row row{&function, bytes};
    auto maker = makerOf(function, bytes);
    if (options_.clean)
      runPooled(row, maker, runs);
    else
      runUncleaned(row, maker, runs);
    return row;
  }

  void runPooled(Row& row, const VirtinePool::Maker& maker,
                 std::uint32_t runs) {
    VirtinePoolOptions options;
    options.batch = kBatch;
    options.lowWater = 1;
    options.highWater = options.most = kShells;
    VirtinePool pool(
        maker,
        [&] {
          return openVirtineService(session_.path(), options_.connection);
        },
        options);
    byReference_ = pool.counters().byReference;
    while (row.runs < runs) {
      auto shell = acquireFrom(pool);
      runIn(*shell, row);
      auto dirty = shell->dirty();
      pool.release(std::move(shell), std::move(dirty));
    }
    checkAll(pool, row);
    const auto counters = pool.counters();
    row.byService = counters.cleaned;
    row.byCopy = counters.cleanedHere;
    copied_ += counters.cleanedHere;
    isLost_ = isLost_ || !counters.connected;
  }

  // Waits until every shell is clean, and looks at all of them, so that the
  // last runs' cleans count too.
  static void checkAll(VirtinePool& pool, Row& row) {
    std::vector<VirtinePool::Lease> shells;
    while (shells.size() < kShells) {
      shells.push_back(acquireFrom(pool));
      row.unclean += !is_clean(*shells.back());
    }
  }

  static VirtinePool::Lease acquireFrom(VirtinePool& pool) {
    auto shell = pool.acquire(kAcquireMs);
    if (!shell)
      throw std::runtime_error("no shell was clean within " +
                               std::to_string(kAcquireMs / 1000) +
                               " s; see the server's log");
    return shell;
  }

  // Only the registers are put back.
  static void runUncleaned(Row& row, const VirtinePool::Maker& maker,
                           std::uint32_t runs) {
    std::vector<std::unique_ptr<Shell>> shells;
    while (shells.size() < kShells) shells.push_back(maker());
    while (row.runs < runs) {
      Shell& shell = *shells[row.runs % kShells];
      runIn(shell, row);
      shell.reset();
    }
  }

  void show(const Row& row) {
    const bool hunts = row.function == &secretHunter();
    std::printf("%4zu %s %-13s %6u %15llu %10llu %8llu %8s\n",
                row.bytes < kMiB ? row.bytes >> 10 : row.bytes >> 20,
                row.bytes < kMiB ? "KiB" : "MiB", row.function->name, row.runs,
                static_cast<unsigned long long>(row.byService),
                static_cast<unsigned long long>(row.byCopy),
                static_cast<unsigned long long>(row.unclean),
                hunts ? std::to_string(row.found).c_str() : "-");
    std::fflush(stdout);  // the next may take long
    runs_ += row.runs;
    hunts_ += hunts ? row.runs : 0;
    unclean_ += row.unclean;
    found_ += row.found;
  }

  int conclude() const {
    if (isLost_)
      std::printf(
          "The service was lost meanwhile: %llu shells were cleaned by "
          "memcpy.\n",
          static_cast<unsigned long long>(copied_));
    std::printf("%s\n", !options_.clean ? "Nothing was cleaned, as asked for."
                        : byReference_
                            ? "The co-processor reached the memory by DMA."
                            : "The memory travelled inside messages.");
    std::printf(
        "%llu of %llu runs began in a shell that was not clean; %llu "
        "of %llu hunts found a secret.\n",
        static_cast<unsigned long long>(unclean_),
        static_cast<unsigned long long>(runs_),
        static_cast<unsigned long long>(found_),
        static_cast<unsigned long long>(hunts_));
    return unclean_ || found_ || isLost_ ? 1 : 0;
  }

  Session& session_;
  const VirtineDemoOptions& options_;
  const bool kvm_;
  bool byReference_ = false;
  bool isLost_ = false;
  std::uint64_t copied_ = 0;  // cleaned here, not by the service
  std::uint64_t runs_ = 0;
  std::uint64_t hunts_ = 0;
  std::uint64_t unclean_ = 0;
  std::uint64_t found_ = 0;
};

}  // namespace

ShellKind parseShellKind(const std::string& name) {
  if (name == "auto") return ShellKind::kAuto;
  if (name == "kvm") return ShellKind::kKvm;
  if (name == "plain") return ShellKind::kPlain;
  throw std::invalid_argument("'" + name +
                              "': unknown shells; use auto, kvm or plain");
}

int runVirtineDemo(Session& session, const VirtineDemoOptions& options) {
  return Demo(session, options).run();
}

}  // namespace lanecall
