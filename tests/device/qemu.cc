// SPDX-License-Identifier: Apache-2.0
#include "qemu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace lanecall::test {
namespace {

constexpr int kAnswerMs = 60000;
constexpr size_t kBelowOneMegabyte = size_t{1} << 20;  // holes and ROMs

std::string program() {
  const char* chosen = std::getenv("LANECALL_QEMU");
  return chosen ? chosen : LANECALL_QEMU;
}

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct Pair {
  Descriptor ours, theirs;
};
Pair socketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    fail("socketpair");
  }
  return {Descriptor(fds[0]), Descriptor(fds[1])};
}

Descriptor memoryFile() {
  Descriptor fd(memfd_create("qemu-stderr", MFD_CLOEXEC));
  if (!fd.valid()) fail("memfd_create");
  return fd;
}

std::string contents(int fd) {
  std::string text;
  char part[4096];
  for (off_t at = 0;;) {
    const ssize_t n = pread(fd, part, sizeof part, at);
    if (n <= 0) return text;
    text.append(part, static_cast<size_t>(n));
    at += n;
  }
}

// The child keeps these descriptors and dies with this thread's process.
pid_t spawn(const std::vector<std::string>& arguments, int err,
            const std::vector<int>& kept) {
  std::vector<char*> argv;
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  for (int fd : kept) fcntl(fd, F_SETFD, 0);
  const int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(null, 1);
  dup2(err, 2);
  execv(argv[0], argv.data());
  dprintf(2, "%s: %s", argv[0], std::strerror(errno));
  _exit(127);
}

void reap(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

std::vector<std::string> commonArguments(const std::string& machine) {
  return {program(),
          "-accel",
          "qtest",
          "-machine",
          machine,
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
          "-L",
          "/usr/share/seabios",
          "-L",
          "/usr/share/qemu"};
}

void writeAll(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n =
        send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n > 0) done += static_cast<size_t>(n);
    if (n < 0 && errno != EINTR) return;  // reading will tell
  }
}

// One line without its end; false at the deadline or when nothing more comes.
bool readLine(int fd, std::string& buffer, std::string& line,
              const Deadline& deadline) {
  for (;;) {
    const auto end = buffer.find('\n');
    if (end != std::string::npos) {
      line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      return true;
    }
    pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = poll(&p, 1, deadline.remainingMs());
    if (ready == 0) return false;
    char part[65536];
    const ssize_t n = recv(fd, part, sizeof part, 0);
    if (n == 0 || (n < 0 && errno != EINTR)) return false;
    if (n > 0) buffer.append(part, static_cast<size_t>(n));
  }
}

std::string hexadecimal(uint64_t value) {
  char text[32];
  snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

char widthLetter(unsigned width) {
  return width == 1 ? 'b' : width == 2 ? 'w' : width == 4 ? 'l' : 'q';
}

}  // namespace

