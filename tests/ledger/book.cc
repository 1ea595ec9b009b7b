// SPDX-License-Identifier: Apache-2.0
#include "book.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace lanecall::ledger {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Book::Book() : file_(::memfd_create("ledger", MFD_CLOEXEC)) {
  if (!file_.valid()) fail("memory for a ledger");
  if (::fcntl(file_.get(), F_SETFL, O_APPEND) < 0) fail("appending to memory");
}

Book::Book(const std::string& path)
    : file_(
          ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  if (!file_.valid()) fail(path);
}

void Book::add(const Entry& entry) const {
  ssize_t put;
  do {
    put = ::write(file_.get(), &entry, sizeof entry);
  } while (put < 0 && errno == EINTR);
  if (put != ssize_t{sizeof entry}) fail("writing to a ledger");
}

std::vector<Entry> Book::read(std::uint64_t from, std::size_t most) const {
  std::vector<Entry> entries(most);
  auto* bytes = reinterpret_cast<char*>(entries.data());
  std::size_t have = 0;
  while (have < most * sizeof(Entry)) {
    const auto at = static_cast<off_t>(from * sizeof(Entry) + have);
    const ssize_t got =
        ::pread(file_.get(), bytes + have, most * sizeof(Entry) - have, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("reading a ledger");
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have % sizeof(Entry) != 0) {
    errno = EBADMSG;
    fail("a ledger ends inside an entry");
  }
  entries.resize(have / sizeof(Entry));
  return entries;
}

}  // namespace lanecall::ledger
