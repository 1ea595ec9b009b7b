// SPDX-License-Identifier: Apache-2.0
#include "counters.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace lanecall::bench {
namespace {

class BenchCounters : public ::testing::Test {
 protected:
  BenchCounters() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  ~BenchCounters() override { std::filesystem::remove_all(folder); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder + "/" + name) << text;
  }

  std::string folder;
};

TEST_F(BenchCounters, AddsWhatProgramsCountThemselves) {
  write("doorbells", "3\n");
  write("user_doorbells", "4\n");
  write("interrupts", "18446744073709551615\n");
  write("user_spins", "5\n");
  write("state", "running\n");
  EXPECT_EQ(
      readCounters(folder),
      (Counters{{"doorbells", 7}, {"interrupts", UINT64_MAX}, {"spins", 5}}));
  EXPECT_TRUE(readCounters(folder + "/nowhere").empty());
}

TEST_F(BenchCounters, DifferencesAreByName) {
  EXPECT_EQ(difference({{"doorbells", 3}, {"spins", 5}},
                       {{"doorbells", 10}, {"spins", 5}}),
            (Counters{{"doorbells", 7}, {"spins", 0}}));
  EXPECT_TRUE(difference({}, {}).empty());
}

TEST_F(BenchCounters, AreFoundByTheNode) {
  EXPECT_EQ(countersOf("/dev/lanecall12"),
            "/sys/class/lanecall/lanecall12/total");
}

}  // namespace
}  // namespace lanecall::bench
