// SPDX-License-Identifier: Apache-2.0
//
// A child process that does not outlive the thread that made it.
#ifndef LANECALL_TESTS_PROCESS_H
#define LANECALL_TESTS_PROCESS_H

#include <lanecall/descriptor.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace lanecall::test {

class Process {
 public:
  // The child inherits standard error, has no standard input, drops its
  // standard output, and has `passed`, if valid, as descriptor 3. Throws
  // std::system_error.
  Process(const std::vector<std::string>& command, const Descriptor& passed);

  // Kills it and waits.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number);

  // Stops it, and returns when it has stopped: no thread of it runs any more.
  void pause();

  // Waits for its end: exit status, or 128 + signal.
  int wait();

 private:
  pid_t pid_;
  bool running_ = true;
};

}  // namespace lanecall::test

#endif
