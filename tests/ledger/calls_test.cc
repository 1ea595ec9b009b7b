// SPDX-License-Identifier: Apache-2.0
//
// Many calls of every size by several clients at once, none of which may fail;
// their answers have the same digest over whatever way.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>

#include "answers.h"
#include "ground.h"
#include "sizes.h"

namespace lanecall::ledger {
namespace {

constexpr int kClients = 4;
constexpr std::uint32_t kRings[kClients] = {4096, 8192, 16384, 65536};
constexpr int kCallsOfARound = 20'000;
constexpr std::uint32_t kMessageLimit = 128 << 10;

using Digests = Shared<std::array<std::uint64_t, kClients>>;

class Calls : public Ground {
 protected:
  void SetUp() override {}

  // The clients' calls, side by side. False if one failed.
  bool run(int calls) {
    pid_t children[kClients];
    for (int i = 0; i < kClients; ++i) {
      children[i] = ::fork();
      if (children[i] == 0) ::_exit(runOne(i, calls / kClients) ? 0 : 1);
    }
    bool good = true;
    for (const pid_t child : children) {
      int status = 1;
      good = child > 0 && ::waitpid(child, &status, 0) == child &&
             status == 0 && good;
    }
    return good;
  }

  std::uint64_t digest() const {
    std::string all;
    for (const std::uint64_t each : *digests_)
      all.append(reinterpret_cast<const char*>(&each), sizeof each);
    return digestOf(all);
  }

  std::uint64_t roundSeed_ = 0;

 private:
  static ClientOptions optionsOf(int client) {
    ClientOptions options = patient();
    options.framing = settings().framing;
    options.limits.messageBytes = kMessageLimit;
    options.txRingBytes = options.rxRingBytes = kRings[client];
    options.mode = client % 2 ? DeviceMode::kReadWrite : DeviceMode::kAutomatic;
    return options;
  }

  bool runOne(int client, int calls) try {
    Random random(roundSeed_ + static_cast<std::uint64_t>(client));
    const Sizes sizes(kRings[client], kMessageLimit);
    std::uint64_t& digest = (*digests_)[static_cast<std::size_t>(client)];
    Caller caller(uri(), optionsOf(client), (*channels())++, book());
    for (int i = 0; i < calls; ++i) {
      std::string data = random.bytes(sizes.request(random));
      const auto answer = static_cast<std::int32_t>(sizes.answer(random));
      if (caller.call(std::move(data), answer) != What::kOk) return false;
      digest = digest * 1099511628211U ^ caller.digest();
    }
    return true;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "client %d: %s\n", client, error.what());
    return false;
  }

  const Digests digests_;
};

TEST_F(Calls, OfEverySizeGiveTheSameAsOverTcp) {
  int done = 0;
  while (done < settings().calls) {
    const int calls = std::min(kCallsOfARound, settings().calls - done);
    begin({"--max-message", std::to_string(kMessageLimit)});
    roundSeed_ = random().below(1ULL << 60);
    ASSERT_TRUE(run(calls)) << "after " << done;
    const Verdict verdict = settle();
    ASSERT_EQ(verdict.ok,
              static_cast<std::uint64_t>(calls / kClients * kClients));
    done += calls;
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, digest());
  std::printf("digest of %d calls: %s\n", done, text);
  if (!settings().digest.empty()) {
    EXPECT_EQ(text, settings().digest);
  }
}

}  // namespace
}  // namespace lanecall::ledger
