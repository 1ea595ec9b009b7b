// SPDX-License-Identifier: Apache-2.0
#include <lanecall/spin.h>

#include <charconv>
#include <cstring>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lanecall {
namespace {

// CPUID as hypervisors use it: leaf 0x40000000 has the name of one, and is
// there if the processor says that there is one.
bool detectTcg() {
#if defined(__x86_64__)
  constexpr unsigned kHypervisor = 1u << 31;
  unsigned eax = 0;
  unsigned name[3] = {};
  unsigned features = 0;
  unsigned unused = 0;
  if (!__get_cpuid(1, &eax, &unused, &features, &unused)) return false;
  if (!(features & kHypervisor)) return false;
  __cpuid(0x40000000, eax, name[0], name[1], name[2]);
  return std::memcmp(name, "TCGTCGTCGTCG", sizeof(name)) == 0;
#else
  return false;
#endif
}

}  // namespace

bool isEmulatedCpu() {
  static const bool isTcg = detectTcg();
  return isTcg;
}

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
