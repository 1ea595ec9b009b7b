// SPDX-License-Identifier: Apache-2.0
#include "model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <vector>

namespace model {
namespace {

constexpr int kWords = 4;  // head, want_tail, tail, want_head
constexpr int kBytes = 4;  // the largest ring searched
constexpr int kPlaces = kWords + kBytes;
constexpr int kHead = 0, kTail = 2;

lanecall_index_page g_page;  // only its addresses count

int placeOf(const __le32* word) {
  if (word == &g_page.tx_producer.head) return kHead;
  if (word == &g_page.tx_producer.want_tail) return 1;
  if (word == &g_page.tx_consumer.tail) return kTail;
  return 3;
}

struct Access {
  enum Kind { kLoad, kStore, kBarrier, kExpect, kNotify, kWait } kind;
  int place = 0;
  __u32 value = 0;
  Barrier barrier = Barrier::kFull;
  int line = 0;
};

struct Buffered {
  int place;
  __u32 value;
  int epoch;  // write barriers before it
};

struct LateLoad {
  int place;
  size_t oldest;  // version that it may still see
  __u32 expected;
};

// A load that took a value before anybody had stored it.
struct Guess {
  int place;
  __u32 value;
};

struct Thread {
  Local local;
  bool done = false;
  bool event = false;
  int epoch = 0;
  std::vector<__u32> log;  // results of this step's accesses so far
  std::vector<Buffered> buffer;
  std::vector<LateLoad> late;
  std::optional<Guess> guess;
  std::array<size_t, kPlaces> oldest{};  // version that a load may still see
};

struct State {
  std::array<std::vector<__u32>, kPlaces> history;
  std::array<Thread, 2> threads;
  std::string failure;  // counts once no guess is open
};

// The step that runs: its log, and the access it stopped at.
struct Stop {};
const std::vector<__u32>* g_log;
size_t g_done;
Access g_access;
std::string g_failure;

__u32 access(const Access& a) {
  if (g_done < g_log->size()) return (*g_log)[g_done++];
  g_access = a;
  throw Stop{};
}

class Search {
 public:
  Search(const Step& producer, const Step& consumer, int removed)
      : steps_{producer, consumer}, removed_(removed) {}

  Outcome run(__u32 ring_size) {
    State start;
    for (auto& h : start.history) h.assign(1, 0);
    for (auto& t : start.threads) {
      lanecall_ring_init(&t.local.ring, &g_page.tx_producer,
                         &g_page.tx_consumer, ring_size);
      t.local.moved = 0;
    }
    push(std::move(start));
    while (!stack_.empty() && outcome_.failure.empty()) {
      State s = std::move(stack_.back());
      stack_.pop_back();
      expand(s);
    }
    outcome_.states = seen_.size();
    return outcome_;
  }

 private:
  void push(State&& s) {
    forget(s);
    if (seen_.insert(key(s)).second) stack_.push_back(std::move(s));
  }

  static bool isGuessing(const State& s) {
    return s.threads[0].guess || s.threads[1].guess;
  }

  // An execution that rests on a guess may turn out to be none.
  void fail(const State& s, const char* why) {
    if (!isGuessing(s)) {
      outcome_.failure = why;
    } else if (s.failure.empty()) {
      State& t = branch(State(s));
      t.failure = why;
      push(std::move(t));
    }
  }

  void expand(const State& s) {
    const size_t before = moves_;
    if (!s.failure.empty() && !isGuessing(s)) {
      outcome_.failure = s.failure;
      return;
    }
    for (int i = 0; i < 2; ++i) {
      comeTrue(s, i);
      commit(s, i);
      serveLate(s, i);
      if (!s.threads[i].done) advance(s, i);
    }
    const bool finished = s.threads[0].done && s.threads[1].done;
    if (moves_ == before && !finished && !isGuessing(s)) {
      outcome_.failure = "both sides wait: a wake-up was lost";
    }
  }

  State& branch(State&& s) {
    ++moves_;
    next_ = std::move(s);
    return next_;
  }

