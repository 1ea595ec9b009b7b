// SPDX-License-Identifier: Apache-2.0
#include <lanecall/handler_wait.h>

#include <utility>

namespace lanecall {
namespace {

thread_local const std::function<void()>* hookOfThread = nullptr;

}  // namespace

void aboutToWait() noexcept {
  if (hookOfThread) (*hookOfThread)();
}

WaitHook::WaitHook(const std::function<void()>& hook) noexcept
    : before_(std::exchange(hookOfThread, &hook)) {}

WaitHook::~WaitHook() { hookOfThread = before_; }

}  // namespace lanecall