Qemu::Qemu(const QemuOptions& options)
    : memory_(0, options.memory_bytes, kBelowOneMegabyte),
      stderr_(memoryFile()) {
  Pair qtest = socketPair(), qmp = socketPair();
  const auto number = [](const Descriptor& fd) {
    return std::to_string(fd.get());
  };
  const std::string bytes = std::to_string(options.memory_bytes);
  auto arguments =
      commonArguments(options.machine + ",memory-backend=guest-memory");
  const std::vector<std::string> more{
      "-m",
      std::to_string(options.memory_bytes >> 20),
      "-object",
      "memory-backend-file,id=guest-memory,share=on,size=" + bytes +
          ",mem-path=/proc/self/fd/" + std::to_string(memory_.fd()),
      "-chardev",
      "socket,id=qtest,fd=" + number(qtest.theirs),
      "-qtest",
      "chardev:qtest",
      "-qtest-log",
      "/dev/null",
      "-chardev",
      "socket,id=qmp,fd=" + number(qmp.theirs),
      "-mon",
      "chardev=qmp,mode=control"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  pid_ = spawn(arguments, stderr_.get(),
               {qtest.theirs.get(), qmp.theirs.get(), memory_.fd()});
  qtest_ = std::move(qtest.ours);
  qmp_ = std::move(qmp.ours);
  qtest.theirs.reset();
  qmp.theirs.reset();
  try {
    std::string greeting;
    if (!readQmpLine(greeting, Deadline::in(kAnswerMs))) died("starting");
    this->qmp(R"({"execute": "qmp_capabilities"})");
  } catch (...) {
    reap(pid_);
    throw;
  }
}

Qemu::~Qemu() { reap(pid_); }

void Qemu::quit() {
  qmp(R"({"execute": "quit"})");
  // A descriptor that becomes readable when the process ends.
  Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  pollfd p{.fd = process.get(), .events = POLLIN, .revents = 0};
  siginfo_t info{};
  if (poll(&p, 1, kAnswerMs) != 1 ||
      waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0)
    died("quitting");
  if (info.si_code != CLD_EXITED || info.si_status != 0)
    throw std::runtime_error("QEMU ends badly: " + said());
}

std::string Qemu::said() const { return contents(stderr_.get()); }

void Qemu::died(const std::string& doing) {
  throw std::runtime_error("QEMU does not answer (" + doing + "): " + said());
}

bool Qemu::alive() {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info,
                WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

// The next answer; notes the interrupts that are told before it.
std::string Qemu::qtestLine() {
  for (;;) {
    std::string line;
    if (!readLine(qtest_.get(), qtest_buffer_, line, Deadline::in(kAnswerMs))) {
      died("qtest");
    }
    if (!line.starts_with("IRQ ")) return line;
    const bool raised = line.starts_with("IRQ raise ");
    const unsigned n =
        static_cast<unsigned>(std::stoul(line.substr(line.rfind(' '))));
    irqs_[n] = raised;
  }
}

std::string Qemu::qtest(const std::string& command) {
  std::lock_guard lock(mutex_);
  writeAll(qtest_.get(), command + "\n");
  const std::string line = qtestLine();
  if (!line.starts_with("OK")) {
    throw std::runtime_error("qtest: " + command + ": " + line);
  }
  return line.size() > 3 ? line.substr(3) : "";
}

void Qemu::qtestAll(const std::vector<std::string>& commands) {
  constexpr size_t kBatch = 256;
  std::lock_guard lock(mutex_);
  for (size_t at = 0; at < commands.size(); at += kBatch) {
    const size_t n = std::min(kBatch, commands.size() - at);
    std::string text;
    for (size_t i = 0; i < n; ++i) text += commands[at + i] + "\n";
    writeAll(qtest_.get(), text);
    for (size_t i = 0; i < n; ++i) qtestLine();
  }
}

uint64_t Qemu::readMemory(uint64_t address, unsigned width) {
  const std::string answer = qtest(std::string("read") + widthLetter(width) +
                                   " " + hexadecimal(address));
  return std::stoull(answer, nullptr, 16);
}

void Qemu::writeMemory(uint64_t address, unsigned width, uint64_t value) {
  qtest(std::string("write") + widthLetter(width) + " " + hexadecimal(address) +
        " " + hexadecimal(value));
}

uint32_t Qemu::inl(uint16_t port) {
  return static_cast<uint32_t>(
      std::stoul(qtest("inl " + hexadecimal(port)), nullptr, 16));
}

void Qemu::outl(uint16_t port, uint32_t value) {
  qtest("outl " + hexadecimal(port) + " " + hexadecimal(value));
}

void Qemu::clockStep(uint64_t ns) { qtest("clock_step " + std::to_string(ns)); }

bool Qemu::irqLevel(unsigned number) {
  turn();
  std::lock_guard lock(mutex_);
  return irqs_[number];
}

bool Qemu::readQmpLine(std::string& line, const Deadline& deadline) {
  return readLine(qmp_.get(), qmp_buffer_, line, deadline);
}

std::string Qemu::qmp(const std::string& command) {
  std::lock_guard lock(mutex_);
  writeAll(qmp_.get(), command + "\n");
  for (;;) {
    std::string line;
    if (!readQmpLine(line, Deadline::in(kAnswerMs))) died("QMP");
    if (line.find("\"event\": ") == std::string::npos) return line;
    events_.push_back(line);
  }
}

bool Qemu::waitEvent(const std::string& name, const Deadline& deadline) {
  std::lock_guard lock(mutex_);
  const std::string wanted = "\"event\": \"" + name + "\"";
  for (;;) {
    const auto it = std::find_if(
        events_.begin(), events_.end(),
        [&](const std::string& e) { return e.find(wanted) != e.npos; });
    if (it != events_.end()) {
      events_.erase(it);
      return true;
    }
    std::string line;
    if (!readQmpLine(line, deadline)) return false;
    events_.push_back(line);
  }
}

Refusal runUntilExit(const std::vector<std::string>& more,
                     const Deadline& deadline) {
  Descriptor err = memoryFile();
  auto arguments = commonArguments("q35");
  arguments.insert(arguments.end(), more.begin(), more.end());
  const pid_t pid = spawn(arguments, err.get(), {});
  // A descriptor that becomes readable when the process ends.
  Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd p{.fd = process.get(), .events = POLLIN, .revents = 0};
  const bool over = poll(&p, 1, deadline.remainingMs()) > 0;
  if (!over) kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  return {over && WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          contents(err.get())};
}

}  // namespace lanecall::test
