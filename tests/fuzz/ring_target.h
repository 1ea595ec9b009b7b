// SPDX-License-Identifier: Apache-2.0
//
// The ring core on a memory whose every load the other side may precede with a
// store of its own: it changes between any two steps of ours.
#ifndef LANECALL_TESTS_FUZZ_RING_TARGET_H
#define LANECALL_TESTS_FUZZ_RING_TARGET_H

#include <linux/types.h>

namespace lanecall::fuzz {

__u32 load(const __le32* word);
void store(__le32* word, __u32 value);

}  // namespace lanecall::fuzz

// Instead of platform.h. One thread plays both sides: barriers are nothing.
#define LANECALL_PLATFORM_H
#define LANECALL_ASSERT(cond, text) static_assert(cond, text)
#define lanecall_get32(p) ::lanecall::fuzz::load(p)
#define lanecall_put32(p, v) ::lanecall::fuzz::store(p, v)
#define lanecall_rmb() static_cast<void>(0)
#define lanecall_wmb() static_cast<void>(0)
#define lanecall_mb() static_cast<void>(0)

#include <lanecall/ring.h>

#endif
