// SPDX-License-Identifier: Apache-2.0
#include <lanecall/region_in_idl.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "call_times.h"
#include "commands.h"
#include "random.h"

namespace lanecall {
namespace {

double microseconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

volatile std::sig_atomic_t interrupted = 0;

// Lets the call that is under way end. A second Ctrl-C ends the program, as if
// this was not here: nobody may answer.
void countUntilInterrupted() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = SA_RESETHAND;
  struct sigaction before {};
  ::sigaction(SIGINT, nullptr, &before);
  if (before.sa_handler != SIG_IGN) ::sigaction(SIGINT, &action, nullptr);
}

constexpr int kInterrupted = 128 + SIGINT;

}  // namespace

int runPing(Session& session, int count) {
  using Clock = std::chrono::steady_clock;
  CallTimes times(static_cast<std::size_t>(count));
  if (count > 1) countUntilInterrupted();
  int made = 0;
  do {
    const Clock::time_point start = Clock::now();
    session.edu().ping();
    times.add(Clock::now() - start);
  } while (++made < count && !interrupted);
  std::printf("ping over %s: %d call%s, microseconds: %s\n",
              session.path().c_str(), made, made == 1 ? "" : "s",
              times.percentiles().c_str());
  if (made > 1) std::printf("%s", times.histogram().c_str());
  return made < count ? kInterrupted : 0;
}

int runEcho(Session& session, const std::string& text) {
  std::string answer;
  session.edu().echo(answer, text);
  std::printf("%s\n", answer.c_str());
  return answer == text ? 0 : 1;
}

int runCounter(Session& session) {
  std::printf("%d\n", session.edu().counter());
  return 0;
}

int runReflect(Session& session, std::uint32_t size, std::uint64_t seed) {
  const std::string sent = Random(seed).bytes(size);
  std::string answer;
  auto start = std::chrono::steady_clock::now();
  session.edu().reflect(answer, sent);
  double took = microseconds(std::chrono::steady_clock::now() - start);
  if (answer != sent) {
    std::printf("reflect over %s: %u bytes came back changed (seed %llu)\n",
                session.path().c_str(), size,
                static_cast<unsigned long long>(seed));
    return 1;
  }
  std::printf("reflect over %s: %u bytes came back as sent, %.1f us\n",
              session.path().c_str(), size, took);
  return 0;
}

int runFactorial(Session& session, std::int32_t n) try {
  std::printf("%lld\n", static_cast<long long>(session.edu().factorial(n)));
  return 0;
} catch (const edu::OutOfRange& error) {
  throw std::runtime_error("factorial takes " + std::to_string(error.lowest) +
                           " to " + std::to_string(error.highest) + ", not " +
                           std::to_string(error.value));
}

int runScale(Session& session, std::int32_t factor,
             const std::vector<std::int32_t>& values) try {
  std::vector<std::int32_t> answer;
  session.edu().scale(answer, values, factor);
  for (std::size_t i = 0; i < answer.size(); ++i)
    std::printf("%s%d", i ? " " : "", answer[i]);
  std::printf("\n");
  return 0;
} catch (const edu::Overflow& error) {
  throw std::runtime_error(
      "scale: " + std::to_string(error.value) + " times " +
      std::to_string(error.factor) + " does not fit 32 bits (value " +
      std::to_string(error.index) + "); give smaller numbers");
}

int runScaleRegion(Session& session, std::int32_t factor, std::uint32_t size,
                   std::uint64_t seed) try {
  // A quarter of what fits, so that every factor does.
  std::vector<std::int32_t> numbers(size / sizeof(std::int32_t));
  const std::string random =
      Random(seed).bytes(numbers.size() * sizeof numbers[0]);
  std::memcpy(numbers.data(), random.data(), random.size());
  for (std::int32_t& number : numbers) number /= 4;
  const std::vector<std::int32_t> before = numbers;

  Region region(lenderOf(session.transport()), numbers.data(), random.size(),
                RegionAccess::kReadWrite);
  const auto reference = toIdl<idl::RegionReference>(region.reference());
  region.syncForDevice(0, region.bytes());
  const auto start = std::chrono::steady_clock::now();
  session.edu().scaleRegion(reference, reference, factor);
  const double took = microseconds(std::chrono::steady_clock::now() - start);
  region.syncForCpu(0, region.bytes());
  region.takeBack();

  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (numbers[i] != before[i] * factor)
      throw std::runtime_error("scale-region: number " + std::to_string(i) +
                               " was " + std::to_string(before[i]) +
                               " and is " + std::to_string(numbers[i]) +
                               " (seed " + std::to_string(seed) + ")");
  std::printf("scale-region over %s: %zu bytes times %d, %.1f us\n",
              session.path().c_str(), random.size(), factor, took);
  return 0;
} catch (const edu::OutOfRange& error) {
  throw std::runtime_error(
      "scale-region multiplies by " + std::to_string(error.lowest) + " to " +
      std::to_string(error.highest) + ", not " + std::to_string(error.value));
} catch (const edu::BadRegion& error) {
  throw std::runtime_error("scale-region: " + error.reason);
} catch (const edu::NoCard& error) {
  throw std::runtime_error("scale-region: " + error.reason);
} catch (const edu::DmaFault& error) {
  throw std::runtime_error("scale-region: " + error.reason);
}

int runNote(Session& session, const std::string& text) {
  session.edu().note(text);
  return 0;
}

int runCheck(Session& session) {
  const std::string over = " over " + session.path() + "\n";
  session.edu().ping();
  std::printf("ping()%s", over.c_str());

  const std::string greeting = "Hello, world!";
  std::string answer;
  session.edu().echo(answer, greeting);
  std::printf("echo('%s') => '%s'%s", greeting.c_str(), answer.c_str(),
              over.c_str());
  if (answer != greeting)
    throw std::runtime_error("echo gave back something else");

  std::int32_t last = 0;
  for (int i = 0; i < 5; ++i) {
    std::int32_t count = session.edu().counter();
    std::printf("counter() => %d%s", count, over.c_str());
    // Others may count too, but it never stands still or runs backwards.
    if (i > 0 && count <= last)
      throw std::runtime_error("the counter does not count");
    last = count;
  }
  return 0;
}

}  // namespace lanecall
