// SPDX-License-Identifier: Apache-2.0
// debug_tests: what only a debug kernel can test, or shows the outcome of. Runs
// in its guest, as root, with the devices of run_driver_tests. See --help, and
// gtest's own.
#include <CLI/CLI.hpp>

#include "../run_tests.h"
#include "../seed.h"
#include "settings.h"

namespace lanecall::debug_tests {
namespace {
Settings fromCommandLine;
}
const Settings& settings() { return fromCommandLine; }
}  // namespace lanecall::debug_tests

int main(int argc, char** argv) {
  auto& settings = lanecall::debug_tests::fromCommandLine;
  CLI::App app("Tests for a debug kernel. Takes gtest's options too.");
  app.allow_extras();
  app.add_option("--calls", settings.calls, "Random system calls")
      ->capture_default_str();
  app.add_option("--faults", settings.faults,
                 "Failing allocations in each operation, at most")
      ->capture_default_str();
  app.add_option("--seconds", settings.seconds, "How long to soak")
      ->capture_default_str();
  app.add_option("--cases", settings.cases,
                 "Places and kinds of lies of a device, at most")
      ->capture_default_str();
  app.add_option("--lies", settings.lies, "Random lies of a device")
      ->capture_default_str();
  auto* seed = app.add_option("--seed", settings.seed, "Of what is random");
  CLI11_PARSE(app, argc, argv);
  if (seed->count() == 0) settings.seed = lanecall::test::announcedSeed();

  return lanecall::test::runTests(argv[0], app.remaining());
}
