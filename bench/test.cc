// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <charconv>
#include <stdexcept>
#include <string_view>

#include "payload.h"

namespace lanecall::bench {
namespace {

constexpr std::uint32_t kMostBytes = 32 << 20;
constexpr std::uint32_t kPageBytes = 4096;
constexpr std::uint32_t kMostExtents = 4096;

// The whole text as a number; 0 if it is none.
std::uint32_t parseNumber(std::string_view text) {
  std::uint32_t number = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

// "64", "4k" or "1m" in bytes; 0 if it is none of these.
std::uint32_t parseSize(std::string_view text) {
  int shift = 0;
  if (text.ends_with('k')) shift = 10;
  if (text.ends_with('m')) shift = 20;
  if (shift > 0) text.remove_suffix(1);
  const std::uint32_t number = parseNumber(text);
  return number > kMostBytes >> shift ? 0 : number << shift;
}

// What follows a test's kind, as in dma_write_(1m)_(x16).
struct Suffix {
  Suffix(const std::string& name, std::string_view kind) {
    const std::string_view rest = std::string_view(name).substr(kind.size());
    const std::size_t at = rest.find('_');
    bytes = parseSize(rest.substr(0, at));
    hasMore = at != std::string_view::npos;
    if (hasMore) more = rest.substr(at + 1);
  }

  std::uint32_t bytes = 0;
  bool hasMore = false;
  std::string_view more;
};

// Each of these: whether the name is one of the kind's.

bool parsePing(Test& test) {
  test.kind = Kind::kPing;
  if (test.name == "ping_cob") test.isAsynchronous = true;
  if (test.name == "ping_send") test.stage = Stage::kSend;
  if (test.name == "ping_wait") test.stage = Stage::kWait;
  if (test.name == "ping_receive") test.stage = Stage::kReceive;
  return test.name == "ping" || test.isAsynchronous ||
         test.stage != Stage::kWhole;
}

bool parseReflect(Test& test) {
  const Suffix suffix(test.name, "reflect_");
  test.kind = Kind::kReflect;
  test.bytes = suffix.bytes;
  return !suffix.hasMore && test.bytes >= Payload::kLeastBytes;
}

bool parseDma(Test& test, bool writes) {
  const Suffix suffix(test.name, writes ? "dma_write_" : "dma_read_");
  test.kind = Kind::kDma;
  test.bytes = suffix.bytes;
  test.writes = writes;
  std::uint32_t extents = 1;
  if (suffix.hasMore)
    extents =
        suffix.more.starts_with('x') ? parseNumber(suffix.more.substr(1)) : 0;
  test.extents = static_cast<int>(extents);
  return test.bytes > 0 && extents > 0 && extents <= kMostExtents &&
         test.bytes % extents == 0;
}

bool isMemoryOfPages(std::uint32_t bytes) {
  return bytes > 0 && bytes % kPageBytes == 0;
}

bool parseClean(Test& test) {
  const Suffix suffix(test.name, "clean_");
  test.kind = Kind::kClean;
  test.bytes = suffix.bytes;
  if (suffix.hasMore)
    test.dirtyPercent = static_cast<int>(parseNumber(suffix.more));
  return isMemoryOfPages(test.bytes) && test.dirtyPercent > 0 &&
         test.dirtyPercent <= 100 &&
         (!suffix.hasMore || test.dirtyPercent < 100);
}

bool parseVirtine(Test& test) {
  const Suffix suffix(test.name, "virtine_");
  test.kind = Kind::kVirtine;
  test.bytes = suffix.bytes;
  test.dirtyOnly = suffix.more == "dirty";
  test.isUncleaned = suffix.more == "uncleaned";
  return isMemoryOfPages(test.bytes) &&
         (!suffix.hasMore || test.dirtyOnly || test.isUncleaned);
}

bool parse(Test& test) {
  if (test.name.starts_with("reflect_")) return parseReflect(test);
  if (test.name.starts_with("dma_write_")) return parseDma(test, true);
  if (test.name.starts_with("dma_read_")) return parseDma(test, false);
  if (test.name.starts_with("clean_")) return parseClean(test);
  if (test.name.starts_with("virtine_")) return parseVirtine(test);
  return parsePing(test);
}

}  // namespace

Test parseTest(const std::string& name) {
  Test test;
  test.name = name;
  if (parse(test)) return test;
  throw std::invalid_argument(
      "'" + name +
      "': unknown test; use ping, ping_cob, ping_send, ping_wait, "
      "ping_receive, reflect_SIZE with a size from 64 to 32m, as in "
      "reflect_4k, dma_write_SIZE or dma_read_SIZE (with _x16: in 16 extents), "
      "clean_SIZE (with _10: 10 % is dirty), or virtine_SIZE (with _dirty: "
      "only that is cleaned; _uncleaned: nothing is), with whole pages");
}

}  // namespace lanecall::bench
