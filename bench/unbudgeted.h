// SPDX-License-Identifier: Apache-2.0
//
// A transport of Thrift's that starts a new message budget with each message.
// Thrift's own never does, so that each connection ends after 100 MB.
#ifndef LANECALL_BENCH_UNBUDGETED_H
#define LANECALL_BENCH_UNBUDGETED_H

#include <cstdint>

namespace lanecall::bench {

template <typename Transport>
class Unbudgeted : public Transport {
 public:
  using Transport::Transport;

  std::uint32_t readEnd() override {
    const std::uint32_t bytes = Transport::readEnd();
    this->resetConsumedMessageSize();
    return bytes;
  }
};

}  // namespace lanecall::bench

#endif
