// SPDX-License-Identifier: Apache-2.0
// `lanecall stat` on a folder like the driver's in sysfs.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <stdexcept>

#include "stat_commands.h"

namespace lanecall {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class Stat : public ::testing::Test {
 protected:
  Stat() {
    std::string name = fs::temp_directory_path() / "lanecall-stat.XXXXXX";
    if (!::mkdtemp(name.data())) throw std::runtime_error("no folder");
    folder_ = name;
  }
  ~Stat() override { fs::remove_all(folder_); }

  void put(const std::string& file, const std::string& value) {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << value << "\n";
  }

  // One device of two channels; the second is open.
  void putDevice(const std::string& name) {
    put(name + "/channels", "2");
    put(name + "/channel0/state", "closed");
    put(name + "/channel1/state", "running");
    put(name + "/channel1/pid", "42");
    put(name + "/channel1/comm", "client");
    put(name + "/channel1/plane", "direct");
    put(name + "/channel1/mode", "mapped");
    put(name + "/channel1/interrupts", "3");
    put(name + "/channel1/user_flushes", "1000");
    put(name + "/total/interrupts", "30");
  }

  std::string error() {
    try {
      readStats(folder_);
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "none";
  }

  fs::path folder_;
};

TEST_F(Stat, WithoutADriverNamesTheRemedy) {
  fs::remove(folder_);
  EXPECT_NE(error().find("modprobe lanecall"), std::string::npos) << error();
}

TEST_F(Stat, WithoutADeviceNamesTheRemedy) {
  EXPECT_NE(error().find("-device edu,rpc="), std::string::npos) << error();
}

TEST_F(Stat, HasOpenChannelsAndATotalForEachDeviceInOrder) {
  putDevice("lanecall10");
  putDevice("lanecall9");
  std::vector<std::string> found;
  for (const ChannelStat& stat : readStats(folder_))
    found.push_back(stat.device + " " + stat.channel);
  EXPECT_EQ(found,
            (std::vector<std::string>{"lanecall9 1", "lanecall9 total",
                                      "lanecall10 1", "lanecall10 total"}));
}

TEST_F(Stat, MarksWhatProgramsSay) {
  putDevice("lanecall0");
  EXPECT_EQ(
      tableOf(readStats(folder_)),
      "DEVICE     CHANNEL  PID  COMMAND  PLANE   MODE    STATE    TX-BYTES  "
      "RX-BYTES  FLUSHES  DOORBELLS  INTERRUPTS  SPINS  SLEEPS  FULL-WAITS\n"
      "lanecall0  1        42   client   direct  mapped  running         0  "
      "       0    1000*          0           3      0       0           0\n"
      "lanecall0  total                                                  0  "
      "       0        0          0          30      0       0           0\n"
      "* with what programs say of channels they have mapped\n");
}

TEST_F(Stat, RatesAreWhatWasCountedInEachSecond) {
  putDevice("lanecall0");
  const auto before = readStats(folder_);
  put("lanecall0/channel1/interrupts", "5");
  put("lanecall0/channel1/user_flushes", "201000");
  const std::string rates = ratesOf(before, readStats(folder_), seconds(2));
  EXPECT_NE(rates.find("100000*"), std::string::npos) << rates;
  EXPECT_NE(rates.find("          1      0"), std::string::npos) << rates;
}

// What is counted while a look is under way, behind a channel's counter.
TEST_F(Stat, ATotalIsNeverLessThanItsChannels) {
  putDevice("lanecall0");
  const fs::path counter = folder_ / "lanecall0/channel1/interrupts";
  // A look from whose middle on there are this many interrupts in all.
  const auto look = [&](int channel, int before, int total) {
    put("lanecall0/total/interrupts", std::to_string(before));
    fs::remove(counter);
    EXPECT_EQ(::mkfifo(counter.c_str(), 0600), 0);
    auto counting = std::async(std::launch::async, [&] {
      std::ofstream out(counter);  // waits until it is being read
      put("lanecall0/total/interrupts", std::to_string(total));
      out << channel << "\n";
    });
    return readStats(folder_);
  };
  const auto first = look(10, 30, 50);
  const auto second = look(40, 60, 61);
  constexpr int kInterrupts = 4;
  EXPECT_EQ(first.back().counters[kInterrupts], 50u);
  // 30 of the channel's, and 31 in all from before the first look on.
  const std::string rates = ratesOf(first, second, seconds(1));
  EXPECT_NE(rates.find(" 30  "), std::string::npos) << rates;
  EXPECT_NE(rates.find(" 31  "), std::string::npos) << rates;
}

TEST_F(Stat, AChannelThatWasOpenedAnewBeginsAtNothing) {
  putDevice("lanecall0");
  const auto before = readStats(folder_);
  put("lanecall0/channel1/user_flushes", "600");
  const std::string rates = ratesOf(before, readStats(folder_), seconds(1));
  EXPECT_NE(rates.find(" 600*"), std::string::npos) << rates;
}

}  // namespace
}  // namespace lanecall
