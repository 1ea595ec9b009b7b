// SPDX-License-Identifier: Apache-2.0
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

bool is_any_met(const std::vector<Caller>& rules, const Caller& caller,
                bool ifUnknown) {
  return std::any_of(rules.begin(), rules.end(), [&](const Caller& rule) {
    return is_met(rule, caller, ifUnknown);
  });
}

}  // namespace

Caller Policy::parse(const std::string& rule) {
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
      wanted.channel = numberOf(value, rule);
    else if (name == "uid" && !wanted.uid)
      wanted.uid = numberOf(value, rule);
    else
      fail(rule);
  }
  if (wanted == Caller() || rule.ends_with(',')) fail(rule);
  return wanted;
}

bool Policy::allows(const Caller& caller) const {
  return !is_any_met(denied_, caller, true) &&
         (allowed_.empty() || is_any_met(allowed_, caller, false));
}

}  // namespace lanecall
