/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * What the ABI headers need from their surroundings: little-endian types, and
 * one memory access primitive of each kind, in the kernel and in user space.
 *
 * The other side of shared memory is a device (or plays one), so the kernel's
 * barriers are the dma_ family: they order what the device sees even on a
 * kernel built for one processor, where the smp_ family orders nothing.
 */
#ifndef LANECALL_PLATFORM_H
#define LANECALL_PLATFORM_H

#include <linux/types.h>

#ifdef __KERNEL__

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <asm/barrier.h>
#include <asm/byteorder.h>

#define LANECALL_ASSERT(cond, text) static_assert(cond, text)
#define LANECALL_LOAD(p) READ_ONCE(*(p))
#define LANECALL_STORE(p, v) WRITE_ONCE(*(p), v)
#define lanecall_rmb() dma_rmb()
#define lanecall_wmb() dma_wmb()
#define lanecall_mb() dma_mb()

#else /* user space, QEMU among it */

#ifdef __cplusplus
#define LANECALL_ASSERT(cond, text) static_assert(cond, text)
#else
#define LANECALL_ASSERT(cond, text) _Static_assert(cond, text)
#endif
/* ThreadSanitizer does not see fences: give it the same order on the words. */
#ifdef __SANITIZE_THREAD__
#define LANECALL_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define LANECALL_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#else
#define LANECALL_LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define LANECALL_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#endif
#define lanecall_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define lanecall_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define lanecall_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#endif

/* A shared little-endian word, read or written exactly once. */
static inline __u32 lanecall_get32(const __le32 *p)
{
#ifdef __KERNEL__
	return le32_to_cpu(LANECALL_LOAD(p));
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return LANECALL_LOAD(p);
#else
	return __builtin_bswap32(LANECALL_LOAD(p));
#endif
}

static inline void lanecall_put32(__le32 *p, __u32 v)
{
#ifdef __KERNEL__
	LANECALL_STORE(p, cpu_to_le32(v));
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	LANECALL_STORE(p, v);
#else
	LANECALL_STORE(p, __builtin_bswap32(v));
#endif
}

#endif
