// SPDX-License-Identifier: Apache-2.0
// Tracepoints: a channel's life in /sys/kernel/tracing, in order.
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <thread>
#include <vector>

#include "channel.h"

namespace lanecall::guest_tests {
namespace {

const std::string kTracing = "/sys/kernel/tracing/";

// The module's events are recorded while this lives.
class Trace {
 public:
  Trace() {
    const int error =
        ::mount("tracefs", kTracing.c_str(), "tracefs", 0, nullptr) ? errno : 0;
    EXPECT_TRUE(error == 0 || error == EBUSY) << error;  // mounted already
    std::ofstream(kTracing + "trace", std::ios::trunc);  // which empties it
    EXPECT_TRUE(write_file(kEvents, "1"));
  }
  ~Trace() { EXPECT_TRUE(write_file(kEvents, "0")); }

  // "open lanecall0 channel=0", and so on, of one channel.
  std::vector<std::string> of(int channel) const {
    const std::string ours = "lanecall0 channel=" + std::to_string(channel);
    const std::string prefix = ": lanecall_";
    std::ifstream file(kTracing + "trace");
    std::vector<std::string> events;
    for (std::string line; std::getline(file, line);) {
      auto at = line.find(prefix);
      if (at == std::string::npos) continue;
      std::string event = line.substr(at + prefix.size());
      event.erase(event.find(": "), 1);
      auto number = event.find(ours);
      if (number == std::string::npos) continue;
      const char next = event.c_str()[number + ours.size()];
      if (next == '\0' || next == ' ') events.push_back(event);
    }
    return events;
  }

 private:
  const std::string kEvents = kTracing + "events/lanecall/enable";
};

std::string name_of(const std::string& event) {
  return event.substr(0, event.find(' '));
}

long times(const std::vector<std::string>& events, const std::string& name) {
  return std::count_if(events.begin(), events.end(),
                       [&](const auto& e) { return name_of(e) == name; });
}

// Are these in it, in this order, with anything in between?
bool happened(const std::vector<std::string>& events,
              const std::vector<std::string>& names) {
  auto at = events.begin();
  for (const std::string& name : names) {
    at = std::find_if(at, events.end(),
                      [&](const auto& e) { return name_of(e) == name; });
    if (at == events.end()) return false;
    ++at;
  }
  return true;
}

std::string text(const std::vector<std::string>& events) {
  std::string all;
  for (const std::string& event : events) all += event + "\n";
  return all;
}

TEST(Trace, HasAChannelsLifeInOrder) {
  ASSERT_TRUE(all_channels_free());
  Trace trace;
  std::string plane;
  {
    Fd fd = open_with("echo");
    std::atomic<pid_t> sleeper{0};
    std::thread reader([&] {
      sleeper = ::gettid();
      EXPECT_EQ(read_count(fd.get(), 1), "x");
    });
    EXPECT_TRUE(eventually([&] { return sleeper && is_asleep(sleeper); }));
    EXPECT_TRUE(
        eventually([] { return sysfs_number("channel0/sleeps") == 1; }));
    write_all(fd.get(), "x");
    reader.join();
    plane = sysfs("channel0/plane");
  }
  ASSERT_TRUE(all_channels_free());
  const std::vector<std::string> events = trace.of(0);
  EXPECT_TRUE(happened(events, {"open", "attach", "sleep", "interrupt", "wake",
                                "drain", "closed"}))
      << text(events);
  EXPECT_EQ(times(events, "doorbell"), sysfs_number("channel0/doorbells"));
  EXPECT_EQ(times(events, "gone"), 0);
  EXPECT_NE(text(events).find("attach lanecall0 channel=0 tx_bytes=262144 "
                              "rx_bytes=262144 plane=" +
                              plane),
            std::string::npos)
      << text(events);
}

TEST(Trace, SaysThatAChannelIsGone) {
  ASSERT_TRUE(all_channels_free());
  Fd fd = open_with("echo");
  const std::string pci = "/sys/bus/pci/devices/";
  const std::string device = info_of(fd.get()).device;
  Trace trace;
  EXPECT_TRUE(write_file(pci + device + "/reset", "1"));
  const std::vector<std::string> events = trace.of(0);
  EXPECT_EQ(times(events, "gone"), 1) << text(events);
  EXPECT_EQ(times(events, "closed"), 0) << text(events);
}

}  // namespace
}  // namespace lanecall::guest_tests
