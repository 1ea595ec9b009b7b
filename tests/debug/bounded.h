// SPDX-License-Identifier: Apache-2.0
// Work in a child process, that has to come to an end by itself: what does not
// is found, whatever it hangs in. Runs in the guest, in a program with one
// thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>

namespace lanecall::debug_tests {

// Longer than all that the driver may take, on a machine that is slow.
inline constexpr std::chrono::seconds kBound{300};

// Waits until a condition holds; false after kBound.
bool in_time(const std::function<bool()>& condition);

class Child {
 public:
  // Begins work as that user, who may open the nodes and has no other rights;
  // it returns the child's exit status. what: for messages.
  Child(std::string what, unsigned user, const std::function<int()>& work);
  Child(Child&& other) noexcept;
  ~Child();  // has to have ended, or ends

  // Its exit status. Fails the test, with -1, if it crashes, or does not end in
  // time; if it cannot even be killed, there is nothing left to test, and the
  // program ends.
  int wait();

 private:
  bool hasEnded(int* status);
  bool endsInTime(int* status);

  std::string what_;
  pid_t pid_ = -1;
};

// Both, one after the other.
int run_bounded(const std::string& what, unsigned user,
                const std::function<int()>& work);

}  // namespace lanecall::debug_tests
