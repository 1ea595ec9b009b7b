// SPDX-License-Identifier: Apache-2.0
//
// Which pages of a memory have been written: a bit for each, in the form in
// which KVM tells.
#ifndef LANECALL_DIRTY_PAGES_H
#define LANECALL_DIRTY_PAGES_H

#include <lanecall/virtine_function_abi.h>
#include <virtine/virtine_types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lanecall {

inline constexpr std::size_t kPageBytes = LANECALL_PAGE_BYTES;

class DirtyPages {
 public:
  // bytes: of the memory, whole pages.
  explicit DirtyPages(std::size_t bytes);

  // The page of a byte inside the memory.
  void mark(std::size_t offset) {
    const std::size_t page = offset / kPageBytes;
    words_[page / 64] |= std::uint64_t{1} << page % 64;
  }
  // Page 0 is the lowest bit of the first word; as many words as words().
  void mark(std::span<const std::uint64_t> bits);
  void clear();

  std::size_t words() const { return words_.size(); }

  // The pages that are marked, in rising order; neighbours are one extent.
  std::vector<virtine::Extent> extents() const;

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace lanecall

#endif
