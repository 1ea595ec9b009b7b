// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_device.h>
#include <lanecall/card_transport.h>
#include <lanecall/handler_wait.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace lanecall {
namespace {

using apache::thrift::transport::TTransport;

// Whether this thread is in a callback: what it would wait for comes by this
// thread.
thread_local bool isCallingBack = false;

}  // namespace

void callBack(const DmaCallback& done,
              std::span<const DmaResult> results) noexcept {
  const bool before = std::exchange(isCallingBack, true);
  done(results);
  isCallingBack = before;
}

// ---- DmaRun

class DmaRun::State {
 public:
  explicit State(std::size_t operations)
      : results_(operations), left_(operations) {}

  bool isDone() const { return left_.load(std::memory_order_acquire) == 0; }

  void take(std::span<const DmaResult> results) {
    for (const DmaResult& result : results) results_[result.operation] = result;
    std::lock_guard<std::mutex> lock(mutex_);
    left_.fetch_sub(results.size(), std::memory_order_release);
    if (isDone()) done_.notify_all();
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    waitInCall(done_, lock, [this] { return isDone(); });
  }

  bool waitFor(std::chrono::milliseconds timeout) {
    std::unique_lock<std::mutex> lock(mutex_);
    return waitInCallFor(done_, lock, timeout, [this] { return isDone(); });
  }

  // Once isDone().
  const std::vector<DmaResult>& results() const { return results_; }

 private:
  std::vector<DmaResult> results_;
  std::atomic<std::size_t> left_;
  std::mutex mutex_;  // so that no end of left_ is missed
  std::condition_variable done_;
};

DmaRun::DmaRun(std::size_t operations)
    : state_(std::make_shared<State>(operations)) {}

bool DmaRun::isDone() const { return state_->isDone(); }

const std::vector<DmaResult>& DmaRun::wait() const {
  if (isCallingBack)
    throw std::logic_error("a DmaCallback may not wait for other DMA");
  state_->wait();
  return state_->results();
}

bool DmaRun::waitFor(std::chrono::milliseconds timeout) const {
  if (isCallingBack)
    throw std::logic_error("a DmaCallback may not wait for other DMA");
  return state_->waitFor(timeout);
}

DmaCallback DmaRun::callback() {
  return [state = state_](std::span<const DmaResult> results) {
    state->take(results);
  };
}

// ---- CardDevice

DmaRun CardDevice::start(DmaBatch batch) {
  DmaRun run(batch.size());
  submit(std::move(batch), run.callback());
  return run;
}

void CardDevice::run(DmaBatch batch) {
  const DmaRun run = start(std::move(batch));
  const std::vector<DmaResult>& results = run.wait();
  const auto failed = std::find_if(
      results.begin(), results.end(),
      [](const DmaResult& result) { return result.error != DmaError::kNone; });
  if (failed != results.end()) throw DmaFailure(*failed);
}

std::shared_ptr<CardDevice> cardDeviceOf(
    const std::shared_ptr<TTransport>& transport) {
  const auto card = std::dynamic_pointer_cast<CardTransport>(transport);
  return card ? card->channel().device() : nullptr;
}

}  // namespace lanecall
