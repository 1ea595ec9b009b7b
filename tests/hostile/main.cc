// SPDX-License-Identifier: Apache-2.0
//
// hostile_tests: see --help, and gtest's own.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>

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
  app.add_option("--messages", settings.messages, "How many, in all")
      ->required();
  app.add_option("--memory", megabytes,
                 "MiB that the server may grow by; 0: not looked at [0]");
  app.add_option("--seed", settings.seed, "Of all that is random")
      ->envname("LANECALL_SEED");
  CLI11_PARSE(app, argc, argv);
  settings.memoryMost = megabytes << 20;
  if (settings.seed == 0) settings.seed = std::random_device{}();
  std::printf("LANECALL_SEED=%llu\n",
              static_cast<unsigned long long>(settings.seed));
  std::fflush(stdout);

  std::vector<std::string> rest = app.remaining();
  std::vector<char*> words = {argv[0]};
  for (std::string& word : rest) words.push_back(word.data());
  int count = static_cast<int>(words.size());
  words.push_back(nullptr);
  ::testing::InitGoogleTest(&count, words.data());
  if (count > 1) {
    std::fprintf(stderr, "%s: unknown option %s\n", argv[0], words[1]);
    return 2;
  }
  return RUN_ALL_TESTS();
}
