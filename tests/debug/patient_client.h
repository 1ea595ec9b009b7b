// SPDX-License-Identifier: Apache-2.0
// A client of a device that lies: it does everything that a client does, takes
// whatever comes of it, and waits for nothing longer than it wants to. It looks
// at all it is given for what is none of its business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "../guest/channel.h"

namespace lanecall::debug_tests {

class PatientClient {
 public:
  // The constructor arms a timer of this process: no call blocks it for long.
  // secret: another user's.
  PatientClient(const char* device, std::string secret, std::uint64_t seed);

  // Opens a channel, uses it in one way or another, and closes it.
  void round();
  bool hasSeenTheSecret() const { return hasSeenTheSecret_; }

 private:
  unsigned pick(unsigned below) {
    return static_cast<unsigned>(random_() % below);
  }
  guest_tests::Fd open();
  void ask(int fd);
  void readSysfs(unsigned channel);
  void exchange(int fd);
  void useMapped(int fd);
  void lend(int fd);
  void awaitBriefly(int fd, short events);
  void look(const void* bytes, std::size_t count);

  const char* device_;
  std::string secret_;
  std::mt19937_64 random_;
  std::vector<char> buffer_;
  bool hasSeenTheSecret_ = false;
};

}  // namespace lanecall::debug_tests
