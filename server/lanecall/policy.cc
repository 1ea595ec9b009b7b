// SPDX-License-Identifier: Apache-2.0
#include <lanecall/device.h>
#include <lanecall/policy.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <stdexcept>

namespace lanecall {
namespace {

[[noreturn]] void fail(const std::string& rule) {
  throw std::invalid_argument(
      "'" + rule +
      "' is no rule; give some of device=NAME,channel=N,uid=N, each once");
}

std::uint32_t numberOf(const std::string& text, const std::string& rule) {
  std::uint32_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || at != end) fail(rule);
  return number;
}

std::uint32_t channelOf(const std::string& text, const std::string& rule) {
  const std::uint32_t channel = numberOf(text, rule);
  if (channel < LANECALL_MAX_CHANNELS) return channel;
  throw std::invalid_argument(
      "'" + rule + "' is met by nobody; a device's channels are 0 to " +
      std::to_string(LANECALL_MAX_CHANNELS - 1) + " at most");
}

// Whether it is what the rule wants; an unknown one counts as told.
template <typename Fact>
bool is_met(const Fact& wanted, const Fact& told, bool ifUnknown) {
  if (wanted == Fact()) return true;
  return told == Fact() ? ifUnknown : wanted == told;
}

bool is_met(const Caller& rule, const Caller& caller, bool ifUnknown) {
  return is_met(rule.device, caller.device, ifUnknown) &&
         is_met(rule.channel, caller.channel, ifUnknown) &&
         is_met(rule.uid, caller.uid, ifUnknown);
}

}  // namespace

Policy::Rule Policy::parse(const std::string& rule) {
  Caller wanted;
  std::istringstream facts(rule);
  for (std::string fact; std::getline(facts, fact, ',');) {
    const std::size_t equals = fact.find('=');
    if (equals == fact.npos) fail(rule);
    const std::string name = fact.substr(0, equals);
    const std::string value = fact.substr(equals + 1);
    if (name == "device" && wanted.device.empty() && !value.empty() &&
        deviceWord(value) == value)
      wanted.device = value;
    else if (name == "channel" && !wanted.channel)
      wanted.channel = channelOf(value, rule);
    else if (name == "uid" && !wanted.uid)
      wanted.uid = numberOf(value, rule);
    else
      fail(rule);
  }
  if (wanted == Caller() || rule.ends_with(',')) fail(rule);
  return {wanted, rule};
}

const Policy::Rule* Policy::firstMet(const std::vector<Rule>& rules,
                                     const Caller& caller, bool ifUnknown) {
  const auto met = std::find_if(
      rules.begin(), rules.end(),
      [&](const Rule& rule) { return is_met(rule.wanted, caller, ifUnknown); });
  return met == rules.end() ? nullptr : &*met;
}

std::string Policy::refusal(const Caller& caller) const {
  if (const Rule* rule = firstMet(denied_, caller, true))
    return "--deny " + rule->text;
  if (!allowed_.empty() && !firstMet(allowed_, caller, false))
    return "no --allow";
  return {};
}

}  // namespace lanecall
