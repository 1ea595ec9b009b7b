// SPDX-License-Identifier: Apache-2.0
//
// A T in memory that processes share which are forked later.
#ifndef LANECALL_TESTS_LEDGER_SHARED_H
#define LANECALL_TESTS_LEDGER_SHARED_H

#include <sys/mman.h>

#include <new>
#include <utility>

namespace lanecall::ledger {

template <typename T>
class Shared {
 public:
  template <typename... Arguments>
  explicit Shared(Arguments&&... arguments) {
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    value_ = new (memory) T(std::forward<Arguments>(arguments)...);
  }
  ~Shared() { ::munmap(value_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  T& operator*() const { return *value_; }
  T* operator->() const { return value_; }

 private:
  T* value_;
};

}  // namespace lanecall::ledger

#endif
