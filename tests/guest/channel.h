// SPDX-License-Identifier: Apache-2.0
// What the driver tests share: descriptors that close themselves, the peer's
// language, and the driver's sysfs. Runs in the guest.
#pragma once

#include <gtest/gtest.h>
#include <lanecall/device.h>
#include <lanecall/driver.h>
#include <poll.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lanecall::guest_tests {

// The devices that run_driver_tests sets up.
inline constexpr const char* kPeer = "/dev/lanecall0";
inline constexpr const char* kRefused = "/dev/lanecall1";
inline constexpr const char* kNoAnswer = "/dev/lanecall2";
inline constexpr const char* kTcpPeer = "/dev/lanecall3";

// How long anything may take that should happen soon; generous, for a slow
// machine. Nothing waits for it that works.
inline constexpr std::chrono::seconds kSoon{30};

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }
  void reset(int fd = -1);
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Bytes of a stream that is its own check: the peer's pattern().
std::string pattern(std::size_t start, std::size_t count);

// Bytes that compress to nothing simple, from a seed.
std::string random_bytes(std::size_t count, std::uint32_t seed);

// CRC-32 as zlib computes it.
std::uint32_t crc32(const std::string& data);

// A channel, opened; fails the test if that fails.
Fd open_channel(const char* device = kPeer, int flags = 0);

// A channel whose peer was told what to do.
Fd open_with(const std::string& order, const char* device = kPeer);

void write_all(int fd, const std::string& data);

// Reads until count bytes are there, or the end.
std::string read_count(int fd, std::size_t count);
std::string read_to_end(int fd);

// revents after at most kSoon; 0 if nothing happened.
short poll_for(int fd, short events, std::chrono::milliseconds timeout = kSoon);

lanecall_channel_status status_of(int fd);
lanecall_info info_of(int fd);

// A value in the sysfs folder of a device, without the newline.
std::string sysfs(const std::string& name, const char* device = kPeer);
long sysfs_number(const std::string& name, const char* device = kPeer);

// Waits until a condition holds; false after kSoon. For states that change
// without a descriptor to poll.
bool eventually(const std::function<bool()>& condition);

// Waits until no channel of the device is in use.
bool all_channels_free(const char* device = kPeer);

// Calls do_it, which is expected to block, and when this thread sleeps sends it
// a signal that has a handler, with or without SA_RESTART. Keeps errno.
void with_signal(bool restart, const std::function<void()>& do_it);

// Does this thread (of this program) sleep?
bool is_asleep(pid_t thread);

// Has that signal's handler run?
bool signal_was_handled();

// Is this word on the kernel's command line?
bool is_booted_with(const std::string& word);

// Is this the kernel with all checkers, on which everything takes many times as
// long?
bool is_debug_kernel();

// So often; there, a tenth of it.
int often(int times);

// Writes text to a file; true if that worked.
bool write_file(const std::string& path, const std::string& text);

// A parameter of the module, as it was again at the end.
class Parameter {
 public:
  Parameter(const std::string& name, const std::string& value);
  ~Parameter();

 private:
  std::string path_;
  std::string before_;
};

// Users without privileges.
inline constexpr unsigned kNobody = 65534;
inline constexpr unsigned kSomebody = 1000;

// Exit status of a child that is this user; 0 is success.
int as_user(unsigned user, const std::function<int()>& work);

}  // namespace lanecall::guest_tests
