// SPDX-License-Identifier: Apache-2.0
//
// What every command of the client works on: an address, options, one
// connection; and how a failure reads on one line.
#ifndef LANECALL_CLIENT_SESSION_H
#define LANECALL_CLIENT_SESSION_H

#include <edu/Edu.h>
#include <lanecall/open.h>
#include <virtine/VirtineCleanup.h>

#include <exception>
#include <string>

namespace lanecall {

class Session {
 public:
  // Connects; throws TTransportException.
  Session(const std::string& to, const ClientOptions& options);

  // Where the calls go, as the user wrote it.
  const std::string& path() const { return to_; }
  const TransportPtr& transport() const { return transport_; }
  edu::EduClient& edu() { return edu_; }
  virtine::VirtineCleanupClient& virtine() { return virtine_; }

 private:
  std::string to_;
  TransportPtr transport_;
  ProtocolPtr protocol_;
  edu::EduClient edu_;
  virtine::VirtineCleanupClient virtine_;
};

// One line that names the address and what to do. For any exception of a
// command.
std::string describeFailure(const std::exception& error, const std::string& to,
                            const ClientOptions& options);

// Whether it is about an address that says nothing, not about who is there.
bool is_bad_address(const std::exception& error);

}  // namespace lanecall

#endif
