// SPDX-License-Identifier: Apache-2.0
#include "bounded.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

namespace lanecall::debug_tests {
namespace {

// Nodes are root's group's, as devtmpfs makes them each time the driver is
// bound.
void become(unsigned user) {
  if (user != 0 && (::setgid(0) != 0 || ::setuid(user) != 0)) ::_exit(125);
}

}  // namespace

bool in_time(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kBound;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

Child::Child(std::string what, unsigned user, const std::function<int()>& work)
    : what_(std::move(what)), pid_(::fork()) {
  if (pid_ == 0) {
    become(user);
    ::_exit(work());
  }
  EXPECT_GT(pid_, 0) << what_;
}

Child::Child(Child&& other) noexcept
    : what_(std::move(other.what_)), pid_(std::exchange(other.pid_, -1)) {}

Child::~Child() {
  if (pid_ > 0) wait();
}

bool Child::hasEnded(int* status) {
  return ::waitpid(pid_, status, WNOHANG) == pid_;
}

bool Child::endsInTime(int* status) {
  return in_time([this, status] { return hasEnded(status); });
}

int Child::wait() {
  int status = 0;
  if (!endsInTime(&status)) {
    ADD_FAILURE() << what_ << " does not end";
    ::kill(pid_, SIGKILL);
    if (!endsInTime(&status)) {
      std::printf("%s cannot be killed\n", what_.c_str());
      std::fflush(stdout);
      std::_Exit(EXIT_FAILURE);
    }
  }
  pid_ = -1;
  EXPECT_TRUE(WIFEXITED(status)) << what_ << ": status " << status;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int run_bounded(const std::string& what, unsigned user,
                const std::function<int()>& work) {
  return Child(what, user, work).wait();
}

}  // namespace lanecall::debug_tests
