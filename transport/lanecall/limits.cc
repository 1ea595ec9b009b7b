// SPDX-License-Identifier: Apache-2.0
#include <lanecall/compact_protocol.h>
#include <lanecall/limits.h>
#include <lanecall/ring_transport.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TProtocolException.h>
#include <thrift/transport/TTransportException.h>

#include <stdexcept>
#include <string_view>

namespace lanecall {
namespace thrift = apache::thrift;
namespace {

std::string over(const std::string& what, int limit, const char* unit,
                 const char* options) {
  return what + " over " + std::to_string(limit) + " " + unit + " (" + options +
         ")";
}

std::string limitMet(const thrift::protocol::TProtocolException& error,
                     const Limits& limits) {
  using thrift::protocol::TProtocolException;
  if (error.getType() == TProtocolException::DEPTH_LIMIT)
    return over("structs nested", limits.depth, "deep",
                "--max-depth, Limits::depth");
  if (error.getType() != TProtocolException::SIZE_LIMIT) return {};
  return over("a string", limits.stringBytes, "bytes",
              "--max-message or --max-string, Limits::stringBytes") +
         over(" or a list, set or map", limits.containerItems, "items",
              "--max-container, Limits::containerItems");
}

std::string limitMet(const thrift::transport::TTransportException& error,
                     const Limits& limits) {
  const std::string_view text = error.what();
  const char* const options = "--max-message, Limits::messageBytes";
  if (text.starts_with("MaxMessageSize"))
    return over("a message", limits.messageBytes, "bytes", options);
  if (text.starts_with("Received an oversized frame"))
    return over("a frame", limits.messageBytes, "bytes", options) +
           ", or bytes of another --framing or --protocol";
  return {};
}

class CompactProtocolFactory : public thrift::protocol::TProtocolFactory {
 public:
  explicit CompactProtocolFactory(const Limits& limits) : limits_(limits) {}

  std::shared_ptr<thrift::protocol::TProtocol> getProtocol(
      std::shared_ptr<thrift::transport::TTransport> on) override {
    if (auto rings = std::dynamic_pointer_cast<RingTransport>(on))
      return make(rings);
    return make(on);
  }

 private:
  template <typename Transport>
  std::shared_ptr<thrift::protocol::TProtocol> make(
      const std::shared_ptr<Transport>& on) const {
    return std::make_shared<CompactProtocol<Transport>>(on, limits_.stringBytes,
                                                        limits_.containerItems);
  }

  const Limits limits_;
};

}  // namespace

std::shared_ptr<thrift::TConfiguration> Limits::configuration() const {
  return std::make_shared<thrift::TConfiguration>(messageBytes, messageBytes,
                                                  depth);
}

std::shared_ptr<thrift::protocol::TProtocolFactory> protocolFactory(
    Protocol protocol, const Limits& limits) {
  // On a RingTransport these make protocols that are compiled for it, on any
  // other the usual ones.
  using namespace thrift::protocol;
  if (protocol == Protocol::kCompact)
    return std::make_shared<CompactProtocolFactory>(limits);
  return std::make_shared<TBinaryProtocolFactoryT<RingTransport>>(
      limits.stringBytes, limits.containerItems, true, true);
}

std::string explainLimit(const std::exception& error, const Limits& limits) {
  std::string met;
  if (auto* e =
          dynamic_cast<const thrift::protocol::TProtocolException*>(&error))
    met = limitMet(*e, limits);
  if (auto* e =
          dynamic_cast<const thrift::transport::TTransportException*>(&error))
    met = limitMet(*e, limits);
  if (!met.empty()) met += "; raise the limit on both sides, or send less";
  return met;
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
