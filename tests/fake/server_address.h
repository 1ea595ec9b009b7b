// SPDX-License-Identifier: Apache-2.0
// A server's address as the device's rpc= and card= properties name it, and
// connections to it that never block.
#ifndef LANECALL_TESTS_SERVER_ADDRESS_H
#define LANECALL_TESTS_SERVER_ADDRESS_H

#include <lanecall/descriptor.h>
#include <sys/socket.h>

#include <string>

namespace lanecall::test {

class ServerAddress {
 public:
  // "unix:/path" or "tcp:a.b.c.d:port"; throws std::invalid_argument.
  // A socket of packets can only be a Unix one.
  explicit ServerAddress(const std::string& uri, int type = SOCK_STREAM);

  struct Attempt {
    Descriptor socket;
    int error;  // 0 connected, EINPROGRESS wait until writable, else failed
  };
  Attempt connect() const;

 private:
  sockaddr_storage address_{};
  socklen_t length_ = 0;
  int type_;
};

}  // namespace lanecall::test

#endif
