// SPDX-License-Identifier: Apache-2.0
//
// Clients that are killed at any point of a call: the others lose nothing.
#include "ground.h"

namespace lanecall::ledger {
namespace {

using Clients = Ground;

TEST_F(Clients, KilledAtAnyPointDoNotHarmOthers) {
  Load::Options options;
  options.uri = uri();
  options.clients = 3;
  Load bystanders(options, book(), channels(), random().below(1 << 30));
  options.clients = 4;
  Load victims(options, book(), channels(), random().below(1 << 30));
  bystanders.awaitCalls(1);
  for (int i = 0; i < settings().times; ++i) {
    victims.awaitCalls(1);
    passSomeTime();
    victims.replace(i % options.clients);
  }
  victims.awaitCalls(1);
  bystanders.awaitCalls(10);
  victims.stop();
  bystanders.stop();
  const Verdict verdict = settle();
  EXPECT_EQ(bystanders.failures(), 0u) << "calls of bystanders were lost";
  EXPECT_EQ(victims.failures(), 0u) << "calls of those that were not killed";
  EXPECT_LE(verdict.unknown, static_cast<std::uint64_t>(settings().times))
      << "one for each that was killed, at most";
}

}  // namespace
}  // namespace lanecall::ledger
