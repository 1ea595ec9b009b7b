// SPDX-License-Identifier: Apache-2.0
//
// DMA, commanded from here, carried out and timed by lanecall-bench-server.
#ifndef LANECALL_BENCH_DMA_CALLS_H
#define LANECALL_BENCH_DMA_CALLS_H

#include <memory>

#include "connection.h"

namespace lanecall::bench {

// Its times are those of the server's clock; one operation of a batch takes the
// batch's time divided by their number. std::invalid_argument for a channel
// that is not of kind pcie.
std::unique_ptr<Connection> moveOver(const Channel& channel, const Test& test,
                                     int batch);

}  // namespace lanecall::bench

#endif
