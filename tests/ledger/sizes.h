// SPDX-License-Identifier: Apache-2.0
//
// Random sizes of data, most of them such that data, or the message around it,
// ends just before, at or behind a boundary: of pages, rings, the pieces in
// which messages are published, and the limit of a message.
#ifndef LANECALL_TESTS_LEDGER_SIZES_H
#define LANECALL_TESTS_LEDGER_SIZES_H

#include <cstdint>
#include <vector>

#include "random.h"

namespace lanecall::ledger {

class Sizes {
 public:
  // Of channels with rings of so many bytes. No message is longer than
  // messageLimit.
  Sizes(std::uint32_t ringBytes, std::uint32_t messageLimit);

  std::uint32_t request(Random& random) const {
    return draw(random, requestOverhead_);
  }
  std::uint32_t answer(Random& random) const {
    return draw(random, answerOverhead_);
  }

 private:
  std::uint32_t draw(Random& random, std::uint32_t overhead) const;

  const std::uint32_t ringBytes_;
  const std::uint32_t messageLimit_;
  const std::uint32_t requestOverhead_;
  const std::uint32_t answerOverhead_;
  std::vector<std::uint32_t> boundaries_;
};

}  // namespace lanecall::ledger

#endif
