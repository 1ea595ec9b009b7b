// SPDX-License-Identifier: Apache-2.0
//
// What a side is willing to take from the other. Thrift's own defaults allow
// five bytes to make a 2 GB allocation; everything the library makes is made
// with these instead, on clients and servers alike.
#ifndef LANECALL_LIMITS_H
#define LANECALL_LIMITS_H

#include <thrift/TConfiguration.h>
#include <thrift/protocol/TProtocol.h>

#include <exception>
#include <memory>
#include <string>

namespace lanecall {

struct Limits {
  int messageBytes = 64 << 20;     // one message or frame, either way;
                                   // below 2 GiB - 4
  int stringBytes = 64 << 20;      // one string or binary
  int containerItems = 256 << 10;  // one list, set or map; made at once
  int depth = 64;                  // structs in structs

  std::shared_ptr<apache::thrift::TConfiguration> configuration() const;
};

enum class Protocol { kBinary, kCompact };

// Makes protocols that keep the limits and, for binary, insist on the version
// word (a client without it is of the days before Thrift 0.2).
std::shared_ptr<apache::thrift::protocol::TProtocolFactory> protocolFactory(
    Protocol protocol, const Limits& limits);

// Thrift's own words for a limit that was met name neither it nor its option:
// these do, and what to do. Empty for any other failure.
std::string explainLimit(const std::exception& error, const Limits& limits);

// "binary" or "compact"; std::invalid_argument otherwise.
Protocol parseProtocol(const std::string& name);
const char* name(Protocol protocol);

}  // namespace lanecall

#endif
