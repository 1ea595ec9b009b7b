// SPDX-License-Identifier: Apache-2.0
#include "stat_commands.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace lanecall {
namespace {

namespace fs = std::filesystem;

// Names of files, and of columns.
struct Counter {
  const char* file;
  const char* title;
};
constexpr std::array<Counter, ChannelStat::kCounters> kCounters = {{
    {"tx_bytes", "TX-BYTES"},
    {"rx_bytes", "RX-BYTES"},
    {"flushes", "FLUSHES"},
    {"doorbells", "DOORBELLS"},
    {"interrupts", "INTERRUPTS"},
    {"spins", "SPINS"},
    {"sleeps", "SLEEPS"},
    {"full_waits", "FULL-WAITS"},
}};

constexpr const char* kUsersMark = "*";

// A file of one line; empty if it is not there (any longer).
std::string lineOf(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::uint64_t numberIn(const fs::path& file) {
  const std::string line = lineOf(file);
  return std::strtoull(line.c_str(), nullptr, 10);
}

void readCounters(const fs::path& folder, ChannelStat* stat) {
  for (const Counter& counter : kCounters) {
    const std::uint64_t users =
        numberIn(folder / (std::string("user_") + counter.file));
    stat->counters.push_back(numberIn(folder / counter.file) + users);
    stat->isUsersWord.push_back(users != 0);
  }
}

ChannelStat readChannel(const fs::path& device, int channel) {
  const fs::path folder = device / ("channel" + std::to_string(channel));
  ChannelStat stat;
  stat.device = device.filename();
  stat.channel = std::to_string(channel);
  stat.pid = lineOf(folder / "pid");
  stat.command = lineOf(folder / "comm");
  stat.plane = lineOf(folder / "plane");
  stat.mode = lineOf(folder / "mode");
  stat.state = lineOf(folder / "state");
  readCounters(folder, &stat);
  return stat;
}

bool isOpen(const fs::path& device, int channel) {
  const std::string state =
      lineOf(device / ("channel" + std::to_string(channel)) / "state");
  return !state.empty() && state != "closed";
}

void readDevice(const fs::path& device, std::vector<ChannelStat>* stats) {
  const auto channels = static_cast<int>(numberIn(device / "channels"));
  ChannelStat before;
  readCounters(device / "total", &before);
  for (int i = 0; i < channels; ++i)
    if (isOpen(device, i)) stats->push_back(readChannel(device, i));
  ChannelStat total;
  total.device = device.filename();
  total.channel = "total";
  total.before = std::move(before.counters);
  readCounters(device / "total", &total);
  stats->push_back(total);
}

std::vector<fs::path> devicesIn(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> devices;
  for (const auto& entry : fs::directory_iterator(folder, error))
    devices.push_back(entry.path());
  if (error)
    throw std::runtime_error(folder + ": " + error.message() +
                             "; is the driver loaded? Try modprobe lanecall");
  if (devices.empty())
    throw std::runtime_error(
        folder +
        ": the driver has no device; does QEMU have -device edu,rpc=... or "
        "card=...? See the kernel's log");
  auto number = [](const fs::path& path) {  // lanecall10 after lanecall9
    const std::string name = path.filename();
    return std::make_pair(name.size(), name);
  };
  std::sort(devices.begin(), devices.end(), [&](const auto& a, const auto& b) {
    return number(a) < number(b);
  });
  return devices;
}

using Row = std::vector<std::string>;

// Columns as wide as they need to be; text to the left, numbers to the right.
std::string layOut(const std::vector<Row>& rows, std::size_t texts) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - row[i].size(), ' ');
      text += i < texts ? row[i] + gap : gap + row[i];
      text += i + 1 < row.size() ? "  " : "\n";
    }
  }
  return text;
}

constexpr std::size_t kTexts = 7;

