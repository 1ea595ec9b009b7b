// SPDX-License-Identifier: Apache-2.0
//
// Where a server is: tcp:host:port, tcp:[v6-address]:port, unix:/path, or
// pcie:/dev/lanecall0.
#ifndef LANECALL_URI_H
#define LANECALL_URI_H

#include <cstdint>
#include <string>

namespace lanecall {

struct Uri {
  enum class Scheme { kTcp, kUnix, kPcie };

  Scheme scheme;
  std::string host;        // tcp, without brackets
  std::uint16_t port = 0;  // tcp; 0 (any free port) only makes sense to listen
  std::string path;        // unix, pcie

  // The same address in writing.
  std::string str() const;
};

// Throws std::invalid_argument with one line that names text and what would be
// right.
Uri parseUri(const std::string& text);

// The same for a server, which is not told to use pcie.
Uri parseListenUri(const std::string& text);

}  // namespace lanecall

#endif
