// SPDX-License-Identifier: Apache-2.0
#include "ring_pair.h"

#include <lanecall/descriptor.h>
#include <poll.h>
#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace lanecall::test {
namespace {

Mapping ringMemory(std::uint32_t bytes) {
  Descriptor file(::memfd_create("ring", MFD_CLOEXEC));
  Mapping memory;
  if (!file.valid() || ::ftruncate(file.get(), bytes) < 0 ||
      memory.mapTwice(file.get(), 0, bytes, PROT_READ | PROT_WRITE) != 0)
    throw std::system_error(errno, std::generic_category(), "a test's ring");
  return memory;
}

}  // namespace

class RingPairEnd : public RingIo {
 public:
  RingPairEnd(RingPair& pair, RingPair::Side side)
      : pair_(pair), side_(side), open_(side == RingPair::kServer) {
    lanecall_index_page& words = pair.words_;
    Ring& tx = side == RingPair::kClient ? outgoing_ : incoming_;
    Ring& rx = side == RingPair::kClient ? incoming_ : outgoing_;
    lanecall_ring_init(&tx.core, &words.tx_producer, &words.tx_consumer,
                       pair.bytes_);
    lanecall_ring_init(&rx.core, &words.rx_producer, &words.rx_consumer,
                       pair.bytes_);
    tx.bytes = pair.memory_[0].data();
    rx.bytes = pair.memory_[1].data();
    if (lanecall_user_counters* shown = pair.counters[side]) {
      outgoing_.counters = shown;
      incoming_.counters = shown + 1;
    }
  }
  ~RingPairEnd() override { close(); }

  int open() override {
    if (int error = std::exchange(pair_.nextOpen, 0)) return error;
    open_ = true;
    return 0;
  }
  int status() override { return std::exchange(pair_.nextStatus, 0); }
  Ring& outgoing() override { return outgoing_; }
  Ring& incoming() override { return incoming_; }
  void notify() override { tell(other()); }
  int end() const override {
    if (side_ == RingPair::kClient && pair_.onLook) pair_.onLook();
    const int end = pair_.ends_[side_];
    lanecall_rmb();
    return end;
  }

  int poll(short events, int timeoutMs) override {
    if (side_ == RingPair::kClient) {
      if (pair_.onPoll) pair_.onPoll();
      if (int result = pair_.nextPoll.exchange(0)) return result;
    }
    ++pair_.slept[side_];
    std::unique_lock<std::mutex> lock(pair_.mutex_);
    bool& signalled = pair_.signalled_[side_][(events & POLLIN) != 0];
    const auto ready = [&] { return signalled || pair_.interrupted_[side_]; };
    if (timeoutMs < 0)
      pair_.changed_.wait(lock, ready);
    else
      pair_.changed_.wait_for(lock, std::chrono::milliseconds(timeoutMs),
                              ready);
    if (pair_.interrupted_[side_]) return -ECANCELED;
    return std::exchange(signalled, false) ? events : 0;
  }

  void interrupt() override {
    std::lock_guard<std::mutex> lock(pair_.mutex_);
    pair_.interrupted_[side_] = true;
    pair_.changed_.notify_all();
  }

  void close() override {
    if (!std::exchange(open_, false)) return;
    if (pair_.onClose) pair_.onClose();
    pair_.finish(other(), -ESHUTDOWN);
  }
  void refuse() override {
    ++pair_.refused[side_];
    close();
  }
  bool isOpen() const override { return open_; }
  std::string name() const override { return "pair"; }

 private:
  RingPair::Side other() const {
    return side_ == RingPair::kClient ? RingPair::kServer : RingPair::kClient;
  }
  void tell(RingPair::Side side) {
    ++pair_.told[side];
    std::lock_guard<std::mutex> lock(pair_.mutex_);
    pair_.signal(side);
  }

  RingPair& pair_;
  const RingPair::Side side_;
  bool open_;
  Ring outgoing_;
  Ring incoming_;
};

RingPair::RingPair(std::uint32_t bytes) : bytes_(bytes) {
  for (Mapping& memory : memory_) memory = ringMemory(bytes);
}

std::unique_ptr<RingIo> RingPair::end(Side side) {
  return std::make_unique<RingPairEnd>(*this, side);
}

void RingPair::finish(Side side, int end) {
  ends_[side] = end;
  std::lock_guard<std::mutex> lock(mutex_);
  signal(side);
}

void RingPair::signal(Side side) {
  signalled_[side][0] = signalled_[side][1] = true;
  changed_.notify_all();
}

}  // namespace lanecall::test
