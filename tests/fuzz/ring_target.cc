// SPDX-License-Identifier: Apache-2.0
//
// What the ring core promises whatever the other side does, checked against
// counters of 64 bits, which do not wrap:
// - an index is believed only where the other side can be: it does not move
//   back, not past ours, and not more than the ring's size ahead;
// - what is refused changes nothing;
// - the bytes it lets us touch lie inside the ring (the sanitizer watches);
// - it writes our words of the page and no others.
#include "ring_target.h"

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "choices.h"
#include "targets.h"

namespace lanecall::fuzz {
namespace {

constexpr unsigned kLargestShift = 13;
constexpr unsigned kMostSteps = 200;

// What comes before the next load.
std::function<void()> beforeLoad;

class BeforeLoads {
 public:
  explicit BeforeLoads(std::function<void()> action) {
    beforeLoad = std::move(action);
  }
  ~BeforeLoads() { beforeLoad = nullptr; }
};

// Memory that both sides have, the bytes in an allocation of their own so that
// the sanitizer knows its ends.
struct Shared {
  explicit Shared(Choices& choices)
      : size(1u << choices.below(kLargestShift + 1)),
        start(choices.flip() ? choices.word() : 0u - choices.upTo(2 * size)),
        bytes(new std::uint8_t[size]()) {}

  // A side that has moved `start` bytes already.
  lanecall_ring side() {
    lanecall_ring ring;
    lanecall_ring_init(&ring, &page.tx_producer, &page.tx_consumer, size);
    ring.own = ring.other = start;
    return ring;
  }

  const __u32 size;
  const __u32 start;
  lanecall_index_page page{};
  const std::unique_ptr<std::uint8_t[]> bytes;
};

// Our side, with the 64-bit counts that its indices stand for.
class Side {
 public:
  Side(Shared& shared, bool produces)
      : shared_(shared),
        produces_(produces),
        ring_(shared.side()),
        own_(kLapsBefore + shared.start),
        other_(own_) {}

  lanecall_ring& ring() { return ring_; }

  // A look at the other's index gave this. `word`: what it was just then.
  void looked(__s64 result, __u32 word) {
    const __u64 ahead = static_cast<__u32>(word - static_cast<__u32>(other_));
    const __u64 least = other_ + ahead;  // the first place that it can mean
    const __u64 most = produces_ ? own_ : own_ + shared_.size;
    require((result >= 0) == (least <= most),
            "an index is believed where the other side can be, only there");
    if (result >= 0) other_ = least;
    require(result <= static_cast<__s64>(shared_.size),
            "never more than the ring has");
    require(result < 0 || static_cast<__u64>(result) == mine(),
            "what may be used is what lies between the indices");
    isIntact();
  }

  // Bytes that may be used now.
  __u64 mine() const {
    return produces_ ? shared_.size - (own_ - other_) : other_ - own_;
  }

  // Uses n of them, as the device and the driver do: in up to two pieces.
  template <typename Use>
  void touch(__u32 n, Use use) {
    const __u32 at = lanecall_ring_offset(&ring_, ring_.own);
    require(at < shared_.size, "a position lies in the ring");
    const __u32 first = n < shared_.size - at ? n : shared_.size - at;
    use(shared_.bytes.get() + at, first);
    use(shared_.bytes.get(), n - first);
  }

  // Gave n on. wanted: when the other side wished to be told.
  void moved(__u32 n, int told, __u32 wanted) {
    const __u64 distance =
        static_cast<__u32>(wanted - static_cast<__u32>(own_));
    require((told != 0) == (distance < n),
            "the other side is told when its wish is passed, only then");
    own_ += n;
    isIntact();
  }

 private:
  static constexpr __u64 kLapsBefore = __u64{5} << 32;

  void isIntact() const {
    require(ring_.own == static_cast<__u32>(own_), "own moves by what we gave");
    require(ring_.other == static_cast<__u32>(other_),
            "what is refused is not remembered");
    require(produces_ ? own_ - other_ <= shared_.size
                      : other_ - own_ <= shared_.size,
            "a ring holds at most its size");
  }

  Shared& shared_;
  const bool produces_;
  lanecall_ring ring_;
  __u64 own_;
  __u64 other_;
};

// The side that keeps to no rule.
class Liar {
 public:
  Liar(Shared& shared, Choices& choices, const lanecall_ring& victim,
       bool produces)
      : shared_(shared),
        choices_(choices),
        victim_(victim),
        index_(produces ? &shared.page.tx_producer.head
                        : &shared.page.tx_consumer.tail),
        wish_(produces ? &shared.page.tx_producer.want_tail
                       : &shared.page.tx_consumer.want_head) {
    *index_ = *wish_ = saidIndex_ = saidWish_ = victim.own;
  }

  void mayAct() {
    if (choices_.isOver()) return;
    switch (choices_.below(4)) {
      case 0:
        break;
      case 1:
        *index_ = saidIndex_ = lie();
        break;
      case 2:
        *wish_ = saidWish_ = lie();
        break;
      case 3:
        shared_.bytes[choices_.word() & (shared_.size - 1)] = choices_.byte();
        break;
    }
  }

  __u32 index() const { return *index_; }
  __u32 wish() const { return *wish_; }

  // Its words are as it left them.
  bool isUntouched() const {
    return *index_ == saidIndex_ && *wish_ == saidWish_;
  }

