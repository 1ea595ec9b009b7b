// SPDX-License-Identifier: Apache-2.0
#include <lanecall/after_answer.h>

namespace lanecall {
namespace {

thread_local AnswerHook* hookOfThread = nullptr;

}  // namespace

void afterAnswer(std::function<void()> work) {
  if (hookOfThread)
    hookOfThread->work_.push_back(std::move(work));
  else
    work();
}

AnswerHook::AnswerHook() noexcept { hookOfThread = this; }

AnswerHook::~AnswerHook() { hookOfThread = nullptr; }

void AnswerHook::run() {
  while (!work_.empty())
    for (const auto& work : std::exchange(work_, {})) work();
}

}  // namespace lanecall
