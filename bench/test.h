// SPDX-License-Identifier: Apache-2.0
//
// What is measured: calls of service Edu, ping() or reflect(), which gives a
// binary back; DMA; virtines' memory that is cleaned; virtines that run.
#ifndef LANECALL_BENCH_TEST_H
#define LANECALL_BENCH_TEST_H

#include <cstdint>
#include <string>

namespace lanecall::bench {

// Of a call by the synchronous client.
enum class Stage {
  kWhole,
  kSend,     // encoded, and given to the channel
  kWait,     // until the first byte of the answer can be read
  kReceive,  // the rest of it, and decoded
};

enum class Kind {
  kPing,
  kReflect,
  kDma,      // a server moves bytes between memory lent to it and the card's
  kClean,    // memory put back to a snapshot
  kVirtine,  // one function run, and its memory cleaned for the next
};

struct Test {
  std::string name;
  Kind kind = Kind::kPing;
  // Of reflect's binary, of what one DMA operation moves, of a virtine's
  // memory.
  std::uint32_t bytes = 0;
  // ping
  bool isAsynchronous = false;
  Stage stage = Stage::kWhole;  // that is timed
  // dma
  bool writes = false;  // to the client's memory; else reads it
  int extents = 1;      // of each operation
  // clean
  int dirtyPercent = 100;  // of the pages; 100: the request lists none
  // virtine
  bool dirtyOnly = false;  // only what a run has written is cleaned
  bool isUncleaned = false;  // nothing is
};

// std::invalid_argument for any name but:
// - "ping", "ping_cob" (by the asynchronous client), "ping_send", "ping_wait"
//   and "ping_receive" (pings of which that stage alone is timed)
// - "reflect_64", "reflect_4k", "reflect_1m", any size from 64 bytes to 32 MiB
// - "dma_write_1m", "dma_read_4k_x16" (in 16 extents of the same size)
// - "clean_512k" (all of it), "clean_1m_10" (10 % of its pages are dirty)
// - "virtine_1m", "virtine_1m_dirty" (only what is dirty is cleaned),
//   "virtine_1m_uncleaned" (nothing is, by any channel)
Test parseTest(const std::string& name);

}  // namespace lanecall::bench

#endif
