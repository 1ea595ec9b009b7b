// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>

namespace lanecall::test {
namespace {

// In the child, where only async-signal-safe calls are allowed: other threads
// of the parent may have held any lock.
[[noreturn]] void become(char* const argv[], int passed, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before that took effect.
  if (::getppid() != parent) ::_exit(126);
  int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  if (passed == 3)
    ::fcntl(3, F_SETFD, 0);
  else if (passed >= 0)
    ::dup2(passed, 3);
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& command,
                 const Descriptor& passed) {
  std::vector<char*> argv;
  for (const std::string& word : command)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) become(argv.data(), passed.get(), parent);
}

Process::~Process() {
  if (!running_) return;
  signal(SIGKILL);
  wait();
}

void Process::signal(int number) {
  if (running_) ::kill(pid_, number);
}

void Process::pause() {
  signal(SIGSTOP);
  int status = 0;
  while (::waitpid(pid_, &status, WUNTRACED) < 0)
    if (errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "waitpid");
  if (WIFSTOPPED(status)) return;
  running_ = false;
  throw std::runtime_error("the process ended instead of stopping");
}

int Process::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0)
    if (errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "waitpid");
  running_ = false;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace lanecall::test
