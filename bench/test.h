// SPDX-License-Identifier: Apache-2.0
//
// What is called: service Edu's ping(), or its reflect(), which gives a binary
// back.
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

struct Test {
  std::string name;
  std::uint32_t bytes = 0;  // of the binary; 0: ping()
  bool isAsynchronous = false;
  Stage stage = Stage::kWhole;  // that is timed
};

// "ping", "ping_cob" (by the asynchronous client), "ping_send", "ping_wait" and
// "ping_receive" (pings of which that stage alone is timed), "reflect_64",
// "reflect_4k", "reflect_1m", any size from 64 bytes to 32 MiB;
// std::invalid_argument otherwise.
Test parseTest(const std::string& name);

}  // namespace lanecall::bench

#endif
