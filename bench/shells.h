// SPDX-License-Identifier: Apache-2.0
//
// The memory of virtines that are to be cleaned, all of the same size and with
// the same snapshot, and what a run of each would leave dirty: the same pages,
// chosen at random, but the same each time.
#ifndef LANECALL_BENCH_SHELLS_H
#define LANECALL_BENCH_SHELLS_H

#include <virtine/virtine_types.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

namespace lanecall::bench {

class Shells {
 public:
  // bytes: whole pages. dirtyPercent: of the pages, at least one; 100: all.
  // std::invalid_argument if that is more memory than a slice may take.
  Shells(std::size_t count, std::size_t bytes, int dirtyPercent);

  std::size_t count() const { return memories_.size(); }
  std::size_t bytes() const { return bytes_; }
  std::span<const std::uint8_t> snapshot() const {
    return {image_.get(), bytes_};
  }
  std::span<std::uint8_t> memory(std::size_t number) {
    return {memories_[number].get(), bytes_};
  }

  // In rising order; one that is all of the memory if all is dirty.
  const std::vector<virtine::Extent>& dirty() const { return dirty_; }
  bool isAllDirty() const { return isAllDirty_; }

  // Changes the first and the last dirty byte of each memory; after they were
  // cleaned they must be the snapshot's again (std::runtime_error). Cheap
  // enough to be part of what is timed.
  void soilEnds();
  void checkEnds();

  // The same for every dirty page, and for every byte of all memory.
  void soilAll();
  void checkAll();

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<std::uint8_t[], Free>;

  static Memory allocate(std::size_t bytes);
  std::size_t firstDirty() const;
  std::size_t lastDirty() const;
  void soil(Memory& memory, std::size_t offset);

  const std::size_t bytes_;
  const bool isAllDirty_;
  const Memory image_;
  std::vector<Memory> memories_;
  std::vector<virtine::Extent> dirty_;
};

}  // namespace lanecall::bench

#endif
