// SPDX-License-Identifier: Apache-2.0
//
// The fuzz targets. Each plays one whole case that the bytes describe, and ends
// the program where a promise does not hold.
#ifndef LANECALL_TESTS_FUZZ_TARGETS_H
#define LANECALL_TESTS_FUZZ_TARGETS_H

#include <cstddef>
#include <cstdint>

namespace lanecall::fuzz {

// abi/lanecall/ring.h, one side of it, against a side that writes what it likes
// whenever it likes.
void ring(const std::uint8_t* data, std::size_t size);

// The same, both sides keeping to the rules: every byte arrives once, in order.
void ringPair(const std::uint8_t* data, std::size_t size);

// The predicates on what the other side says of places and spans: card.h,
// region.h, and the module's placement.h.
void places(const std::uint8_t* data, std::size_t size);

// RingTransport, and Thrift's protocols on it, against the same hostile side.
void transport(const std::uint8_t* data, std::size_t size);

}  // namespace lanecall::fuzz

#endif
