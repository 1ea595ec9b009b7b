// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <charconv>
#include <stdexcept>
#include <string_view>

#include "payload.h"

namespace lanecall::bench {
namespace {

constexpr std::uint32_t kMostBytes = 32 << 20;

// "64", "4k" or "1m" in bytes; 0 if it is none of these.
std::uint32_t parseSize(std::string_view text) {
  int shift = 0;
  if (text.ends_with('k')) shift = 10;
  if (text.ends_with('m')) shift = 20;
  if (shift > 0) text.remove_suffix(1);
  std::uint32_t number = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return 0;
  return number > kMostBytes >> shift ? 0 : number << shift;
}

}  // namespace

Test parseTest(const std::string& name) {
  constexpr std::string_view kReflect = "reflect_";
  if (name == "ping") return {name};
  if (name == "ping_cob") return {name, 0, true};
  if (name == "ping_send") return {name, 0, false, Stage::kSend};
  if (name == "ping_wait") return {name, 0, false, Stage::kWait};
  if (name == "ping_receive") return {name, 0, false, Stage::kReceive};
  if (name.starts_with(kReflect)) {
    const std::uint32_t bytes =
        parseSize(std::string_view(name).substr(kReflect.size()));
    if (bytes >= Payload::kLeastBytes) return {name, bytes};
  }
  throw std::invalid_argument("'" + name +
                              "': unknown test; use ping, ping_cob, ping_send, "
                              "ping_wait, ping_receive, or reflect_SIZE with "
                              "a size from 64 to 32m, as in reflect_4k");
}

}  // namespace lanecall::bench
