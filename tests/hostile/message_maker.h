// SPDX-License-Identifier: Apache-2.0
//
// Messages as a hostile client sends them: right calls, calls of what is not
// there, and calls that were spoiled where it hurts: types, lengths, counts,
// nesting, ends. The same seed makes the same messages.
#ifndef LANECALL_TESTS_HOSTILE_MESSAGE_MAKER_H
#define LANECALL_TESTS_HOSTILE_MESSAGE_MAKER_H

#include <lanecall/buffered.h>
#include <lanecall/limits.h>
#include <random.h>
#include <thrift/protocol/TProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <cstdint>
#include <memory>
#include <string>

namespace lanecall::test {

class MessageMaker {
 public:
  MessageMaker(Protocol protocol, Framing framing, Random& random);

  // In a frame, where frames are used.
  std::string next();

  // The beginning of a list of so many structs that the service knows, and of a
  // string of which so many bytes come.
  std::string longList(std::uint32_t items);
  std::string longString(std::uint32_t size, std::uint32_t comes);

 private:
  using Memory = apache::thrift::transport::TMemoryBuffer;

  std::string unframed();
  std::string rightCall();
  void callEdu();
  void callVirtine();
  std::string wrongCall();
  std::string spoiled();
  std::string nested();
  std::string counted();
  std::string noise();
  std::string begin(const std::string& name);
  std::string head();
  std::string framed(const std::string& message);
  std::string text(std::size_t most);
  std::int64_t number();
  template <typename T>
  T numberOf() {
    return static_cast<T>(number());
  }
  void putCount(std::string* to, std::uint32_t count) const;
  void putField(std::string* to, std::uint8_t binaryType,
                std::uint8_t compactType) const;

  const Protocol protocol_;
  const Framing framing_;
  Random& random_;
  const std::shared_ptr<Memory> memory_;
  const std::shared_ptr<apache::thrift::protocol::TProtocol> writer_;
};

}  // namespace lanecall::test

#endif
