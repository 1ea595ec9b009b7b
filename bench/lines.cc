// SPDX-License-Identifier: Apache-2.0
#include "lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace lanecall::bench {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Lines::Lines(const std::string& path)
    : name_(path),
      device_(::open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)) {
  if (!device_.valid()) fail(path);
  in_ = out_ = device_.get();
}

std::optional<std::string> Lines::read() {
  for (;;) {
    if (const std::size_t end = ahead_.find('\n'); end != std::string::npos) {
      std::string line = ahead_.substr(0, end);
      ahead_.erase(0, end + 1);
      return line;
    }
    char more[4096];
    const ssize_t got = ::read(in_, more, sizeof more);
    if (got == 0) return std::nullopt;
    if (got < 0 && errno != EINTR) fail(name_);
    if (got > 0) ahead_.append(more, static_cast<std::size_t>(got));
  }
}

void Lines::write(const std::string& line) {
  const std::string text = line + '\n';
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t put = ::write(out_, text.data() + at, text.size() - at);
    if (put < 0 && errno != EINTR) fail(name_);
    if (put > 0) at += static_cast<std::size_t>(put);
  }
}

}  // namespace lanecall::bench
