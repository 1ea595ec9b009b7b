// SPDX-License-Identifier: Apache-2.0
//
// ledger_tests: calls counted one by one, in a guest or on its host. See
// --help, and gtest's own.
#include <CLI/CLI.hpp>

#include "../run_tests.h"
#include "../seed.h"
#include "settings.h"

namespace lanecall::ledger {
namespace {
Settings fromCommandLine;
}
const Settings& settings() { return fromCommandLine; }
}  // namespace lanecall::ledger

int main(int argc, char** argv) {
  auto& settings = lanecall::ledger::fromCommandLine;
  CLI::App app("Counts calls one by one. Takes gtest's options too.");
  app.allow_extras();
  app.add_option("--to", settings.to, "Where clients go to")->required();
  app.add_option("--listen", settings.listen, "Where the server listens")
      ->required();
  app.add_option("--control", settings.control,
                 "The lanecall-harness that starts servers");
  app.add_option("--server", settings.server,
                 "The ledger-server to start, without a harness");
  app.add_option("--ledger", settings.ledger,
                 "What names of the servers' files begin with")
      ->required();
  app.add_option("--monitor", settings.monitor, "tcp: QEMU's monitor");
  app.add_option("--device", settings.device,
                 "What device_add makes the device of");
  app.add_option("--port", settings.port,
                 "A device for what clients write down, instead of memory");
  app.add_option_function<std::string>(
      "--framing",
      [&](const std::string& name) {
        settings.framing = lanecall::parseFraming(name);
      },
      "buffered or framed [buffered]");
  app.add_option("--calls", settings.calls, "How many calls")
      ->capture_default_str();
  app.add_option("--times", settings.times, "How many kills, resets...")
      ->capture_default_str();
  app.add_option("--digest", settings.digest,
                 "Of all answers to the calls with this seed");
  auto* seed = app.add_option("--seed", settings.seed, "Of what is random");
  CLI11_PARSE(app, argc, argv);
  if (seed->count() == 0) settings.seed = lanecall::test::announcedSeed();

  return lanecall::test::runTests(argv[0], app.remaining());
}
