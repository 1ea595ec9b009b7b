// SPDX-License-Identifier: Apache-2.0
//
// The same random calls over every path give the same bytes. The digest is
// printed, so that runs on different machines with one seed can be compared.
#include <cinttypes>
#include <cstdio>
#include <map>

#include "fixture.h"
#include "random.h"

namespace lanecall::test {
namespace {

// FNV-1a, 64 bits: repeatable, and any changed byte changes it.
class Digest {
 public:
  void add(const std::string& bytes) {
    for (unsigned char c : bytes) value_ = (value_ ^ c) * 0x100000001b3;
    // The length, so that bytes cannot move from one answer to the next.
    value_ = (value_ ^ bytes.size()) * 0x100000001b3;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

// Mostly small, now and then large, often at a power of two.
std::size_t randomSize(Random& random) {
  const std::size_t power = std::size_t{1} << random.below(17);
  switch (random.below(4)) {
    case 0:
      return power - 1 + random.below(3);
    default:
      return random.below(power + 1);
  }
}

class SameResultsTest : public ClientTest {};
LANECALL_ON_EVERY_PATH(SameResultsTest);

TEST_P(SameResultsTest, RandomCallsGiveTheSameBytesOnEveryPath) {
  static std::map<std::uint64_t, std::string> digests;
  const int calls = settings().scaled(10'000, 1'000);
  auto client = connect();
  Random random(settings().seed);
  Digest digest;
  for (int i = 0; i < calls; ++i) {
    if (random.below(3) == 0) {
      client->edu.ping();
      digest.add("ping");
      continue;
    }
    const std::string sent = random.bytes(randomSize(random));
    std::string answer;
    client->edu.reflect(answer, sent);
    ASSERT_TRUE(answer == sent) << "call " << i << ", seed " << settings().seed;
    digest.add(answer);
  }
  std::printf("digest of %d calls over %s with seed %" PRIu64 ": %016" PRIx64
              "\n",
              calls, GetParam().c_str(), settings().seed, digest.value());
  digests.emplace(digest.value(), GetParam());
  EXPECT_EQ(digests.size(), 1u) << "seed " << settings().seed;
}

}  // namespace
}  // namespace lanecall::test
