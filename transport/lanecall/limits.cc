// SPDX-License-Identifier: Apache-2.0
#include <lanecall/limits.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TCompactProtocol.h>

#include <stdexcept>

namespace lanecall {
namespace thrift = apache::thrift;

std::shared_ptr<thrift::TConfiguration> Limits::configuration() const {
  return std::make_shared<thrift::TConfiguration>(messageBytes, messageBytes,
                                                  depth);
}

std::shared_ptr<thrift::protocol::TProtocolFactory> protocolFactory(
    Protocol protocol, const Limits& limits) {
  using namespace thrift::protocol;
  if (protocol == Protocol::kCompact)
    return std::make_shared<TCompactProtocolFactory>(limits.stringBytes,
                                                     limits.containerItems);
  return std::make_shared<TBinaryProtocolFactory>(
      limits.stringBytes, limits.containerItems, true, true);
}

Protocol parseProtocol(const std::string& name) {
  if (name == "binary") return Protocol::kBinary;
  if (name == "compact") return Protocol::kCompact;
  throw std::invalid_argument("'" + name +
                              "': unknown protocol; use binary or compact");
}

const char* name(Protocol protocol) {
  return protocol == Protocol::kBinary ? "binary" : "compact";
}

}  // namespace lanecall
