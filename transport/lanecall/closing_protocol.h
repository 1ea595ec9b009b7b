// SPDX-License-Identifier: Apache-2.0
//
// A client's protocol that closes its transport when it refuses an answer: one
// with too long a list or string, too many structs in structs, or what is no
// answer. The rest of it is still to come, and would be taken for the answer to
// the next call. So it does what a timeout does; the exception is Thrift's own.
//
// A server needs none of this: it drops a connection whose message it refuses.
#ifndef LANECALL_CLOSING_PROTOCOL_H
#define LANECALL_CLOSING_PROTOCOL_H

#include <lanecall/limits.h>
#include <thrift/protocol/TProtocol.h>
#include <thrift/transport/TTransport.h>

#include <memory>

namespace lanecall {

// As protocolFactory() makes them otherwise. For one thread at a time.
std::shared_ptr<apache::thrift::protocol::TProtocol> closingProtocol(
    const std::shared_ptr<apache::thrift::transport::TTransport>& on,
    Protocol protocol, const Limits& limits);

}  // namespace lanecall

#endif
