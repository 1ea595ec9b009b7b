// SPDX-License-Identifier: Apache-2.0
#include "scripted_io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lanecall::test {
namespace {

int next(std::deque<int>& script, int otherwise) {
  if (script.empty()) return otherwise;
  int value = script.front();
  script.pop_front();
  return value;
}

}  // namespace

int ScriptedIo::open() {
  int result = next(script_->opens, 0);
  script_->open = result == 0;
  return result;
}

int ScriptedIo::status() { return next(script_->statuses, 0); }

ssize_t ScriptedIo::read(void* data, std::size_t size) {
  std::size_t have = std::min(size, script_->input.size());
  int result = next(script_->reads, have ? static_cast<int>(have) : -EAGAIN);
  if (result <= 0) return result;
  std::size_t take = std::min<std::size_t>(have, result);
  std::memcpy(data, script_->input.data(), take);
  script_->input.erase(0, take);
  return static_cast<ssize_t>(take);
}

ssize_t ScriptedIo::write(const void* data, std::size_t size) {
  int result = next(script_->writes,
                    std::min(static_cast<int>(size), script_->writeMost));
  if (result <= 0) return result;
  std::size_t take = std::min<std::size_t>(size, result);
  script_->output.append(static_cast<const char*>(data), take);
  return static_cast<ssize_t>(take);
}

int ScriptedIo::poll(short events, int timeoutMs) {
  script_->pollTimeouts.push_back(timeoutMs);
  if (script_->onPoll) script_->onPoll();
  return next(script_->polls, events);
}

void ScriptedIo::close() {
  if (script_->open) ++script_->closes;
  script_->open = false;
}

}  // namespace lanecall::test
