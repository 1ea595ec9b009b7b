// SPDX-License-Identifier: Apache-2.0
//
// One way from client to server, and how to have a server at its end.
#ifndef LANECALL_TESTS_PATH_H
#define LANECALL_TESTS_PATH_H

#include <memory>
#include <string>
#include <vector>

#include "harness.h"

namespace lanecall::test {

class Path {
 public:
  // spec: tcp, unix, or pcie:/dev/lanecallN. Throws std::runtime_error when
  // the settings do not say how to start a server for it.
  static std::unique_ptr<Path> make(const std::string& spec);

  virtual ~Path() = default;
  virtual Harness& harness() = 0;

  // Where a new server is to listen.
  virtual std::string listen() = 0;

  // Where clients reach a server that listens there.
  virtual std::string clientUri(const std::string& bound) = 0;
};

// For test names: tcp, unix, pcie.
std::string shortName(const std::string& spec);

}  // namespace lanecall::test

#endif
