// SPDX-License-Identifier: Apache-2.0
//
// A guest that restarts while its clients are in the middle of calls. Runs in
// each of its lives; run_ledger has the server, what all clients have written
// down, and the comparison.
#include <sys/reboot.h>
#include <unistd.h>

#include "ground.h"
#include "machine.h"

namespace lanecall::ledger {
namespace {

constexpr int kChannelsOfALife = 1 << 20;

// With the kernel's help, or as if by a button.
[[noreturn]] void restart(bool inOrder) {
  if (inOrder)
    ::reboot(RB_AUTOBOOT);
  else
    monitor("system_reset");
  for (;;) ::pause();
}

TEST(Reboots, InTheMiddleOfCalls) {
  if (settings().port.empty()) GTEST_SKIP() << "for a guest that may restart";
  LedgerClient server(protocolOn(openTransport(settings().control, patient())));
  const auto life = static_cast<std::uint64_t>(server.turn());
  const Book book(settings().port);
  const Channels channels(1 + life * kChannelsOfALife);
  Random random(settings().seed + life);
  Load::Options options;
  options.uri = settings().to;
  Load load(options, book, channels, random.below(1 << 30));
  load.awaitCalls(3 + random.below(20));
  if (life < static_cast<std::uint64_t>(settings().times))
    restart(life % 2 == 0);
  load.stop();
}

}  // namespace
}  // namespace lanecall::ledger
