// SPDX-License-Identifier: Apache-2.0
#ifndef LANECALL_TESTS_UNIT_LOG_LINES_H
#define LANECALL_TESTS_UNIT_LOG_LINES_H

#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace lanecall::test {

// Keeps every line of a server's log.
class LogLines : public spdlog::sinks::base_sink<std::mutex> {
 public:
  // How many lines have this text.
  int count(const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex_);
    return countLocked(text);
  }

  // Returns when one has.
  void await(const std::string& text) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return countLocked(text) > 0; });
  }

  // Called with each line, in the thread that logs it.
  std::function<void(const std::string&)> onLine;

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    lines_.emplace_back(message.payload.begin(), message.payload.end());
    changed_.notify_all();
    if (onLine) onLine(lines_.back());
  }
  void flush_() override {}

 private:
  int countLocked(const std::string& text) const {
    return static_cast<int>(
        std::count_if(lines_.begin(), lines_.end(), [&](const auto& line) {
          return line.find(text) != std::string::npos;
        }));
  }

  std::condition_variable changed_;
  std::vector<std::string> lines_;  // guarded by base_sink's mutex_
};

}  // namespace lanecall::test

#endif
