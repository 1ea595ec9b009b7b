// SPDX-License-Identifier: Apache-2.0
#include "payload.h"

#include <cstring>
#include <random>
#include <stdexcept>

namespace lanecall::bench {
namespace {

constexpr std::size_t kEnd = sizeof(std::uint64_t);

std::string randomBytes(std::uint32_t size, std::uint64_t seed) {
  std::string bytes(size, '\0');
  std::mt19937_64 random(seed);
  for (std::size_t at = 0; at + kEnd <= bytes.size(); at += kEnd) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  return bytes;
}

}  // namespace

Payload::Payload(std::uint32_t bytes, std::uint64_t seed)
    : number_(seed << 32), sent_(randomBytes(bytes, seed)), answer_(bytes, 0) {}

const std::string& Payload::next() {
  ++number_;
  std::memcpy(sent_.data(), &number_, kEnd);
  std::memcpy(sent_.data() + sent_.size() - kEnd, &number_, kEnd);
  return sent_;
}

void Payload::checkEnds() const {
  const std::size_t size = sent_.size();
  if (answer_.size() != size ||
      std::memcmp(answer_.data(), sent_.data(), kEnd) != 0 ||
      std::memcmp(answer_.data() + size - kEnd, sent_.data() + size - kEnd,
                  kEnd) != 0)
    fail();
}

void Payload::checkAll() const {
  if (answer_ != sent_) fail();
}

void Payload::fail() const {
  throw std::runtime_error("reflect: " + std::to_string(sent_.size()) +
                           " bytes went out, and others, " +
                           std::to_string(answer_.size()) +
                           ", came back; something on the way is broken");
}

}  // namespace lanecall::bench
