// SPDX-License-Identifier: Apache-2.0
//
// Lets tests in a guest start, kill and pause servers on the host. Servers end
// with the connection that started them.

namespace cpp lanecall.test

struct RunningServer {
  1: required i32 id
  2: required list<string> addresses
}

exception HarnessFailure {
  1: string reason
}

service HarnessControl {
  // Where the device behind the guest's n-th node connects to.
  string deviceAddress(1: i32 device) throws (1: HarnessFailure failure)

  // Starts lanecall-server with these arguments after its --listen and --card
  // options (harness.h); returns once clients may connect.
  RunningServer start(1: list<string> listen, 2: list<string> arguments)
      throws (1: HarnessFailure failure)

  // SIGTERM; the exit status, or 128 + signal.
  i32 stop(1: i32 id) throws (1: HarnessFailure failure)

  // SIGKILL, SIGSTOP, SIGCONT.
  void kill(1: i32 id) throws (1: HarnessFailure failure)
  void pause(1: i32 id) throws (1: HarnessFailure failure)
  void resume(1: i32 id) throws (1: HarnessFailure failure)
}
