// SPDX-License-Identifier: Apache-2.0
//
// Thrift's compact protocol reads each string into memory that it keeps until
// the connection ends. This one gives it back after a message that made it
// large.
#ifndef LANECALL_COMPACT_PROTOCOL_H
#define LANECALL_COMPACT_PROTOCOL_H

#include <thrift/protocol/TCompactProtocol.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

namespace lanecall {

template <typename Transport>
class CompactProtocol
    : public apache::thrift::protocol::TCompactProtocolT<Transport> {
 public:
  using apache::thrift::protocol::TCompactProtocolT<
      Transport>::TCompactProtocolT;

  std::uint32_t readMessageEnd_virt() override {
    giveBack();
    return this->readMessageEnd();
  }
  // Of code that is compiled for the base only this end is seen.
  std::uint32_t writeMessageEnd() override {
    giveBack();
    return 0;
  }

 private:
  // Memory that a message made larger than this is freed with it.
  static constexpr std::int32_t kKeptBytes = 64 << 10;

  void giveBack() {
    if (this->string_buf_size_ <= kKeptBytes) return;
    std::free(std::exchange(this->string_buf_, nullptr));
    this->string_buf_size_ = 0;
  }
};

}  // namespace lanecall

#endif
