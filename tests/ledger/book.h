// SPDX-License-Identifier: Apache-2.0
//
// A ledger's entries, appended by many processes to one descriptor. What add()
// has returned from is kept when its process is killed at once: it is the
// kernel's.
#ifndef LANECALL_TESTS_LEDGER_BOOK_H
#define LANECALL_TESTS_LEDGER_BOOK_H

#include <lanecall/descriptor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "entry.h"

namespace lanecall::ledger {

// All of it throw std::system_error.
class Book {
 public:
  // In memory, shared with processes that are forked.
  Book();
  // A file, which is made if it is not there; or a device that takes entries,
  // which cannot be read.
  explicit Book(const std::string& path);

  void add(const Entry& entry) const;

  // Entries from a number on, at most so many.
  std::vector<Entry> read(std::uint64_t from, std::size_t most) const;

 private:
  Descriptor file_;
};

}  // namespace lanecall::ledger

#endif
