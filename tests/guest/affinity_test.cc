// SPDX-License-Identifier: Apache-2.0
// A channel's interrupt goes to the processor where its reader sleeps. Needs
// two virtual CPUs, and a vector for each channel.
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "channel.h"
#include "mapping.h"

namespace lanecall::guest_tests {
namespace {

// The interrupt numbers of a device: the n-th is that of vector n.
std::vector<int> interrupts_of(const std::string& pci) {
  std::set<int> numbers;
  for (const auto& each : std::filesystem::directory_iterator(
           "/sys/bus/pci/devices/" + pci + "/msi_irqs"))
    numbers.insert(std::stoi(each.path().filename()));
  return {numbers.begin(), numbers.end()};
}

void run_on(int cpu) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(only), &only), 0);
}

class Affinity : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::sysconf(_SC_NPROCESSORS_ONLN) < 2)
      GTEST_SKIP() << "one processor has them all";
    ASSERT_TRUE(all_channels_free());  // so that channel 0 is next
    Fd fd = open_channel();
    auto numbers = interrupts_of(info_of(fd.get()).device);
    if (numbers.size() <= static_cast<std::size_t>(sysfs_number("channels")))
      GTEST_SKIP() << "channels share vectors";
    folder_ = "/proc/irq/" +
              std::to_string(numbers.at(
                  static_cast<std::size_t>(sysfs_number("channel0/vector")))) +
              "/";
    fd.reset();
    ASSERT_TRUE(all_channels_free());
  }

  // Where channel 0's interrupt is to go, and where the last one went.
  std::string wanted() const { return line("smp_affinity_list"); }
  std::string effective() const { return line("effective_affinity_list"); }

  // Sleeps for a byte on one processor, then on the other, and back. The kernel
  // knows at once where the interrupt is to go; on x86 it goes there after one
  // or two more, because it is moved while it is handled.
  void expectItFollows(int fd, const std::function<void()>& sleep_for_a_byte,
                       const std::function<void()>& send_a_byte) {
    ASSERT_EQ(info_of(fd).channel, 0U);
    for (int cpu : {1, 0, 1, 0}) {
      const std::string here = std::to_string(cpu);
      int rounds = 0;
      do {
        std::atomic<pid_t> id{0};
        std::thread sleeper([&] {
          run_on(cpu);
          id = ::gettid();
          sleep_for_a_byte();
        });
        EXPECT_TRUE(eventually([&] { return id && is_asleep(id); }));
        EXPECT_EQ(wanted(), here);
        send_a_byte();
        sleeper.join();
      } while (effective() != here && ++rounds < 4);
      EXPECT_EQ(effective(), here);
    }
  }

 private:
  std::string line(const char* name) const {
    std::ifstream file(folder_ + name);
    std::string text;
    std::getline(file, text);
    return text;
  }

  std::string folder_;
};

TEST_F(Affinity, FollowsAReader) {
  Fd fd = open_with("echo");
  expectItFollows(
      fd.get(), [&] { EXPECT_EQ(read_count(fd.get(), 1), "x"); },
      [&] { write_all(fd.get(), "x"); });
}

TEST_F(Affinity, FollowsAThreadInPoll) {
  Fd fd = open_with("echo");
  expectItFollows(
      fd.get(),
      [&] {
        EXPECT_EQ(poll_for(fd.get(), POLLIN), POLLIN);
        EXPECT_EQ(read_count(fd.get(), 1), "x");
      },
      [&] { write_all(fd.get(), "x"); });
}

TEST_F(Affinity, FollowsAThreadOfAMappedChannel) {
  MappedChannel channel = MappedChannel::with("echo");
  expectItFollows(
      channel.fd(), [&] { EXPECT_EQ(channel.receive(1), "x"); },
      [&] { channel.send("x"); });
}

TEST_F(Affinity, StaysWhereItIsIfSoConfigured) {
  const std::string parameter =
      "/sys/module/lanecall/parameters/follow_readers";
  Fd fd = open_with("echo");
  ASSERT_TRUE(write_file(parameter, "N"));
  const std::string before = wanted();
  for (int cpu : {0, 1}) {
    std::atomic<pid_t> id{0};
    std::thread sleeper([&] {
      run_on(cpu);
      id = ::gettid();
      EXPECT_EQ(read_count(fd.get(), 1), "x");
    });
    EXPECT_TRUE(eventually([&] { return id && is_asleep(id); }));
    EXPECT_EQ(wanted(), before);
    write_all(fd.get(), "x");
    sleeper.join();
  }
  EXPECT_TRUE(write_file(parameter, "Y"));
}

}  // namespace
}  // namespace lanecall::guest_tests
