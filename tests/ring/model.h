// SPDX-License-Identifier: Apache-2.0
// A memory that is as weak as hardware may be, for two threads of ring code,
// and a search through everything it may do.
//
// - Stores wait in a buffer of their thread and reach memory in any order that
//   the write barriers between them allow.
// - A load may return any value the location has had since this thread last
//   read it or passed a read barrier: it may be served early.
// - A load of ring bytes may be served late: at any time up to its thread's
// next
//   read or full barrier.
// - So may a load of an index, with the stores behind it, even those that
// depend
//   on it, before it: as the language has it, though no processor known does
//   it. The search guesses the value, and drops executions in which the guess
//   does not come true before the thread's next read or full barrier.
// - A full barrier waits for all of that.
//
// A thread is a step function on a small copyable state; one step is one turn
// of its loop. The search stops a step at every memory access, lets each
// possible thing happen next, and runs the step again with the results so far.
// States seen before are not searched twice.
#ifndef LANECALL_TESTS_RING_MODEL_H
#define LANECALL_TESTS_RING_MODEL_H

#include <linux/types.h>

#include <functional>
#include <set>
#include <string>

// The ring core, on this memory instead of the machine's. A barrier is known
// by the line of ring.h it stands in.
#define LANECALL_PLATFORM_H
#define LANECALL_ASSERT(cond, text) static_assert(cond, text)
#define lanecall_get32(p) ::model::load(p)
#define lanecall_put32(p, v) ::model::store(p, v)
#define lanecall_rmb() ::model::barrier(::model::Barrier::kRead, __LINE__)
#define lanecall_wmb() ::model::barrier(::model::Barrier::kWrite, __LINE__)
#define lanecall_mb() ::model::barrier(::model::Barrier::kFull, __LINE__)

namespace model {

enum class Barrier { kRead, kWrite, kFull };

// What a step may do. Words are known by their address in the index page.
__u32 load(const __le32* word);
void store(__le32* word, __u32 value);
void barrier(Barrier kind, int line);
void storeByte(__u32 offset, __u32 value);
void expectByte(__u32 offset, __u32 value);  // a load that may be served late
void notify();                               // the other thread's event
void wait();                                 // for one's own event
void fail(const char* why);

}  // namespace model

#include <lanecall/ring.h>

namespace model {

// A thread's state between steps: its private side of the ring, and how many
// bytes it has put in or taken out.
struct Local {
  lanecall_ring ring;
  __u32 moved;
};

// One turn of the thread's loop; false once it has nothing more to do.
using Step = std::function<bool(Local&)>;

struct Outcome {
  std::string failure;     // empty: every execution is right
  std::set<int> barriers;  // the lines of those that were met
  size_t states = 0;
};

// Runs a producer and a consumer of one ring through every execution, with the
// barrier in that line taken out (0: none).
Outcome explore(__u32 ring_size, const Step& producer, const Step& consumer,
                int removed_line);

}  // namespace model

#endif