// show(stat, i) is what stands for counter i.
template <typename Show>
std::string table(const std::vector<ChannelStat>& stats, Show show) {
  std::vector<Row> rows = {
      {"DEVICE", "CHANNEL", "PID", "COMMAND", "PLANE", "MODE", "STATE"}};
  for (const Counter& counter : kCounters)
    rows.front().push_back(counter.title);
  bool marked = false;
  for (const ChannelStat& stat : stats) {
    Row row = {stat.device, stat.channel, stat.pid,  stat.command,
               stat.plane,  stat.mode,    stat.state};
    for (int i = 0; i < ChannelStat::kCounters; ++i) {
      marked |= stat.isUsersWord[i];
      row.push_back(show(stat, i) + (stat.isUsersWord[i] ? kUsersMark : ""));
    }
    rows.push_back(row);
  }
  return layOut(rows, kTexts) +
         (marked ? std::string(kUsersMark) +
                       " with what programs say of channels they have mapped\n"
                 : "");
}

const ChannelStat* find(const std::vector<ChannelStat>& stats,
                        const ChannelStat& wanted) {
  for (const ChannelStat& stat : stats)
    if (stat.device == wanted.device && stat.channel == wanted.channel)
      return &stat;
  return nullptr;
}

// What was counted between two looks. A counter that went back is another
// channel's, and began at 0.
std::uint64_t counted(const ChannelStat* before, const ChannelStat& now,
                      int i) {
  std::uint64_t from = 0;
  if (before)
    from = (before->before.empty() ? before->counters : before->before)[i];
  return now.counters[i] >= from ? now.counters[i] - from : now.counters[i];
}

[[noreturn]] void watchFor(const std::string& folder) {
  using Clock = std::chrono::steady_clock;
  // A terminal's table stays in its place.
  const char* fresh = ::isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "";
  std::vector<ChannelStat> before = readStats(folder);
  Clock::time_point since = Clock::now();
  for (;;) {
    std::this_thread::sleep_until(since + std::chrono::seconds(1));
    std::vector<ChannelStat> now = readStats(folder);
    const Clock::time_point then = std::exchange(since, Clock::now());
    std::printf("%s%s\n", fresh, ratesOf(before, now, since - then).c_str());
    if (std::fflush(stdout) != 0)
      throw std::system_error(errno, std::generic_category(),
                              "standard output");
    before = std::move(now);
  }
}

}  // namespace

const char* const kStatColumns =
    "Columns:\n"
    "  PLANE        socket (QEMU carries bytes to a server's socket) or "
    "direct\n"
    "               (rings in card memory, which the server sees)\n"
    "  MODE         rw (system calls), or mapped into the program\n"
    "  TX-BYTES     bytes to the server; RX-BYTES from it\n"
    "  FLUSHES      times that bytes were sent off, as each call does once\n"
    "  DOORBELLS    times that the device was told\n"
    "  INTERRUPTS   times that it told the driver\n"
    "  SPINS        waits that ended while looking; SLEEPS those that did not\n"
    "  FULL-WAITS   times that there was no room to send\n"
    "docs/driver.md has where they come from.";

std::vector<ChannelStat> readStats(const std::string& folder) {
  std::vector<ChannelStat> stats;
  for (const fs::path& device : devicesIn(folder)) readDevice(device, &stats);
  return stats;
}

std::string tableOf(const std::vector<ChannelStat>& stats) {
  return table(stats, [](const ChannelStat& stat, int i) {
    return std::to_string(stat.counters[i]);
  });
}

std::string ratesOf(const std::vector<ChannelStat>& before,
                    const std::vector<ChannelStat>& now,
                    std::chrono::duration<double> passed) {
  return "In each second:\n" + table(now, [&](const ChannelStat& stat, int i) {
           const auto number =
               static_cast<double>(counted(find(before, stat), stat, i));
           return std::to_string(std::llround(number / passed.count()));
         });
}

int runStat(bool watch, const std::string& folder) {
  if (watch) watchFor(folder);
  std::fputs(tableOf(readStats(folder)).c_str(), stdout);
  return 0;
}

}  // namespace lanecall
