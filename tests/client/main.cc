// SPDX-License-Identifier: Apache-2.0
//
// client_tests: the same tests over every path, on the host (tcp, unix) and in
// a guest (pcie too, with servers on the host). See --help, and gtest's own.
#include <CLI/CLI.hpp>

#include "../run_tests.h"
#include "../seed.h"
#include "settings.h"

namespace lanecall::test {
namespace {
Settings fromCommandLine;
}
const Settings& settings() { return fromCommandLine; }
}  // namespace lanecall::test

int main(int argc, char** argv) {
  auto& settings = lanecall::test::fromCommandLine;
  CLI::App app("Client tests over every path. Takes gtest's options too.");
  app.allow_extras();
  app.add_option("--path", settings.paths,
                 "tcp, unix, or pcie:/dev/lanecallN; once for each")
      ->required();
  app.add_option("--server", settings.server,
                 "The lanecall-server to start on this machine");
  app.add_option("--control", settings.control,
                 "The lanecall-harness that starts servers for tcp and pcie");
  app.add_option_function<std::string>(
      "--mode",
      [&](const std::string& name) {
        settings.mode = lanecall::parseDeviceMode(name);
      },
      "pcie: auto, mapped or rw [auto]");
  app.add_option_function<std::string>(
      "--spin",
      [&](const std::string& text) {
        settings.spin = lanecall::parseSpin(text);
      },
      "pcie: never, always, adaptive or microseconds [adaptive]");
  app.add_flag("--lends", settings.lends,
               "pcie: the servers are the device's card, memory is lent");
  app.add_flag("--quick", settings.quick, "Fewer repetitions");
  auto* seed = app.add_option("--seed", settings.seed, "Of random calls");
  app.add_option("--cleans", settings.cleans,
                 "How many random cleans of virtines by reference");
  CLI11_PARSE(app, argc, argv);
  if (seed->count() == 0) settings.seed = lanecall::test::announcedSeed();

  return lanecall::test::runTests(argv[0], app.remaining());
}
