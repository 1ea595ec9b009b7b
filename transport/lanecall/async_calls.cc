// SPDX-License-Identifier: Apache-2.0
#include <lanecall/async_calls.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace lanecall {

AsyncCall& AsyncCalls::add(AsyncCall call) {
  call.id = ++last_;
  Place& place = places_.emplace_back();
  place.call = std::move(call);
  place.awaited = place.call.reply != nullptr;
  ++live_;
  if (place.awaited) ++awaited_;
  return place.call;
}

AsyncCalls::Place* AsyncCalls::place(std::uint64_t id) {
  if (places_.empty() || id > last_) return nullptr;
  const std::uint64_t first = places_.front().call.id;
  return id < first ? nullptr : &places_[id - first];
}

AsyncCall* AsyncCalls::find(std::uint64_t id) {
  Place* found = place(id);
  return found && found->live ? &found->call : nullptr;
}

AsyncCall AsyncCalls::take(std::uint64_t id, bool replyComes) {
  Place& at = *place(id);
  at.live = false;
  --live_;
  if (at.awaited && !replyComes) {
    at.awaited = false;
    --awaited_;
  }
  AsyncCall call = std::move(at.call);
  at.call.id = id;
  forget();
  return call;
}

// Places at the front that nobody needs. So the front's reply comes next, but
// where messages that are only sent have not gone yet.
void AsyncCalls::forget() {
  while (!places_.empty() && !places_.front().live && !places_.front().awaited)
    places_.pop_front();
}

std::uint64_t AsyncCalls::nextToReply() const {
  if (awaited_ == 0) return 0;
  return std::find_if(places_.begin(), places_.end(),
                      [](const Place& at) { return at.awaited; })
      ->call.id;
}

std::optional<AsyncCall> AsyncCalls::replied() {
  Place& at = *place(nextToReply());
  if (at.live) return take(at.call.id, false);
  at.awaited = false;
  --awaited_;
  forget();
  return std::nullopt;
}

std::vector<AsyncCall> AsyncCalls::takeAll() {
  std::vector<AsyncCall> calls;
  for (Place& at : places_)
    if (at.live) calls.push_back(std::move(at.call));
  places_.clear();
  live_ = awaited_ = 0;
  firstDeadline_ = Time::max();
  return calls;
}

void AsyncCalls::setDeadline(AsyncCall& call, int ms) {
  call.timeoutMs = ms;
  call.deadline = ms > 0
                      ? Deadline::Clock::now() + std::chrono::milliseconds(ms)
                      : Time::max();
  firstDeadline_ = std::min(firstDeadline_, call.deadline);
}

std::vector<std::uint64_t> AsyncCalls::overdue(Time now) {
  std::vector<std::uint64_t> ids;
  firstDeadline_ = Time::max();
  for (const Place& at : places_) {
    if (!at.live) continue;
    if (at.call.deadline <= now)
      ids.push_back(at.call.id);
    else
      firstDeadline_ = std::min(firstDeadline_, at.call.deadline);
  }
  return ids;
}

}  // namespace lanecall
