// SPDX-License-Identifier: Apache-2.0
//
// Verifies what a job has cleaned: has it read back into card memory, piece by
// piece, compares it with the snapshot, and makes its checksum.
#ifndef LANECALL_SERVER_VIRTINE_READ_BACK_H
#define LANECALL_SERVER_VIRTINE_READ_BACK_H

#include <lanecall/card_device.h>
#include <lanecall/dma_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "virtine_job.h"

struct XXH3_state_s;

namespace lanecall {

class ReadBack {
 public:
  // job must outlive it. Throws CardMemoryFull.
  ReadBack(const CleanJob& job, CardDevice& device);
  ~ReadBack();
  ReadBack(const ReadBack&) = delete;
  ReadBack& operator=(const ReadBack&) = delete;

  bool isOver() const { return extent_ == job_.extents.size(); }
  // Adds one operation, for the next piece, which there must be.
  void readNext(const RegionReference& memory, DmaBatch& batch);
  // Of the piece that was read: whether every byte is clean.
  bool check();
  // Of all pieces that were checked.
  std::int64_t checksum() const;

 private:
  bool is_clean(const DmaExtent& read) const;

  struct FreeState {
    void operator()(XXH3_state_s* state) const;
  };

  const CleanJob& job_;
  const std::shared_ptr<CardBuffer> buffer_;
  const std::unique_ptr<XXH3_state_s, FreeState> state_;
  std::vector<DmaExtent> piece_;
  std::size_t extent_ = 0;  // of the job, to be read next,
  std::int64_t at_ = 0;     // from this byte of it on
};

}  // namespace lanecall

#endif
