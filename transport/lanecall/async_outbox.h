// SPDX-License-Identifier: Apache-2.0
//
// What an AsyncChannel sends: messages go in, bytes go into the outgoing ring
// as there is room, and what finds none waits here, in order. Nothing is
// published before push(), so that messages of one turn go together.
#ifndef LANECALL_ASYNC_OUTBOX_H
#define LANECALL_ASYNC_OUTBOX_H

#include <lanecall/buffered.h>
#include <lanecall/counters.h>
#include <lanecall/ring_io.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace lanecall {

class AsyncOutbox {
 public:
  explicit AsyncOutbox(Framing framing) : framing_(framing) {}

  // From now on there is a ring, until clear().
  void attach(RingIo& io);
  // Forgets what was not sent.
  void clear();

  // Copies the message of a call; ids go up. size may be 0: nothing is sent.
  void add(std::uint64_t id, const std::uint8_t* data, std::size_t size);

  // Takes back the message of a call, if it has one and no byte of it is in the
  // ring.
  bool drop(std::uint64_t id);

  // Whether add() would exceed so many bytes that wait. One message alone
  // never does.
  bool isFullFor(std::size_t size, std::size_t limit) const {
    return !waiting_.empty() && queued_ + size > limit;
  }
  // Bytes that wait.
  std::size_t queued() const { return queued_; }

  // Publishes what is in the ring, fills it with what waits, at most so many
  // bytes, and has the channel take what it takes now. 0, or a negated errno
  // value: -EPROTO for an index that cannot be. (RingIo::end() is for the
  // caller to ask.)
  int push(std::size_t most);

  // Whether the other side has to take bytes before more can be done here.
  bool isStuck();
  // The same, and now there is room: push() again.
  bool canGoOn();
  // Asks to be told when there is; whether there is already. For isStuck().
  bool armRoom();

  // The messages of calls up to this one are in the ring.
  std::uint64_t handed() const { return handed_; }

  // Of this connection, or the last one.
  lanecall_user_counters counted() const { return tally_.get(); }

 private:
  struct Waiting {
    std::uint64_t id;
    std::vector<std::uint8_t> bytes;  // empty: of a call that sends nothing
  };

  std::uint32_t room() const;
  bool makeRoom(std::uint32_t least);
  void stage(const std::uint8_t* data, std::uint32_t size);
  void publish();
  std::uint32_t piece() const;
  int fill(std::size_t most);

  const Framing framing_;
  RingIo* io_ = nullptr;
  Tally tally_;
  std::uint32_t staged_ = 0;  // bytes in the ring that were not published
  std::deque<Waiting> waiting_;
  std::size_t sent_ = 0;    // bytes of the first that are in the ring
  std::size_t queued_ = 0;  // of waiting_, without sent_
  std::uint64_t handed_ = 0;
};

}  // namespace lanecall

#endif