  // What a load had guessed has been stored.
  void comeTrue(const State& s, int i) {
    const auto& guess = s.threads[i].guess;
    if (!guess || s.history[guess->place].back() != guess->value) return;
    State& t = branch(State(s));
    t.threads[i].guess.reset();
    t.threads[i].oldest[guess->place] = s.history[guess->place].size() - 1;
    push(std::move(t));
  }

  // A buffered store reaches memory, unless one before it must go first.
  void commit(const State& s, int i) {
    const auto& buffer = s.threads[i].buffer;
    for (size_t n = 0; n < buffer.size(); ++n) {
      const bool held = std::any_of(
          buffer.begin(), buffer.begin() + n, [&](const Buffered& b) {
            return b.epoch < buffer[n].epoch || b.place == buffer[n].place;
          });
      if (held) continue;
      State& t = branch(State(s));
      const Buffered b = buffer[n];
      t.history[b.place].push_back(b.value);
      t.threads[i].buffer.erase(t.threads[i].buffer.begin() + n);
      t.threads[i].oldest[b.place] = t.history[b.place].size() - 1;
      push(std::move(t));
    }
  }

  void serveLate(const State& s, int i) {
    const auto& late = s.threads[i].late;
    for (size_t n = 0; n < late.size(); ++n) {
      const auto& history = s.history[late[n].place];
      for (size_t v = late[n].oldest; v < history.size(); ++v) {
        if (history[v] != late[n].expected) {
          return fail(s, "a byte was read too early or too late");
        }
      }
      State& t = branch(State(s));
      t.threads[i].late.erase(t.threads[i].late.begin() + n);
      push(std::move(t));
    }
  }

  // Lets the thread's step run to its next access, and that access happen.
  void advance(const State& s, int i) {
    Local local = s.threads[i].local;
    g_log = &s.threads[i].log;
    g_done = 0;
    g_failure.clear();
    try {
      const bool more = steps_[i](local);
      if (!g_failure.empty()) return fail(s, g_failure.c_str());
      State& t = branch(State(s));
      t.threads[i].local = local;
      t.threads[i].log.clear();
      t.threads[i].done = !more;
      push(std::move(t));
    } catch (const Stop&) {
      happen(s, i, g_access);
    }
  }

  void happen(const State& s, int i, const Access& a) {
    const Thread& me = s.threads[i];
    switch (a.kind) {
      case Access::kLoad: {
        const auto own =
            std::find_if(me.buffer.rbegin(), me.buffer.rend(),
                         [&](const Buffered& b) { return b.place == a.place; });
        if (own != me.buffer.rend()) return result(s, i, own->value);
        for (size_t v = me.oldest[a.place]; v < s.history[a.place].size();
             ++v) {
          State& t = branch(State(s));
          t.threads[i].oldest[a.place] = v;
          t.threads[i].log.push_back(s.history[a.place][v]);
          push(std::move(t));
        }
        return guess(s, i, a.place);
      }
      case Access::kStore: {
        State& t = branch(State(s));
        t.threads[i].buffer.push_back({a.place, a.value, me.epoch});
        t.threads[i].log.push_back(0);
        push(std::move(t));
        return;
      }
      case Access::kExpect: {
        State& t = branch(State(s));
        t.threads[i].late.push_back({a.place, me.oldest[a.place], a.value});
        t.threads[i].log.push_back(0);
        push(std::move(t));
        return;
      }
      case Access::kBarrier:
        return pass(s, i, a);
      case Access::kNotify: {
        State& t = branch(State(s));
        t.threads[1 - i].event = true;
        t.threads[i].log.push_back(0);
        push(std::move(t));
        return;
      }
      case Access::kWait: {
        if (!me.event) return;
        State& t = branch(State(s));
        t.threads[i].event = false;
        t.threads[i].log.push_back(0);
        push(std::move(t));
        return;
      }
    }
  }

  // The load of an index is overtaken by the stores behind it: it returns what
  // the other side will have stored by the time of the next barrier.
  void guess(const State& s, int i, int place) {
    if ((place != kHead && place != kTail) || s.threads[i].guess) return;
    const __u32 next = s.history[place].back() + 1;
    State& t = branch(State(s));
    t.threads[i].guess = {place, next};
    t.threads[i].log.push_back(next);
    push(std::move(t));
  }

