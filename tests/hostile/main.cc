// SPDX-License-Identifier: Apache-2.0
//
// hostile_tests: see --help, and gtest's own.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "../run_tests.h"
#include "../seed.h"
#include "settings.h"

namespace lanecall::test {
namespace {
HostileSettings fromCommandLine;
}
const HostileSettings& settings() { return fromCommandLine; }
}  // namespace lanecall::test

int main(int argc, char** argv) {
  auto& settings = lanecall::test::fromCommandLine;
  std::uint64_t megabytes = 0;
  CLI::App app("Hostile peers of a server. Takes gtest's options too.");
  app.allow_extras();
  app.add_option("--server", settings.server, "The lanecall-server to start")
      ->required();
  app.add_option("--server-option", settings.serverOptions,
                 "One more for it; any number")
      ->take_all();
  app.add_option("--messages", settings.messages, "How many, in all")
      ->required();
  app.add_option("--memory", megabytes,
                 "MiB that the server may grow by; 0: not looked at [0]");
  auto* seed =
      app.add_option("--seed", settings.seed, "Of all that is random");
  CLI11_PARSE(app, argc, argv);
  settings.memoryMost = megabytes << 20;
  if (seed->count() == 0) settings.seed = lanecall::test::announcedSeed();

  return lanecall::test::runTests(argv[0], app.remaining());
}
