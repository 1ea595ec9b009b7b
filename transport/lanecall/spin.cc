// SPDX-License-Identifier: Apache-2.0
#include <lanecall/spin.h>

#include <charconv>
#include <stdexcept>

namespace lanecall {

Spin parseSpin(const std::string& text) {
  if (text == "never") return Spin::never();
  if (text == "always") return Spin::always();
  if (text == "adaptive") return Spin::adaptive();
  constexpr unsigned kMostUs = 1'000'000'000;
  unsigned us = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, us);
  if (error != std::errc() || at != end || us > kMostUs)
    throw std::invalid_argument(
        "'" + text +
        "': unknown way to wait; use never, always, adaptive, or microseconds "
        "up to 1000000000");
  return Spin::fixed(std::chrono::microseconds(us));
}

std::string name(const Spin& spin) {
  switch (spin.kind()) {
    case Spin::Kind::kNever:
      return "never";
    case Spin::Kind::kAlways:
      return "always";
    case Spin::Kind::kFixed:
      return std::to_string(
          std::chrono::duration_cast<std::chrono::microseconds>(spin.budget())
              .count());
    default:
      return "adaptive";
  }
}

}  // namespace lanecall
