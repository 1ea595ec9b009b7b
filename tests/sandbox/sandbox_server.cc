// SPDX-License-Identifier: Apache-2.0
//
// A server whose handler does what its client says, as one that has been taken
// over would: echo("ATTEMPT PATH") tries it and answers with the error's name,
// or "done". Nothing that is tried has an effect where it is allowed.
#include <edu/Edu.h>
#include <fcntl.h>
#include <lanecall/serve.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <map>
#include <thread>

namespace {

using namespace lanecall;

using Path = const char*;

long forkChild() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  return child < 0 ? child : ::waitpid(child, nullptr, 0);
}

long mapCode() {
  void* code = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return code == MAP_FAILED ? -1 : ::munmap(code, 4096);
}

long makeCodeOfData() {
  void* data = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int result = ::mprotect(data, 4096, PROT_READ | PROT_EXEC);
  const int error = errno;
  ::munmap(data, 4096);
  errno = error;
  return result;
}

long runThread() {
  std::thread([] {}).join();
  return 0;
}

long runProgram(Path path) {
  char* none[] = {nullptr};
  return ::execve(path, none, none);
}

const std::map<std::string, std::function<long(Path)>> kAttempts = {
    {"open", [](Path path) { return ::open(path, O_RDONLY); }},
    {"create",
     [](Path path) { return ::open(path, O_WRONLY | O_CREAT, 0600); }},
    {"openat2", [](Path) { return ::syscall(SYS_openat2, 0, nullptr, 0, 0); }},
    {"mkdir", [](Path path) { return ::mkdir(path, 0700); }},
    {"remove", [](Path path) { return ::unlink(path); }},
    {"rename", [](Path path) { return ::rename(path, path); }},
    {"chmod", [](Path path) { return ::chmod(path, 0666); }},
    {"execve", runProgram},
    {"fork", [](Path) { return forkChild(); }},
    {"clone3", [](Path) { return ::syscall(SYS_clone3, nullptr, 0); }},
    {"socket", [](Path) { return ::socket(AF_INET, SOCK_STREAM, 0); }},
    {"socketpair",
     [](Path) {
       int ends[2];
       return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
     }},
    {"connect",
     [](Path) {
       sockaddr_in to{};
       to.sin_family = AF_INET;
       return ::connect(-1, reinterpret_cast<sockaddr*>(&to), sizeof to);
     }},
    {"sendtoConnecting",
     [](Path) { return ::sendto(-1, "", 0, MSG_FASTOPEN, nullptr, 0); }},
    {"sendmsgConnecting",
     [](Path) {
       const msghdr none{};
       return ::sendmsg(-1, &none, MSG_FASTOPEN);
     }},
    {"bind", [](Path) { return ::bind(-1, nullptr, 0); }},
    {"listen", [](Path) { return ::listen(-1, 1); }},
    {"ptrace",
     [](Path) { return ::ptrace(PTRACE_PEEKDATA, ::getpid(), nullptr, 0); }},
    {"readOther",
     [](Path) {
       return ::process_vm_readv(::getppid(), nullptr, 0, nullptr, 0, 0);
     }},
    {"kill", [](Path) { return ::kill(::getppid(), 0); }},
    {"mapCode", [](Path) { return mapCode(); }},
    {"makeCodeOfData", [](Path) { return makeCodeOfData(); }},
    {"uring", [](Path) { return ::syscall(SYS_io_uring_setup, 0, nullptr); }},
    {"bpf", [](Path) { return ::syscall(SYS_bpf, -1, nullptr, 0); }},
    {"keyring", [](Path) { return ::syscall(SYS_keyctl, -1, 0, 0, 0, 0); }},
    {"memfd", [](Path) { return ::memfd_create("", 0); }},
    {"typeForUser", [](Path) { return ::ioctl(-1, 0x5412 /* TIOCSTI */, ""); }},
    {"setuid", [](Path) { return ::setuid(::getuid()); }},
    {"thread", [](Path) { return runThread(); }},
};

class Handler : public edu::EduNull {
 public:
  void echo(std::string& result, const std::string& text) override {
    const std::size_t space = text.find(' ');
    const std::string path = space == text.npos ? "" : text.substr(space + 1);
    errno = 0;
    const long done = kAttempts.at(text.substr(0, space))(path.c_str());
    result = done < 0 ? ::strerrorname_np(errno) : "done";
  }
};

}  // namespace

int main(int argc, char** argv) {
  return lanecall::serve(
      argc, argv, "Edu",
      std::make_shared<edu::EduProcessor>(std::make_shared<Handler>()));
}
