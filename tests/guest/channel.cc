// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

namespace lanecall::guest_tests {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

std::string pattern(std::size_t start, std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; i++)
    bytes[i] = static_cast<char>((start + i) % 256);
  return bytes;
}

std::string random_bytes(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::uint32_t crc32(const std::string& data) {
  std::uint32_t crc = 0xffffffffU;
  for (unsigned char byte : data) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
  }
  return ~crc;
}

Fd open_channel(const char* device, int flags) {
  Fd fd(::open(device, O_RDWR | O_CLOEXEC | flags));
  EXPECT_TRUE(fd) << device << ": " << std::strerror(errno);
  return fd;
}

Fd open_with(const std::string& order, const char* device) {
  Fd fd = open_channel(device);
  write_all(fd.get(), order + "\n");
  return fd;
}

void write_all(int fd, const std::string& data) {
  std::size_t done = 0;
  while (done < data.size()) {
    ssize_t n = ::write(fd, data.data() + done, data.size() - done);
    ASSERT_GT(n, 0) << "after " << done << ": " << std::strerror(errno);
    done += static_cast<std::size_t>(n);
  }
}

std::string read_count(int fd, std::size_t count) {
  std::string data(count, '\0');
  std::size_t done = 0;
  while (done < count) {
    ssize_t n = ::read(fd, data.data() + done, count - done);
    EXPECT_GE(n, 0) << "after " << done << ": " << std::strerror(errno);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  data.resize(done);
  return data;
}

std::string read_to_end(int fd) {
  std::string all;
  for (;;) {
    std::string part = read_count(fd, 65536);
    all += part;
    if (part.size() < 65536) return all;
  }
}

short poll_for(int fd, short events, std::chrono::milliseconds timeout) {
  pollfd entry{fd, events, 0};
  EXPECT_GE(::poll(&entry, 1, static_cast<int>(timeout.count())), 0);
  return entry.revents;
}

lanecall_channel_status status_of(int fd) {
  lanecall_channel_status status{};
  EXPECT_EQ(::ioctl(fd, LANECALL_IOC_STATUS, &status), 0)
      << std::strerror(errno);
  return status;
}

lanecall_info info_of(int fd) {
  lanecall_info info{};
  EXPECT_EQ(::ioctl(fd, LANECALL_IOC_INFO, &info), 0) << std::strerror(errno);
  return info;
}

std::string sysfs(const std::string& name, const char* device) {
  std::ifstream file("/sys/class/lanecall/" +
                     std::string(std::strrchr(device, '/') + 1) + "/" + name);
  std::string value;
  std::getline(file, value);
  return value;
}

long sysfs_number(const std::string& name, const char* device) {
  std::string value = sysfs(name, device);
  EXPECT_FALSE(value.empty()) << name;
  return std::atol(value.c_str());
}

bool eventually(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + kSoon;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

bool all_channels_free(const char* device) {
  return eventually(
      [device] { return sysfs_number("channels_in_use", device) == 0; });
}

bool is_asleep(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string stat;
  std::getline(file, stat);
  auto after_name = stat.rfind(") ");
  return after_name != std::string::npos && stat[after_name + 2] == 'S';
}

namespace {

std::atomic<bool> handled;

}  // namespace

void with_signal(bool restart, const std::function<void()>& do_it) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { handled = true; };
  action.sa_flags = restart ? SA_RESTART : 0;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  handled = false;
  std::atomic<bool> done{false};
  pthread_t self = ::pthread_self();
  pid_t thread = ::gettid();
  std::thread sender([&] {
    // Asleep twice in a row: in the call, not on the way there.
    int times = 0;
    while (!done && times < 20) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      times = is_asleep(thread) ? times + 1 : 0;
    }
    if (!done) ::pthread_kill(self, SIGUSR1);
  });
  do_it();
  int error = errno;
  done = true;
  sender.join();
  EXPECT_TRUE(handled) << "the call did not block";
  ::sigaction(SIGUSR1, &before, nullptr);
  errno = error;
}

bool signal_was_handled() { return handled; }

bool is_booted_with(const std::string& word) {
  std::ifstream file("/proc/cmdline");
  for (std::string each; file >> each;)
    if (each == word) return true;
  return false;
}

bool is_debug_kernel() {
  utsname name{};
  ::uname(&name);
  return std::strstr(name.release, "-lanecall-debug") != nullptr;
}

int often(int times) { return is_debug_kernel() ? times / 10 : times; }

bool write_file(const std::string& path, const std::string& text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool ok = ::write(fd, text.data(), text.size()) ==
            static_cast<ssize_t>(text.size());
  ::close(fd);
  return ok;
}

Parameter::Parameter(const std::string& name, const std::string& value)
    : path_("/sys/module/lanecall/parameters/" + name) {
  std::ifstream(path_) >> before_;
  EXPECT_TRUE(write_file(path_, value)) << path_;
}

Parameter::~Parameter() { EXPECT_TRUE(write_file(path_, before_)) << path_; }

int as_user(unsigned user, const std::function<int()>& work) {
  pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(user) != 0 || ::setuid(user) != 0) ::_exit(125);
    ::_exit(work());
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 124;
}

}  // namespace lanecall::guest_tests
