// SPDX-License-Identifier: Apache-2.0
//
// A server that is killed in the middle of calls, or stops for a while, and
// comes back.
#include "ground.h"

namespace lanecall::ledger {
namespace {

class Servers : public Ground {
 protected:
  Load::Options options() const {
    Load::Options options;
    options.uri = uri();
    options.impatientMs = 20;
    options.stallUs = 1'000;
    return options;
  }
};

TEST_F(Servers, KilledInTheMiddleOfCallsAndStartedAgain) {
  Load load(options(), book(), channels(), random().below(1 << 30));
  for (int i = 0; i < settings().times; ++i) {
    load.awaitCalls(1);
    passSomeTime();
    killServer();
    passSomeTime();
    startServer();
  }
  load.awaitCalls(1);
  load.stop();
  const Verdict verdict = settle();
  EXPECT_GT(verdict.unknown + verdict.notRun, 0u) << "nobody was in a call";
}

TEST_F(Servers, StoppedInTheMiddleOfCallsAndContinuedOrKilled) {
  Load load(options(), book(), channels(), random().below(1 << 30));
  for (int i = 0; i < settings().times; ++i) {
    load.awaitCalls(1);
    passSomeTime();
    harness().pause(server());
    passSomeTime();
    if (random().below(2)) {
      harness().resume(server());
    } else {
      killServer();
      startServer();
    }
  }
  load.awaitCalls(1);
  load.stop();
  settle();
}

}  // namespace
}  // namespace lanecall::ledger