 private:
  // Near what matters, or anywhere.
  __u32 lie() {
    const __u32 size = shared_.size;
    const std::array<__u32, 4> from = {victim_.own, victim_.other, 0,
                                       victim_.own + size};
    const std::array<__u32, 8> by = {
        0, 1, 0u - 1, size, 0u - size, size + 1, 0x80000000u, 0x7fffffffu};
    if (choices_.flip()) return choices_.word();
    const __u32 base = from[choices_.below(from.size())];
    if (choices_.flip()) return base + choices_.upTo(size);
    return base + by[choices_.below(by.size())];
  }

  Shared& shared_;
  Choices& choices_;
  const lanecall_ring& victim_;
  __le32* const index_;
  __le32* const wish_;
  __u32 saidIndex_;
  __u32 saidWish_;
};

// Nobody has business anywhere else in the page.
bool isOnlyWords(const lanecall_index_page& page) {
  lanecall_index_page words{};
  words.tx_producer.head = page.tx_producer.head;
  words.tx_producer.want_tail = page.tx_producer.want_tail;
  words.tx_consumer.tail = page.tx_consumer.tail;
  words.tx_consumer.want_head = page.tx_consumer.want_head;
  return std::memcmp(&words, &page, sizeof page) == 0;
}

void produce(Shared& shared, Choices& choices, Side& side, Liar& liar) {
  lanecall_ring& ring = side.ring();
  if (choices.flip()) {
    const __u32 wanted = 1 + choices.upTo(shared.size - 1);
    const __s64 space = lanecall_ring_arm_space(&ring, wanted);
    return side.looked(space, liar.index());
  }
  const __s64 space = lanecall_ring_space(&ring);
  side.looked(space, liar.index());
  const __u32 n = choices.upTo(static_cast<__u32>(side.mine()));
  side.touch(
      n, [](std::uint8_t* at, __u32 bytes) { std::memset(at, 0x5a, bytes); });
  const int told = lanecall_ring_publish(&ring, n);
  side.moved(n, told, liar.wish());
}

void consume(Shared& shared, Choices& choices, Side& side, Liar& liar) {
  lanecall_ring& ring = side.ring();
  const bool arms = choices.flip();
  const __s64 held =
      arms ? lanecall_ring_arm(&ring) : lanecall_ring_look(&ring);
  side.looked(held, liar.index());
  if (arms) return;
  const __u32 n = choices.upTo(static_cast<__u32>(side.mine()));
  std::vector<std::uint8_t> copy;
  side.touch(n, [&](const std::uint8_t* at, __u32 bytes) {
    copy.insert(copy.end(), at, at + bytes);
  });
  require(copy.size() == n && n <= shared.size, "as many bytes as were there");
  const int told = lanecall_ring_release(&ring, n);
  side.moved(n, told, liar.wish());
}

}  // namespace

__u32 load(const __le32* word) {
  if (beforeLoad) beforeLoad();
  return *word;
}

void store(__le32* word, __u32 value) { *word = value; }

void ring(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  Shared shared(choices);
  const bool produces = choices.flip();
  Side side(shared, produces);
  Liar liar(shared, choices, side.ring(), !produces);
  const BeforeLoads lies([&] { liar.mayAct(); });
  for (unsigned i = 0; i < kMostSteps && !choices.isOver(); ++i) {
    if (produces)
      produce(shared, choices, side, liar);
    else
      consume(shared, choices, side, liar);
    require(liar.isUntouched(), "a side writes its own words only");
  }
  require(isOnlyWords(shared.page), "a side writes its own words only");
}

namespace {

// The byte that belongs at a place of the stream.
std::uint8_t byteAt(__u64 i) {
  return static_cast<std::uint8_t>(i * 131 + (i >> 8) * 7 + (i >> 16));
}

}  // namespace

void ringPair(const std::uint8_t* data, std::size_t size) {
  Choices choices(data, size);
  Shared shared(choices);
  shared.page.tx_producer.head = shared.page.tx_consumer.tail = shared.start;
  shared.page.tx_producer.want_tail = shared.page.tx_consumer.want_head =
      shared.start - 1;
  Side in(shared, true), out(shared, false);
  __u64 sent = 0, seen = 0;
  for (unsigned i = 0; i < kMostSteps && !choices.isOver(); ++i) {
    if (choices.flip()) {
      const __u32 wanted = 1 + choices.upTo(shared.size - 1);
      const __s64 space = choices.flip()
                              ? lanecall_ring_space(&in.ring())
                              : lanecall_ring_arm_space(&in.ring(), wanted);
      in.looked(space, shared.page.tx_consumer.tail);
      require(space == static_cast<__s64>(shared.size - (sent - seen)),
              "an honest side is believed");
      const __u32 n = choices.upTo(static_cast<__u32>(space));
      in.touch(n, [&](std::uint8_t* at, __u32 bytes) {
        for (__u32 b = 0; b < bytes; ++b) at[b] = byteAt(sent++);
      });
      in.moved(n, lanecall_ring_publish(&in.ring(), n),
               shared.page.tx_consumer.want_head);
    } else {
      const __s64 held = choices.flip() ? lanecall_ring_look(&out.ring())
                                        : lanecall_ring_arm(&out.ring());
      out.looked(held, shared.page.tx_producer.head);
      require(held == static_cast<__s64>(sent - seen),
              "an honest side is believed");
      const __u32 n = choices.upTo(static_cast<__u32>(held));
      out.touch(n, [&](const std::uint8_t* at, __u32 bytes) {
        for (__u32 b = 0; b < bytes; ++b)
          require(at[b] == byteAt(seen++), "bytes arrive once, in order");
      });
      out.moved(n, lanecall_ring_release(&out.ring(), n),
                shared.page.tx_producer.want_tail);
    }
  }
}

}  // namespace lanecall::fuzz
