// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "random.h"
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
  settings().seed = lanecall::Random::freshSeed();
  app.add_flag("--kvm", settings().kvm, "Test shells of KVM, too");
  app.add_option("--seed", settings().seed, "Of random tests; printed");
  CLI11_PARSE(app, argc, argv);
  std::printf("--seed %llu\n",
              static_cast<unsigned long long>(settings().seed));
  return RUN_ALL_TESTS();
}
