// SPDX-License-Identifier: Apache-2.0
//
// What a test may do to servers, on this machine or, through lanecall-harness,
// on the one that hosts it. All failures are exceptions.
#ifndef LANECALL_TESTS_HARNESS_H
#define LANECALL_TESTS_HARNESS_H

#include <memory>
#include <string>
#include <vector>

namespace lanecall::test {

class Harness {
 public:
  struct Server {
    int id;
    std::vector<std::string> addresses;
  };

  // Kills what still runs.
  virtual ~Harness() = default;

  // An address that begins with card: is served as a card's firmware, such as
  // card:unix:/path.
  virtual Server start(const std::vector<std::string>& listen,
                       const std::vector<std::string>& arguments) = 0;
  // SIGTERM and wait; exit status, or 128 + signal.
  virtual int stop(int id) = 0;
  // SIGKILL and wait.
  virtual void kill(int id) = 0;
  // SIGSTOP: it neither accepts nor answers; SIGCONT.
  virtual void pause(int id) = 0;
  virtual void resume(int id) = 0;
};

// Servers that are children of this process, running the given program.
std::unique_ptr<Harness> localHarness(const std::string& program);

// Servers of the lanecall-harness at an address; *deviceAddress, if given, gets
// where device 0 connects to.
std::unique_ptr<Harness> remoteHarness(const std::string& control,
                                       std::string* deviceAddress);

}  // namespace lanecall::test

#endif
