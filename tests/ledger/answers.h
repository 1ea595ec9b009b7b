// SPDX-License-Identifier: Apache-2.0
//
// What both sides compute by themselves: the right answer to a call, and
// digests.
#ifndef LANECALL_TESTS_LEDGER_ANSWERS_H
#define LANECALL_TESTS_LEDGER_ANSWERS_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace lanecall::ledger {

std::uint64_t digestOf(const std::string& bytes);

// So many bytes that follow from all of the data.
std::string answerTo(const std::string& data, std::size_t bytes);

}  // namespace lanecall::ledger

#endif
