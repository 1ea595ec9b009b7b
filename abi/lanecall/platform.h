/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * What the ABI headers need from their surroundings: little-endian types, and
 * one memory access primitive of each kind, in the kernel and in user space.
 *
 * The other side of shared memory is a device (or plays one), and the memory may
 * be the card's, which the processor holds as write-combining. Compilers' and
 * kernels' lighter barriers (dma_wmb, a release fence) are nothing on x86 for
 * such memory: its stores wait in a buffer, its loads overtake each other. So
 * the barriers here are real instructions: sfence, lfence, mfence; on arm64 dmb
 * of the outer shareable domain, where the device is.
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
#if defined(CONFIG_X86)
#define lanecall_rmb() rmb()
#define lanecall_wmb() wmb()
#define lanecall_mb() mb()
#else
#define lanecall_rmb() dma_rmb()
#define lanecall_wmb() dma_wmb()
#define lanecall_mb() dma_mb()
#endif

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
#if defined(__x86_64__)
#define lanecall_rmb() __asm__ __volatile__("lfence" ::: "memory")
#define lanecall_wmb() __asm__ __volatile__("sfence" ::: "memory")
#define lanecall_mb() __asm__ __volatile__("mfence" ::: "memory")
#elif defined(__aarch64__)
#define lanecall_rmb() __asm__ __volatile__("dmb oshld" ::: "memory")
#define lanecall_wmb() __asm__ __volatile__("dmb oshst" ::: "memory")
#define lanecall_mb() __asm__ __volatile__("dmb osh" ::: "memory")
#else
#define lanecall_rmb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define lanecall_wmb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define lanecall_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

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
