// SPDX-License-Identifier: Apache-2.0
//
// Who opened a channel, as its device says: on a card port in every OFFER, on a
// socket in the PROXY header that a device with proxy=on begins with (--proxy,
// server.h). A handler asks like this:
//
//   Handler(const apache::thrift::TConnectionInfo& connection)
//       : caller_(lanecall::callerOf(connection.transport)) {}
//
// It is the device's word, so worth as much as whoever may connect where the
// device does: see --socket-mode and --allow-uid. And the user is the word of
// the guest's kernel.
#ifndef LANECALL_CALLER_H
#define LANECALL_CALLER_H

#include <thrift/transport/TTransport.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lanecall {

// What was not told is empty.
struct Caller {
  std::string device;  // its id in QEMU, at most 15 characters
  std::optional<std::uint32_t> channel;
  std::optional<std::uint32_t> uid;  // of the guest's user

  // For logs: "device=edu0 channel=3 uid=1000", with ? for what was not told.
  std::string str() const;

  bool operator==(const Caller&) const = default;
};

// A device's name for itself as a word: at most 15 characters, with _ for what
// is no letter, digit, '.', '_', ':' or '-'. Empty only if the name is.
std::string deviceWord(std::string_view name);

// Of a connection's transport, as a processor's maker gets it; empty for any
// other transport.
Caller callerOf(
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport);

}  // namespace lanecall

#endif
