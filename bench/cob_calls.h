// SPDX-License-Identifier: Apache-2.0
//
// Pings by Thrift's asynchronous ("cob style") client, on a libevent loop of
// its own: whenever a call is answered the next is issued, in the callback.
#ifndef LANECALL_BENCH_COB_CALLS_H
#define LANECALL_BENCH_COB_CALLS_H

#include <memory>

#include "connection.h"

namespace lanecall::bench {

// Begins to connect. std::invalid_argument for a kind of channel that no
// asynchronous client can use.
std::unique_ptr<Connection> callAsynchronously(const Channel& channel);

}  // namespace lanecall::bench

#endif
