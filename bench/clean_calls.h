// SPDX-License-Identifier: Apache-2.0
//
// Cleans in batches, again and again.
#ifndef LANECALL_BENCH_CLEAN_CALLS_H
#define LANECALL_BENCH_CLEAN_CALLS_H

#include <memory>

#include "connection.h"

namespace lanecall::bench {

// One clean of a batch takes the batch's time divided by their number.
std::unique_ptr<Connection> cleanOver(const Channel& channel, const Test& test,
                                      int batch);

}  // namespace lanecall::bench

#endif
