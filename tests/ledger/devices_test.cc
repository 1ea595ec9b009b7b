// SPDX-License-Identifier: Apache-2.0
//
// A device that goes away and comes back while clients are in the middle of
// calls, their channels open and mapped: in every way that there is. In a
// guest.
#include <functional>
#include <string>
#include <vector>

#include "ground.h"
#include "machine.h"

namespace lanecall::ledger {
namespace {

class Devices : public Ground {
 protected:
  void SetUp() override {
    if (!settings().to.starts_with("pcie:"))
      GTEST_SKIP() << "there is no device here";
    begin();
  }

  // Again and again, at any point of clients' calls; each client gets calls
  // through afterwards.
  Verdict underLoad(const std::function<void()>& happen,
                    int times = settings().times) {
    Load::Options options;
    options.uri = uri();
    Load load(options, book(), channels(), random().below(1 << 30));
    load.awaitCalls(2);
    for (int i = 0; i < times; ++i) {
      const std::vector<std::uint64_t> before = load.failuresEach();
      passSomeTime();
      happen();
      load.awaitCalls(2);
      expectFewFailed(before, load.failuresEach());
    }
    load.stop();
    return settle();
  }

  // The call under way, and that of a channel which was opened meanwhile.
  static void expectFewFailed(const std::vector<std::uint64_t>& before,
                              const std::vector<std::uint64_t>& after) {
    for (std::size_t client = 0; client < before.size(); ++client)
      EXPECT_LE(after[client] - before[client], 2u)
          << "calls of client " << client << " were lost to one event";
  }
};

TEST_F(Devices, UnboundAndBoundAgain) {
  const Verdict verdict = underLoad([] {
    const PciDevice device;
    device.unbind();
    device.bind();
  });
  EXPECT_GT(verdict.unknown + verdict.notRun, 0u) << "nobody was in a call";
}

TEST_F(Devices, ResetByTheirFunction) {
  const Verdict verdict = underLoad([] { PciDevice().reset(); });
  EXPECT_GT(verdict.unknown + verdict.notRun, 0u) << "nobody was in a call";
}

// Of each severity: what the link mends by itself, of which QEMU 7.2 reports
// nothing, what ends a transaction, and what resets the link.
TEST_F(Devices, WithBusErrors) {
  const char* errors[] = {"-c edu0 RCVR",  "edu0 COMP_ABORT",
                          "edu0 MALF_TLP", "edu0 COMP_TIME",
                          "edu0 DLP",      "-c edu0 BAD_TLP"};
  const Verdict verdict = underLoad([&, i = 0]() mutable {
    const std::string error = errors[i++ % std::size(errors)];
    PciDevice().reportErrors();
    const std::string answer = monitor("pcie_aer_inject_error " + error);
    EXPECT_NE(answer.find("OK id: edu0"), std::string::npos)
        << error << ": " << answer;
  });
  if (settings().times > 1) {
    EXPECT_GT(verdict.unknown + verdict.notRun, 0u)
        << "the kernel knows of no error";
  }
}

TEST_F(Devices, PulledOutAndPluggedInAgain) {
  const Verdict verdict = underLoad([this] {
    const PciDevice device;
    device.pullOut();
    passSomeTime();
    device.remove();
    plugIn();
  });
  EXPECT_GT(verdict.unknown + verdict.notRun, 0u) << "nobody was in a call";
}

// The kernel blinks for five seconds before it lets go: a few times.
TEST_F(Devices, RemovedInOrderAndPluggedInAgain) {
  const Verdict verdict = underLoad(
      [] {
        EXPECT_EQ(monitor("device_del edu0"), "");
        awaitNode(false);
        plugIn();
      },
      1 + settings().times / 5);
  EXPECT_GT(verdict.unknown + verdict.notRun, 0u) << "nobody was in a call";
}

// breaker.py is between the device and its server.
TEST_F(Devices, WhoseSocketIsResetInTheMiddleOfMessages) {
  Load::Options options;
  options.uri = uri();
  Load load(options, book(), channels(), random().below(1 << 30));
  while (load.failures() < static_cast<std::uint64_t>(settings().times))
    load.awaitCalls(1);
  load.stop();
  settle();
}

}  // namespace
}  // namespace lanecall::ledger
