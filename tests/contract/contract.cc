// SPDX-License-Identifier: Apache-2.0
#include "contract.h"

#include <stdexcept>

namespace lanecall::test {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

Bytes someBytes(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (auto& b : bytes) b = static_cast<unsigned char>(random());
  return bytes;
}

void Contract::begin(Family family, DeviceOptions options, int backlog) {
  listen(family, backlog);
  if (family == Family::kCard) {
    options.card = server_->rpc();
    use(makeDevice(options));
  } else {
    beginAt(server_->rpc(), options);
  }
  enable();
}

void Contract::enable() {
  enableEngine(device(),
               family_ == Family::kCard ? LANECALL_FEATURE_CARD_RINGS : 0);
}

void Contract::beginAt(const std::string& rpc, DeviceOptions options) {
  options.rpc = rpc;
  use(makeDevice(options));
}

Call Contract::call(ChannelOptions options) {
  auto channel = std::make_unique<UserChannel>(device(), options);
  if (!channel->start(soon())) {
    throw std::runtime_error("the channel did not start");
  }
  auto peer = server().accept(soon());
  if (!peer) throw std::runtime_error("the device did not connect");
  return {std::move(channel), std::move(*peer)};
}

std::unique_ptr<UserChannel> Contract::opened(ChannelOptions options) {
  auto channel = std::make_unique<UserChannel>(device(), options);
  channel->open();
  const Deadline deadline = soon();
  for (;;) {
    const uint32_t state = channel->state();
    if (state != LANECALL_CLOSED && state != LANECALL_CONNECTING) break;
    if (!device().waitInterrupt(channel->vector(), deadline)) break;
  }
  return channel;
}

std::unique_ptr<UserChannel> Contract::ready(ChannelOptions options) {
  auto channel = opened(options);
  if (channel->state() != LANECALL_READY) {
    throw std::runtime_error("the channel did not become ready");
  }
  return channel;
}

AssertionResult Contract::endsWith(UserChannel& channel, uint32_t error) {
  if (!channel.waitFor(LANECALL_ENDED, soon())) {
    return AssertionFailure() << "did not end, status " << channel.status();
  }
  const uint32_t word = LANECALL_STATUS_WORD(LANECALL_ENDED, error) |
                        (channel.status() & LANECALL_IN_CARD);
  if (channel.status() != word || channel.statusRegister() != word) {
    return AssertionFailure()
           << std::hex << "status " << channel.status() << ", register "
           << channel.statusRegister() << ", expected " << word;
  }
  return AssertionSuccess();
}

AssertionResult Contract::isClosed(UserChannel& channel) {
  if (!channel.waitFor(LANECALL_CLOSED, soon()) || channel.status() != 0 ||
      channel.statusRegister() != 0) {
    return AssertionFailure() << std::hex << "status " << channel.status()
                              << ", register " << channel.statusRegister();
  }
  return AssertionSuccess();
}

AssertionResult Contract::works(Call& call) {
  const Bytes out = someBytes(300, 7), back = someBytes(500, 8);
  if (!call->write(out, soon())) return AssertionFailure() << "cannot write";
  if (call.peer.receive(out.size(), soon()) != out) {
    return AssertionFailure() << "the server got other bytes";
  }
  if (!call.peer.send(back, soon())) {
    return AssertionFailure() << "the server cannot send";
  }
  if (call->read(back.size(), soon()) != back) {
    return AssertionFailure() << "the driver got other bytes";
  }
  return AssertionSuccess();
}

AssertionResult Contract::worksAnew(UserChannel& channel) {
  server().discardPending();
  channel.clear();
  if (!channel.start(soon())) return AssertionFailure() << "did not start";
  auto peer = server().accept(soon());
  if (!peer) return AssertionFailure() << "did not connect";
  Call call{std::unique_ptr<UserChannel>(&channel), std::move(*peer)};
  const AssertionResult result = works(call);
  call.channel.release();
  return result;
}

}  // namespace lanecall::test
