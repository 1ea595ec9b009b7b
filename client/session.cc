// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include <thrift/TApplicationException.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/protocol/TProtocolException.h>

#include <string_view>

namespace lanecall {
namespace {

using apache::thrift::TApplicationException;
using apache::thrift::TException;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::protocol::TProtocolException;
using apache::thrift::transport::TTransportException;

std::string describeTransport(const TTransportException& error,
                              const std::string& to, const std::string& wire) {
  const std::string text = error.what();
  // Thrift's own words for these name neither address nor remedy.
  if (text.starts_with("No more data"))
    return to +
           ": the server closed the connection before it answered; does it "
           "let you in, speak " +
           wire + ", and take messages of this size? See its log";
  if (text.starts_with("Frame size has negative value"))
    return to + ": what came is no frame of ours (" + text +
           "); give client and server the same --framing and --protocol";
  return error.what();
}

std::string describeProtocol(const TProtocolException& error,
                             const std::string& to, const std::string& wire) {
  return to + ": what came is not " + wire + " (" + error.what() +
         "); give client and server the same --protocol and --framing";
}

}  // namespace

Session::Session(const std::string& to, const ClientOptions& options)
    : to_(to),
      transport_(openTransport(to, options)),
      protocol_(protocolOn(transport_, options)),
      edu_(protocol_),
      virtine_(std::make_shared<TMultiplexedProtocol>(protocol_,
                                                      "VirtineCleanup")) {}

std::string describeFailure(const std::exception& error, const std::string& to,
                            const ClientOptions& options) {
  const std::string wire =
      std::string(name(options.protocol)) + ", " + name(options.framing);
  if (std::string limit = explainLimit(error, options.limits); !limit.empty())
    return to + ": what came has " + limit;
  if (auto* e = dynamic_cast<const TTransportException*>(&error))
    return describeTransport(*e, to, wire);
  if (auto* e = dynamic_cast<const TProtocolException*>(&error))
    return describeProtocol(*e, to, wire);
  if (auto* e = dynamic_cast<const TApplicationException*>(&error))
    return to + ": the server could not run the call: " + e->what() +
           "; is it a server of this service, and of this version?";
  return to + ": " + error.what();
}

bool is_bad_address(const std::exception& error) {
  auto* e = dynamic_cast<const TTransportException*>(&error);
  return e && e->getType() == TTransportException::BAD_ARGS;
}

}  // namespace lanecall
