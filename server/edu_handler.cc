// SPDX-License-Identifier: Apache-2.0
#include "edu_handler.h"

#include "call_log.h"
#include "region_scaler.h"

namespace lanecall {
namespace {

constexpr std::int32_t kLargestFactorial = 20;  // 21! exceeds 63 bits

bool is_in_factorial_range(std::int32_t n) {
  return n >= 0 && n <= kLargestFactorial;
}

}  // namespace

void EduHandler::ping() { logCall("ping()"); }

void EduHandler::echo(std::string& result, const std::string& text) {
  logCall([&] { return "echo(" + quoted(text) + ")"; });
  result = text;
}

std::int32_t EduHandler::counter() {
  auto count = static_cast<std::int32_t>((*count_)++);
  logCall([&] { return "counter() => " + std::to_string(count); });
  return count;
}

void EduHandler::reflect(std::string& result, const std::string& bytes) {
  logCall(
      [&] { return "reflect(" + std::to_string(bytes.size()) + " bytes)"; });
  result = bytes;
}

std::int64_t EduHandler::factorial(const std::int32_t n) {
  const auto call = [&] { return "factorial(" + std::to_string(n) + ")"; };
  if (!is_in_factorial_range(n)) {
    logCall([&] { return call() + " => out of range"; });
    edu::OutOfRange error;
    error.value = n;
    error.lowest = 0;
    error.highest = kLargestFactorial;
    throw error;
  }
  std::int64_t product = 1;
  for (std::int32_t i = 2; i <= n; ++i) product *= i;
  logCall([&] { return call() + " => " + std::to_string(product); });
  return product;
}

void EduHandler::scale(std::vector<std::int32_t>& result,
                       const std::vector<std::int32_t>& values,
                       const std::int32_t factor) {
  const auto call = [&] {
    return "scale(" + std::to_string(values.size()) + " values, " +
           std::to_string(factor) + ")";
  };
  result.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!__builtin_mul_overflow(values[i], factor, &result[i])) continue;
    logCall([&] { return call() + " => overflow"; });
    edu::Overflow error;
    error.index = static_cast<std::int32_t>(i);
    error.value = values[i];
    error.factor = factor;
    throw error;
  }
  logCall(call);
}

void EduHandler::scaleRegion(const idl::RegionReference& source,
                             const idl::RegionReference& target,
                             const std::int32_t factor) {
  const auto call = [&](const char* end) {
    return "scaleRegion(" + std::to_string(source.length) + " bytes, " +
           std::to_string(factor) + ")" + end;
  };
  if (!device_) {
    logCall([&] { return call(" => no card"); });
    edu::NoCard error;
    error.reason =
        "this connection comes through no device whose card the server is; "
        "start the server with --card, and QEMU's device with card=, or send "
        "the numbers by scale()";
    throw error;
  }
  scaleByDma(*device_, regionOf(source), regionOf(target), factor);
  logCall([&] { return call(""); });
}

void EduHandler::note(const std::string& text) {
  logCall([&] { return "note(" + quoted(text) + ")"; });
}

}  // namespace lanecall
