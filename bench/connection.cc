// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <edu/Edu.h>

#include "calls.h"
#include "clean_calls.h"
#include "cob_calls.h"
#include "dma_calls.h"
#include "memory_client.h"
#include "transports.h"
#include "virtine_runs.h"

namespace lanecall::bench {
namespace {

// A message of more than a MiB streams; it does that best through rings of this
// size, and better than through any size on the way up to its own.
constexpr std::uint32_t kStreamedBytes = 1 << 20;
constexpr std::uint32_t kStreamRingBytes = 512 << 10;

std::uint32_t ringBytes(const Test& test) {
  return test.bytes > kStreamedBytes ? kStreamRingBytes : 0;
}

// The same code for all: client and protocol compiled for the transport.
template <typename Transport>
std::unique_ptr<Connection> callOver(std::shared_ptr<Transport> transport,
                                     const Test& test, int number) {
  using Protocol = apache::thrift::protocol::TBinaryProtocolT<Transport>;
  using Client = AwaitingClient<edu::EduClientT<Protocol>>;
  const Limits limits;
  auto protocol =
      std::make_shared<Protocol>(std::move(transport), limits.stringBytes,
                                 limits.containerItems, true, true);
  return std::make_unique<Calls<Client>>(std::make_unique<Client>(protocol),
                                         test, number);
}

std::unique_ptr<Connection> callEdu(const Channel& channel, const Test& test,
                                    int number) {
  if (test.isAsynchronous) return callAsynchronously(channel);
  if (channel.kind == Channel::Kind::kMemory)
    return std::make_unique<Calls<MemoryClient>>(
        std::make_unique<MemoryClient>(Limits{}), test, number);
  return withTransport(channel, number, ringBytes(test), [&](auto transport) {
    return callOver(transport, test, number);
  });
}

}  // namespace

std::unique_ptr<Connection> connect(const Channel& channel, const Test& test,
                                    int number, int outstanding) {
  if (test.kind == Kind::kClean) return cleanOver(channel, test, outstanding);
  if (test.kind == Kind::kDma) return moveOver(channel, test, outstanding);
  if (test.kind == Kind::kVirtine)
    return runVirtines(channel, test, outstanding);
  return callEdu(channel, test, number);
}

}  // namespace lanecall::bench
