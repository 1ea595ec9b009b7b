// SPDX-License-Identifier: Apache-2.0
//
// Service DmaBench for one connection.
#ifndef LANECALL_BENCH_DMA_HANDLER_H
#define LANECALL_BENCH_DMA_HANDLER_H

#include <bench_dma/DmaBench.h>
#include <lanecall/card_device.h>

#include <memory>
#include <vector>

namespace lanecall::bench {

class DmaHandler : public dma::DmaBenchIf {
 public:
  // Without a device every call fails.
  explicit DmaHandler(std::shared_ptr<CardDevice> device)
      : device_(std::move(device)) {}

  void move(std::vector<std::int64_t>& ns, const dma::DmaWork& work) override;

 private:
  DmaBatch batchOf(const dma::DmaWork& work) const;

  const std::shared_ptr<CardDevice> device_;
  std::shared_ptr<CardBuffer> buffer_;  // kept for work of the same size
};

}  // namespace lanecall::bench

#endif
