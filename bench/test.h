// SPDX-License-Identifier: Apache-2.0
//
// What is called: service Edu's ping(), or its reflect(), which gives a binary
// back.
#ifndef LANECALL_BENCH_TEST_H
#define LANECALL_BENCH_TEST_H

#include <cstdint>
#include <string>

namespace lanecall::bench {

struct Test {
  std::string name;
  std::uint32_t bytes = 0;  // of the binary; 0: ping()
  bool isAsynchronous = false;
};

// "ping", "ping_cob" (by the asynchronous client), "reflect_64", "reflect_4k",
// "reflect_1m", any size from 64 bytes to 32 MiB; std::invalid_argument
// otherwise.
Test parseTest(const std::string& name);

}  // namespace lanecall::bench

#endif
