// SPDX-License-Identifier: Apache-2.0
#include <lanecall/closing_protocol.h>
#include <lanecall/compact_protocol.h>
#include <lanecall/ring_transport.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TProtocolException.h>
#include <thrift/transport/TTransportException.h>

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace lanecall {
namespace {

using apache::thrift::protocol::TBinaryProtocolT;
using apache::thrift::protocol::TMessageType;
using apache::thrift::protocol::TProtocol;
using apache::thrift::protocol::TProtocolException;
using apache::thrift::protocol::TType;
using apache::thrift::transport::TTransport;
using apache::thrift::transport::TTransportException;

// A failure of the transport itself has closed it already, or leaves it open on
// purpose.
bool is_refusal(const std::exception& error, const Limits& limits) {
  return !dynamic_cast<const TTransportException*>(&error) ||
         !explainLimit(error, limits).empty();
}

// What is refused may be what is left of a device that was pulled out: throws
// that instead.
void checkRead(TTransport& transport) {
  if (auto* rings = dynamic_cast<RingTransport*>(&transport))
    rings->checkRead();
}

// Base: the protocol as it would be otherwise. Overrides what generated code
// calls of it as a TProtocol, where a limit can be met.
template <typename Base>
class ClosingProtocol : public Base {
 public:
  template <typename... Arguments>
  explicit ClosingProtocol(const Limits& limits, Arguments&&... arguments)
      : Base(std::forward<Arguments>(arguments)...), limits_(limits) {}

  std::uint32_t readMessageBegin_virt(std::string& name, TMessageType& type,
                                      std::int32_t& id) override {
    depth_ = 0;
    return closing([&] { return this->readMessageBegin(name, type, id); });
  }

  std::uint32_t readStructBegin_virt(std::string& name) override {
    ++depth_;
    return this->readStructBegin(name);
  }
  std::uint32_t readStructEnd_virt() override {
    --depth_;
    return this->readStructEnd();
  }

  std::uint32_t readFieldBegin_virt(std::string& name, TType& type,
                                    std::int16_t& id) override {
    return closing([&] {
      const std::uint32_t bytes = this->readFieldBegin(name, type, id);
      checkDepth(type);
      return bytes;
    });
  }
  std::uint32_t readMapBegin_virt(TType& key, TType& value,
                                  std::uint32_t& size) override {
    return closing([&] {
      const std::uint32_t bytes = this->readMapBegin(key, value, size);
      if (size > 0) checkDepth(key), checkDepth(value);
      return bytes;
    });
  }
  std::uint32_t readListBegin_virt(TType& type, std::uint32_t& size) override {
    return closing([&] {
      const std::uint32_t bytes = this->readListBegin(type, size);
      if (size > 0) checkDepth(type);
      return bytes;
    });
  }
  std::uint32_t readSetBegin_virt(TType& type, std::uint32_t& size) override {
    return closing([&] {
      const std::uint32_t bytes = this->readSetBegin(type, size);
      if (size > 0) checkDepth(type);
      return bytes;
    });
  }

  // Compact, they may have no end.
  std::uint32_t readI16_virt(std::int16_t& number) override {
    return closing([&] { return this->readI16(number); });
  }
  std::uint32_t readI32_virt(std::int32_t& number) override {
    return closing([&] { return this->readI32(number); });
  }
  std::uint32_t readI64_virt(std::int64_t& number) override {
    return closing([&] { return this->readI64(number); });
  }

  std::uint32_t readString_virt(std::string& text) override {
    return closing([&] { return this->readString(text); });
  }
  std::uint32_t readBinary_virt(std::string& bytes) override {
    return closing([&] { return this->readBinary(bytes); });
  }
  std::uint32_t skip_virt(TType type) override {
    return closing([&] { return this->skip(type); });
  }

 private:
  template <typename Read>
  std::uint32_t closing(Read read) try {
    return read();
  } catch (const std::exception& error) {
    if (is_refusal(error, limits_)) {
      checkRead(*this->getTransport());
      this->getTransport()->close();
    }
    throw;
  }

  // Generated code asks before it reads a struct, but not the protocol; so that
  // is asked where it sees one come.
  void checkDepth(TType type) const {
    if (type == apache::thrift::protocol::T_STRUCT && depth_ >= limits_.depth)
      throw TProtocolException(TProtocolException::DEPTH_LIMIT);
  }

  const Limits limits_;
  int depth_ = 0;  // structs that are being read
};

template <typename Transport>
std::shared_ptr<TProtocol> make(const std::shared_ptr<Transport>& on,
                                Protocol protocol, const Limits& limits) {
  if (protocol == Protocol::kCompact)
    return std::make_shared<ClosingProtocol<CompactProtocol<Transport>>>(
        limits, on, limits.stringBytes, limits.containerItems);
  return std::make_shared<ClosingProtocol<TBinaryProtocolT<Transport>>>(
      limits, on, limits.stringBytes, limits.containerItems, true, true);
}

}  // namespace

std::shared_ptr<TProtocol> closingProtocol(
    const std::shared_ptr<TTransport>& on, Protocol protocol,
    const Limits& limits) {
  // Code of the ring's own where there is one.
  if (auto rings = std::dynamic_pointer_cast<RingTransport>(on))
    return make(rings, protocol, limits);
  return make(on, protocol, limits);
}

}  // namespace lanecall
