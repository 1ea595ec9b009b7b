// SPDX-License-Identifier: Apache-2.0
//
// The binary that a client sends and gets back. Each call's differs from the
// last one's at both ends, so that an answer that is an old one, or was never
// read, cannot pass for fast.
#ifndef LANECALL_BENCH_PAYLOAD_H
#define LANECALL_BENCH_PAYLOAD_H

#include <cstdint>
#include <string>

namespace lanecall::bench {

class Payload {
 public:
  static constexpr std::uint32_t kLeastBytes = 64;

  // At least kLeastBytes, or 0 where none is sent. Random; the seed makes those
  // of several clients differ.
  Payload(std::uint32_t bytes, std::uint64_t seed);

  // To be sent next, changed since the last time.
  const std::string& next();

  // To be filled by the call.
  std::string& answer() { return answer_; }

  // Size and both ends of the answer, or every byte. Throws std::runtime_error.
  void checkEnds() const;
  void checkAll() const;

 private:
  [[noreturn]] void fail() const;

  std::uint64_t number_;
  std::string sent_;
  std::string answer_;
};

}  // namespace lanecall::bench

#endif
