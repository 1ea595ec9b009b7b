// SPDX-License-Identifier: Apache-2.0
//
// A server that keeps what it needs to answer calls, and nothing else: whoever
// takes it over by a call of theirs is left with the connections that it has.
// serve() does this with --sandbox (serve.h); a server of your own:
//
//   lanecall::Sandbox sandbox({"/run/greeter"});  // before any thread
//   lanecall::Server server(...);                 // listens in /run/greeter
//   sandbox.close();
//   server.serve();
//
// What is left then: memory, threads, time, and the descriptors that it has or
// is given by a device. Anything else is refused with EPERM, handlers' calls as
// well: opening any file, sockets and connections of its own, other programs
// and processes, memory to run code from, and tracing. So a handler opens what
// it needs before close(), and what it writes to before Sandbox.
#ifndef LANECALL_SANDBOX_H
#define LANECALL_SANDBOX_H

#include <string>
#include <vector>

namespace lanecall {

class Sandbox {
 public:
  // For good, and for the threads that this one will start: no capabilities, no
  // way to gain any, and where the kernel has Landlock, on the file system
  // nothing is run, written or made but sockets in these folders and below, and
  // nothing removed elsewhere. Call it before other threads are started: each
  // has these for itself. Throws std::runtime_error, one line that says what to
  // do.
  explicit Sandbox(const std::vector<std::string>& socketFolders);

  // Whether the kernel has Landlock.
  bool guardsFiles() const { return guardsFiles_; }

  // For good, in all threads: the system calls above. Throws as Sandbox().
  //
  // What can be removed from then on is what is in these folders; so nothing
  // can where there is anything but sockets at this moment, or no Landlock. The
  // sockets' own files then stay, and the next server replaces them: returns
  // whether they are removed. Give sockets a folder of their own.
  bool close() const;

 private:
  const std::vector<std::string> folders_;
  const bool guardsFiles_;
};

}  // namespace lanecall

#endif
