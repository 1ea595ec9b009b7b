// SPDX-License-Identifier: Apache-2.0
//
// Whatever the other side of the rings does, RingTransport and the protocols on
// it end in an answer or in one of Thrift's exceptions; an index that cannot be
// true ends the connection; and no more is allocated than the limits allow.
#include <lanecall/limits.h>
#include <lanecall/ring_transport.h>
#include <thrift/Thrift.h>
#include <thrift/protocol/TProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "choices.h"
#include "hostile_ring_io.h"
#include "targets.h"

namespace lanecall::fuzz {
namespace {

using namespace apache::thrift;
using protocol::TMessageType;
using protocol::TProtocol;
using protocol::TType;
using transport::TMemoryBuffer;
using transport::TTransportException;

constexpr unsigned kMostSteps = 64;
constexpr std::uint32_t kMostBytes = 6000;  // of one read or write

Limits limits() {
  Limits limits;
  limits.messageBytes = limits.stringBytes = 64 << 10;
  limits.containerItems = 1000;
  limits.depth = 16;
  return limits;
}

// One of every type.
void writeMessage(TProtocol& to, const std::string& text) {
  to.writeMessageBegin("echo", TMessageType::T_CALL, 7);
  to.writeStructBegin("arguments");
  to.writeFieldBegin("text", TType::T_STRING, 1);
  to.writeString(text);
  to.writeFieldEnd();
  to.writeFieldBegin("list", TType::T_LIST, 2);
  to.writeListBegin(TType::T_I32, 3);
  for (int i = 0; i < 3; ++i) to.writeI32(i << 20);
  to.writeListEnd();
  to.writeFieldEnd();
  to.writeFieldBegin("map", TType::T_MAP, 3);
  to.writeMapBegin(TType::T_BYTE, TType::T_DOUBLE, 1);
  to.writeByte(9);
  to.writeDouble(0.5);
  to.writeMapEnd();
  to.writeFieldEnd();
  to.writeFieldBegin("flag", TType::T_BOOL, 4);
  to.writeBool(true);
  to.writeFieldEnd();
  to.writeFieldBegin("inner", TType::T_STRUCT, 5);
  to.writeStructBegin("inner");
  to.writeFieldBegin("long", TType::T_I64, 1);
  to.writeI64(std::int64_t{1} << 40);
  to.writeFieldEnd();
  to.writeFieldStop();
  to.writeStructEnd();
  to.writeFieldEnd();
  to.writeFieldStop();
  to.writeStructEnd();
  to.writeMessageEnd();
}

std::string framed(const std::string& message) {
  std::string frame(4, '\0');
  for (int i = 0; i < 4; ++i)
    frame[i] = static_cast<char>(message.size() >> (24 - 8 * i));
  return frame + message;
}

HostileRingIo::Messages makeMessages() {
  HostileRingIo::Messages all;
  for (Protocol kind : {Protocol::kBinary, Protocol::kCompact})
    for (std::size_t size : {0, 20, 1500, 9000}) {
      auto memory = std::make_shared<TMemoryBuffer>();
      auto protocol = protocolFactory(kind, Limits())->getProtocol(memory);
      writeMessage(*protocol, std::string(size, 'x'));
      all.push_back(memory->getBufferAsString());
      all.push_back(framed(all.back()));
    }
  return all;
}

const HostileRingIo::Messages& messages() {
  static const HostileRingIo::Messages all = makeMessages();
  return all;
}

class Case {
 public:
  explicit Case(Choices& choices)
      : choices_(choices),
        io_(new HostileRingIo(choices, messages())),
        transport_(std::make_shared<RingTransport>(std::unique_ptr<RingIo>(io_),
                                                   limits().configuration())),
        protocol_(protocolFactory(
                      choices.flip() ? Protocol::kBinary : Protocol::kCompact,
                      limits())
                      ->getProtocol(transport_)) {
    transport_->setSpin(Spin::never());
    if (choices.flip()) transport_->setFraming(Framing::kFramed);
  }

  void run() {
    for (unsigned i = 0; i < kMostSteps && !choices_.isOver(); ++i) {
      io_->forgetLies();
      if (!step()) return;
      io_->requireInOrder();
    }
  }

 private:
  // False when the connection is over.
  bool step() try {
    const bool mustFail = act();
    require(!mustFail || !io_->hasOnlyLied(),
            "an impossible index ends the connection");
    return true;
  } catch (const TTransportException& error) {
    const bool isRefusal =
        std::string_view(error.what())
            .find("the other side's place in a ring") != std::string_view::npos;
    require(isRefusal == io_->isRefused(), "a refusal is told, and told of");
    require(!isRefusal || !transport_->isOpen(), "a refusal is an end");
    return transport_->isOpen();
  } catch (const TException&) {  // no message of the protocol's
    return transport_->isOpen();
  }

  // Whether it looks at the rings and has to say what is wrong with them.
  bool act() {
    switch (choices_.below(12)) {
      case 0:
      case 1:
        transport_->write(buffer_.data(), choices_.upTo(kMostBytes));
        return true;
      case 2:
      case 3:
        transport_->flush();
        return true;
      case 4:
        transport_->read(buffer_.data(), 1 + choices_.upTo(kMostBytes - 1));
        return true;
      case 5:
        transport_->readAll(buffer_.data(), choices_.upTo(kMostBytes));
        return true;
      case 6:
        borrow();
        return true;
      case 7:
        transport_->peek();
        return true;
      case 8:
        choices_.flip() ? transport_->isReadable() : transport_->armReadable();
        return false;
      case 9:
        transport_->settle();
        return false;
      default:
        readMessage();
        return false;
    }
  }

  void borrow() {
    std::uint32_t size = 1 + choices_.upTo(kMostBytes - 1);
    const std::uint32_t asked = size;
    const std::uint8_t* at = transport_->borrow(nullptr, &size);
    if (!at) return;
    require(size >= asked, "what is lent is all there");
    std::memcpy(buffer_.data(), at, asked);
    transport_->consume(asked);
  }

  void readMessage() {
    std::string name;
    TMessageType type;
    std::int32_t sequence;
    protocol_->readMessageBegin(name, type, sequence);
    protocol_->skip(TType::T_STRUCT);
    protocol_->readMessageEnd();
    transport_->readEnd();
  }

  Choices& choices_;
  HostileRingIo* const io_;  // transport_ owns it
  const std::shared_ptr<RingTransport> transport_;
  const std::shared_ptr<TProtocol> protocol_;
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(kMostBytes);
};

}  // namespace

void transport(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  Case(choices).run();
}

}  // namespace lanecall::fuzz
