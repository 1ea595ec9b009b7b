// SPDX-License-Identifier: Apache-2.0
//
// The calls of an AsyncChannel, in the order in which they were issued, which
// is the order of their replies. A call that ended before its reply came stays
// as a place in that order, so that the reply can be dropped.
#ifndef LANECALL_ASYNC_CALLS_H
#define LANECALL_ASYNC_CALLS_H

#include <lanecall/deadline.h>
#include <thrift/async/TAsyncChannel.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace lanecall {

struct AsyncCall {
  using Time = Deadline::Clock::time_point;
  using Buffer = apache::thrift::transport::TMemoryBuffer;

  std::uint64_t id = 0;
  // The request's first bytes, of which error messages take its name.
  std::array<std::uint8_t, 48> head;
  std::uint8_t headBytes = 0;
  apache::thrift::async::TAsyncChannel::VoidCallback cob;
  Buffer* reply = nullptr;  // null: none comes
  Time deadline = Time::max();
  int timeoutMs = 0;  // that made the deadline
};

class AsyncCalls {
 public:
  using Time = AsyncCall::Time;

  // The id of the call added last: 1, 2, 3 and so on.
  std::uint64_t last() const { return last_; }
  // Calls that have not ended.
  std::size_t live() const { return live_; }
  // Replies that will come, or would.
  std::size_t awaited() const { return awaited_; }

  // Gives it its id.
  AsyncCall& add(AsyncCall call);

  // Null if it has ended, or never was. Valid until the next add() or take().
  AsyncCall* find(std::uint64_t id);

  // Ends a live call and hands it out. replyComes: it is still to be expected,
  // and dropped.
  AsyncCall take(std::uint64_t id, bool replyComes);

  // Whose reply comes next, ended or not; 0: nobody's.
  std::uint64_t nextToReply() const;
  // Its reply has come: ends the call and hands it out, unless it had ended.
  std::optional<AsyncCall> replied();

  // Ends all, in order; no replies will come.
  std::vector<AsyncCall> takeAll();

  void setDeadline(AsyncCall& call, int ms);
  // No live call has a deadline before that.
  Time firstDeadline() const { return firstDeadline_; }
  // Live calls whose deadlines have passed.
  std::vector<std::uint64_t> overdue(Time now);

 private:
  struct Place {
    AsyncCall call;
    bool live = true;
    bool awaited = false;
  };

  Place* place(std::uint64_t id);
  void forget();

  std::deque<Place> places_;  // of consecutive ids
  std::uint64_t last_ = 0;
  std::size_t live_ = 0;
  std::size_t awaited_ = 0;
  Time firstDeadline_ = Time::max();
};

}  // namespace lanecall

#endif
