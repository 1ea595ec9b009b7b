// SPDX-License-Identifier: Apache-2.0
//
// A ChannelIo whose answers a test writes down beforehand, call by call.
#ifndef LANECALL_TESTS_SCRIPTED_IO_H
#define LANECALL_TESTS_SCRIPTED_IO_H

#include <lanecall/channel_io.h>

#include <deque>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace lanecall::test {

// What the script sets and the test reads; shared with the ScriptedIo, which
// the transport owns.
struct Script {
  std::deque<int> opens;     // open(): when used up, 0
  std::deque<int> statuses;  // status(): when used up, 0
  std::deque<int> polls;     // poll(): when used up, the events asked for
  // read(): negated errno, or 0 at the end, or that many bytes of `input`.
  // When used up, all of input, then -EAGAIN.
  std::deque<int> reads;
  std::deque<int> writes;  // write(): when used up, `writeMost` bytes
  int writeMost = std::numeric_limits<int>::max();
  std::string input;
  std::string output;
  std::vector<int> pollTimeouts;  // that poll() was called with
  bool open = false;
  int closes = 0;
  // Called in each poll(), before it answers.
  std::function<void()> onPoll;
};

class ScriptedIo : public ChannelIo {
 public:
  explicit ScriptedIo(Script* script) : script_(script) {}

  int open() override;
  int status() override;
  ssize_t read(void* data, std::size_t size) override;
  ssize_t write(const void* data, std::size_t size) override;
  int poll(short events, int timeoutMs) override;
  void interrupt() override {}
  void close() override;
  bool isOpen() const override { return script_->open; }
  std::string name() const override { return "scripted"; }

 private:
  Script* script_;
};

}  // namespace lanecall::test

#endif
