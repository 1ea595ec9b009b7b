// SPDX-License-Identifier: Apache-2.0
#include "call_log.h"

#include <atomic>
#include <cstdio>
#include <mutex>

namespace lanecall {
namespace {

constexpr std::size_t kMostQuoted = 256;

std::atomic<bool> logged{true};

bool is_plain(unsigned char c) {
  return c >= 0x20 && c != 0x7f && c != '\'' && c != '\\';
}

}  // namespace

void setCallLog(bool on) { logged = on; }

bool isCallLogged() { return logged.load(std::memory_order_relaxed); }

void logCall(std::string_view line) {
  if (!isCallLogged()) return;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (unsigned char c : text.substr(0, kMostQuoted)) {
    if (is_plain(c)) {
      out += static_cast<char>(c);
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
    out += escaped;
  }
  out += "'";
  if (text.size() > kMostQuoted)
    out += "... (" + std::to_string(text.size()) + " bytes)";
  return out;
}

}  // namespace lanecall