  void result(const State& s, int i, __u32 value) {
    State& t = branch(State(s));
    t.threads[i].log.push_back(value);
    push(std::move(t));
  }

  void pass(const State& s, int i, const Access& a) {
    const Thread& me = s.threads[i];
    outcome_.barriers.insert(a.line);
    if (a.line == removed_) return result(s, i, 0);
    if (a.barrier != Barrier::kWrite && (!me.late.empty() || me.guess)) return;
    if (a.barrier == Barrier::kFull && !me.buffer.empty()) return;
    State& t = branch(State(s));
    Thread& then = t.threads[i];
    then.log.push_back(0);
    then.epoch += a.barrier == Barrier::kWrite;
    if (a.barrier != Barrier::kWrite) {
      for (int p = 0; p < kPlaces; ++p) {
        then.oldest[p] = t.history[p].size() - 1;
      }
    }
    push(std::move(t));
  }

  // Drops what can make no difference any more, so that more states are equal.
  static void forget(State& s) {
    for (int p = 0; p < kPlaces; ++p) {
      size_t oldest = s.history[p].size() - 1;
      for (auto& t : s.threads) {
        oldest = std::min(oldest, t.oldest[p]);
        for (auto& l : t.late) {
          if (l.place == p) oldest = std::min(oldest, l.oldest);
        }
      }
      s.history[p].erase(s.history[p].begin(), s.history[p].begin() + oldest);
      for (auto& t : s.threads) {
        t.oldest[p] -= oldest;
        for (auto& l : t.late) {
          if (l.place == p) l.oldest -= oldest;
        }
      }
    }
    for (auto& t : s.threads) {
      const int first = t.buffer.empty() ? t.epoch : t.buffer.front().epoch;
      for (auto& b : t.buffer) b.epoch -= first;
      t.epoch -= first;
    }
  }

  static std::string key(const State& s) {
    std::string k;
    const auto add = [&](__u32 v) {
      k.append(reinterpret_cast<const char*>(&v), sizeof v);
    };
    add(!s.failure.empty());
    for (const auto& h : s.history) {
      add(h.size());
      for (__u32 v : h) add(v);
    }
    for (const auto& t : s.threads) {
      add(t.local.ring.own);
      add(t.local.ring.other);
      add(t.local.moved);
      add(t.done | t.event << 1 | (t.guess ? 4 : 0));
      if (t.guess) add(t.guess->place), add(t.guess->value);
      add(t.epoch);
      add(t.log.size());
      for (__u32 v : t.log) add(v);
      add(t.buffer.size());
      for (const auto& b : t.buffer) add(b.place), add(b.value), add(b.epoch);
      add(t.late.size());
      for (const auto& l : t.late) add(l.place), add(l.oldest), add(l.expected);
      for (size_t v : t.oldest) add(v);
    }
    return k;
  }

  std::array<Step, 2> steps_;
  int removed_;
  size_t moves_ = 0;
  State next_;
  std::vector<State> stack_;
  std::unordered_set<std::string> seen_;
  Outcome outcome_;
};

}  // namespace

__u32 load(const __le32* word) {
  return access({.kind = Access::kLoad, .place = placeOf(word)});
}
void store(__le32* word, __u32 value) {
  access({.kind = Access::kStore, .place = placeOf(word), .value = value});
}
void barrier(Barrier kind, int line) {
  access({.kind = Access::kBarrier, .barrier = kind, .line = line});
}
void storeByte(__u32 offset, __u32 value) {
  access({.kind = Access::kStore,
          .place = kWords + static_cast<int>(offset),
          .value = value});
}
void expectByte(__u32 offset, __u32 value) {
  access({.kind = Access::kExpect,
          .place = kWords + static_cast<int>(offset),
          .value = value});
}
void notify() { access({.kind = Access::kNotify}); }
void wait() { access({.kind = Access::kWait}); }
void fail(const char* why) { g_failure = why; }

Outcome explore(__u32 ring_size, const Step& producer, const Step& consumer,
                int removed_line) {
  return Search(producer, consumer, removed_line).run(ring_size);
}

}  // namespace model
