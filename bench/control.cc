// SPDX-License-Identifier: Apache-2.0
#include "control.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "clock.h"
#include "latencies.h"
#include "slice.h"
#include "virtine_runs.h"

namespace lanecall::bench {
namespace {

// Keys in the order in which they were put in: lines are read by people, too.
using Json = nlohmann::ordered_json;

struct Percentile {
  const char* key;
  double share;
};
constexpr Percentile kPercentiles[] = {
    {"0", 0},    {"10", 0.1},  {"25", 0.25}, {"50", 0.5},     {"75", 0.75},
    {"90", 0.9}, {"95", 0.95}, {"99", 0.99}, {"99.9", 0.999}, {"100", 1.0},
};

std::string clockSource() {
  std::ifstream file(
      "/sys/devices/system/clocksource/clocksource0/current_clocksource");
  std::string name = "unknown";
  file >> name;
  return name;
}

Json readyLine() {
  return {{"ready", true},
          {"clock_cost_ns", clockCostNs()},
          {"cpus", std::thread::hardware_concurrency()},
          {"clocksource", clockSource()},
          {"virtines", virtineKind()},
          {"clock_ns", nowNs()}};
}

const Channel& find(const std::vector<Channel>& channels,
                    const std::string& name) {
  std::string known;
  for (const Channel& channel : channels) {
    if (channel.name == name) return channel;
    known += known.empty() ? "" : ", ";
    known += channel.name;
  }
  throw std::invalid_argument("'" + name +
                              "': unknown channel; there are: " + known);
}

struct Command {
  std::string channel;
  Slice slice;
};

template <typename Number>
void setNumber(const Json& value, const std::string& key, Number& number) {
  if (!value.is_number())
    throw std::invalid_argument("'" + key + "' must be a number");
  const auto given = value.get<double>();
  if (std::is_integral_v<Number> && (given < 0 || given > 1e9))
    throw std::invalid_argument("'" + key + "' must be from 0 to 10^9");
  number = static_cast<Number>(given);
}

Command parseCommand(const Json& line) {
  Command command;
  Slice& slice = command.slice;
  for (const auto& [key, value] : line.items()) {
    if (key == "id") continue;
    if (key == "channel")
      command.channel = value.get<std::string>();
    else if (key == "test")
      slice.test = parseTest(value.get<std::string>());
    else if (key == "clients")
      setNumber(value, key, slice.clients);
    else if (key == "outstanding")
      setNumber(value, key, slice.outstanding);
    else if (key == "seconds")
      setNumber(value, key, slice.seconds);
    else if (key == "minimum_calls")
      setNumber(value, key, slice.minimumCalls);
    else if (key == "warmup_seconds")
      setNumber(value, key, slice.warmUpSeconds);
    else
      throw std::invalid_argument("'" + key + "': unknown key in a command");
  }
  if (command.channel.empty() || slice.test.name.empty())
    throw std::invalid_argument("a command needs 'channel' and 'test'");
  return command;
}

// What a call moves, or cleans.
double bytesOf(const Test& test) {
  return test.bytes * (test.dirtyPercent / 100.0);
}

Json report(const Slice& slice, Outcome& outcome) {
  const auto calls = static_cast<double>(outcome.ns.size());
  const double total =
      std::accumulate(outcome.ns.begin(), outcome.ns.end(), 0.0);
  std::vector<double> shares;
  for (const Percentile& percentile : kPercentiles)
    shares.push_back(percentile.share);
  const std::vector<double> ns = percentiles(outcome.ns, shares);
  Json us;
  for (std::size_t i = 0; i < ns.size(); ++i)
    us[kPercentiles[i].key] = ns[i] / 1e3;

  Json answer;
  answer["calls"] = outcome.ns.size();
  // DMA is timed elsewhere: what commanding it took here is not in it.
  const double seconds =
      slice.test.kind == Kind::kDma ? total / 1e9 : outcome.seconds;
  answer["seconds"] = seconds;
  answer["min_us"] = us["0"];
  answer["mean_us"] = total / calls / 1e3;
  answer["p50_us"] = us["50"];
  answer["p99_us"] = us["99"];
  answer["max_us"] = us["100"];
  answer["percentiles_us"] = us;
  answer["calls_per_s"] = calls / seconds;
  answer["mb_per_s"] = calls / seconds * bytesOf(slice.test) / 1e6;
  if (outcome.programSeconds > 0)
    answer["cpu_us"] = outcome.programSeconds / calls * 1e6;
  if (outcome.busySeconds > 0)
    answer["busy_us"] = outcome.busySeconds / calls * 1e6;
  if (outcome.overlap) answer["overlap"] = *outcome.overlap;
  for (const auto& [name, value] : outcome.counters) answer[name] = value;
  return answer;
}

Json obeyOne(const Json& line, const std::vector<Channel>& channels) {
  const Command command = parseCommand(line);
  const Channel& channel = find(channels, command.channel);
  try {
    Outcome outcome = runSlice(channel, command.slice);
    return report(command.slice, outcome);
  } catch (const std::exception& error) {
    throw std::runtime_error(channel.name + ": " + command.slice.test.name +
                             ": " + error.what());
  }
}

// Also for lines that are no commands, or no JSON.
Json answer(const Json& line, const std::vector<Channel>& channels) {
  Json answer;
  try {
    if (line.is_object() && line.contains("id")) answer["id"] = line["id"];
    if (!line.is_object())
      throw std::invalid_argument(
          "a command must be a JSON object, one a line");
    answer.update(obeyOne(line, channels));
  } catch (const std::exception& error) {
    answer["error"] = error.what();
  }
  answer["clock_ns"] = nowNs();
  return answer;
}

// Strings of others may not be UTF-8.
std::string written(const Json& line) {
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json parsed(const std::string& line) {
  return Json::parse(line, nullptr, /* allow_exceptions */ false);
}

}  // namespace

std::string answerTo(const std::string& command,
                     const std::vector<Channel>& channels) {
  return written(answer(parsed(command), channels));
}

void obey(Lines& lines, const std::vector<Channel>& channels) {
  lines.write(written(readyLine()));
  while (const std::optional<std::string> line = lines.read()) {
    const Json command = parsed(*line);
    if (command.is_object() && command.value("quit", Json()) == true) return;
    lines.write(written(answer(command, channels)));
  }
}

}  // namespace lanecall::bench
