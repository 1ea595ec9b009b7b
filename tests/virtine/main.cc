// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "../seed.h"
#include "settings.h"

namespace lanecall::test {

Settings& settings() {
  static Settings all;
  return all;
}

}  // namespace lanecall::test

int main(int argc, char** argv) {
  using lanecall::test::settings;
  testing::InitGoogleTest(&argc, argv);
  CLI::App app("Tests of virtines' shells.");
  app.add_flag("--kvm", settings().kvm, "Test shells of KVM, too");
  auto* seed = app.add_option("--seed", settings().seed, "Of random tests");
  CLI11_PARSE(app, argc, argv);
  if (seed->count() == 0) settings().seed = lanecall::test::announcedSeed();
  return RUN_ALL_TESTS();
}
