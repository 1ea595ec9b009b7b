/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * The ring core: a single-producer, single-consumer byte ring, the same code in
 * kernel module, device, fake device and tests. Free-standing C; no memory is
 * allocated and nothing blocks.
 *
 * The ideas behind it:
 * - Indices are free-running 32-bit byte counts; a ring holds head - tail bytes.
 *   Sizes are powers of two up to 2^23, so the difference is never ambiguous.
 * - Each side keeps its own index privately and never takes it from there again;
 *   the other side's index is fetched once per look and believed only if it is
 *   valid.
 * - Each side can ask to be told when the other's index passes a value (the
 *   event indices of virtio 1.1, section 2.7.10, on bytes instead of entries).
 *
 * Barriers, each named after its partner:
 *   publish (producer)  data, W, head   pairs with  look (consumer)  head, R, data
 *   release (consumer)  data, W, tail   pairs with  space (producer) tail, R, data
 *   publish (producer)  head, M, want_head  pairs with
 *   arm     (consumer)  want_head, M, head: at least one of the two sees the
 *   other's store, so either the producer notifies or the consumer does not
 *   sleep. release/arm_space is the same for tail and want_tail.
 *
 * A struct lanecall_ring is private to one side. It is not thread safe: a
 * producer's (consumer's) calls are serialised by its owner.
 */
#ifndef LANECALL_RING_H
#define LANECALL_RING_H

#include "device.h"

struct lanecall_ring {
	struct lanecall_producer *producer; /* shared */
	struct lanecall_consumer *consumer; /* shared */
	__u32 size; /* bytes, a power of two */
	__u32 own; /* our index: head or tail */
	__u32 other; /* the other side's index when last looked at */
};

/* A position inside the ring's bytes. */
static inline __u32 lanecall_ring_offset(const struct lanecall_ring *r,
					 __u32 index)
{
	return index & (r->size - 1);
}

/* Could a ring of this size hold what these two indices claim? */
static inline int lanecall_ring_valid(__u32 head, __u32 tail, __u32 size)
{
	return head - tail <= size;
}

/* Does moving an index from before to now pass the value asked for? */
static inline int lanecall_ring_passes(__u32 wanted, __u32 before, __u32 now)
{
	return (__u32)(now - wanted - 1) < (__u32)(now - before);
}

static inline void lanecall_ring_init(struct lanecall_ring *r,
				      struct lanecall_producer *producer,
				      struct lanecall_consumer *consumer,
				      __u32 size)
{
	r->producer = producer;
	r->consumer = consumer;
	r->size = size;
	r->own = 0;
	r->other = 0;
}

/* ---- Producer ------------------------------------------------------------ */

/*
 * Bytes of space, or -1 if the consumer's index is impossible. The private copy
 * is replaced only by a valid value that does not move backwards.
 */
static inline __s64 lanecall_ring_space(struct lanecall_ring *r)
{
	__u32 tail = lanecall_get32(&r->consumer->tail);

	/* pairs with the wmb of release: what was freed may be overwritten */
	lanecall_rmb();
	if (!lanecall_ring_valid(r->own, tail, r->size) ||
	    tail - r->other > r->size)
		return -1;
	r->other = tail;
	return r->size - (r->own - tail);
}

/*
 * Publish n bytes already stored at own. Returns whether the consumer asked to
 * be told.
 */
static inline int lanecall_ring_publish(struct lanecall_ring *r, __u32 n)
{
	__u32 before = r->own;

	r->own = before + n;
	lanecall_wmb(); /* pairs with the rmb of look: data before head */
	lanecall_put32(&r->producer->head, r->own);
	lanecall_mb(); /* pairs with the mb of arm: head before want_head */
	return lanecall_ring_passes(lanecall_get32(&r->consumer->want_head),
				    before, r->own);
}

/*
 * Ask to be told when at least `bytes` (at most size) of space are free, and
 * look once more: returns the space now, or -1. Sleep only if that is less.
 */
static inline __s64 lanecall_ring_arm_space(struct lanecall_ring *r,
					    __u32 bytes)
{
	lanecall_put32(&r->producer->want_tail,
		       r->own - r->size + bytes - 1);
	lanecall_mb(); /* pairs with the mb of release */
	return lanecall_ring_space(r);
}

/* ---- Consumer ------------------------------------------------------------ */

/* Can the producer's index be there? It does not move backwards. */
static inline int lanecall_ring_valid_head(const struct lanecall_ring *r,
					   __u32 head)
{
	return lanecall_ring_valid(head, r->own, r->size) &&
	       head - r->other <= r->size;
}

/* Bytes to be read, or -1 if the producer's index is impossible. */
static inline __s64 lanecall_ring_look(struct lanecall_ring *r)
{
	__u32 head = lanecall_get32(&r->producer->head);

	/* pairs with the wmb of publish: head before data */
	lanecall_rmb();
	if (!lanecall_ring_valid_head(r, head))
		return -1;
	r->other = head;
	return head - r->own;
}

/*
 * Were the bytes that were read until now the ring's? A ring behind a BAR reads
 * as all-ones, or as zeros, from the moment on at which its device is pulled out,
 * which may be between any two bytes; who cares asks after reading them and
 * before believing them, best before giving them back. By the words next to the
 * ring: tail is as we left it, and head where it can be. While a byte is held
 * neither all-ones nor zeros can look like that; once all were given back they
 * can if our index is just that, one in 2^32.
 */
static inline int lanecall_ring_is_there(const struct lanecall_ring *r)
{
	lanecall_rmb(); /* the bytes before the words */
	return lanecall_get32(&r->consumer->tail) == r->own &&
	       lanecall_ring_valid_head(r, lanecall_get32(&r->producer->head));
}

/* Give n bytes back. Returns whether the producer asked to be told. */
static inline int lanecall_ring_release(struct lanecall_ring *r, __u32 n)
{
	__u32 before = r->own;

	r->own = before + n;
	/*
	 * A full barrier where loads must not sink below the store of tail:
	 * the data was read, and may be overwritten from now on. Pairs with
	 * the rmb of space.
	 */
	lanecall_mb();
	lanecall_put32(&r->consumer->tail, r->own);
	lanecall_mb(); /* pairs with the mb of arm_space */
	return lanecall_ring_passes(lanecall_get32(&r->producer->want_tail),
				    before, r->own);
}

/*
 * Ask to be told of the next byte, and look once more: returns the bytes now,
 * or -1. Sleep only if that is 0.
 */
static inline __s64 lanecall_ring_arm(struct lanecall_ring *r)
{
	lanecall_put32(&r->consumer->want_head, r->other);
	lanecall_mb(); /* pairs with the mb of publish */
	return lanecall_ring_look(r);
}

/* ---- Either side ---------------------------------------------------------- */

/*
 * Of a ring of which something is impossible, from either side: does it read as
 * memory that is there no more? Otherwise the other side lies. (It may lie like
 * this, too: who has to tell the two apart must know otherwise.)
 */
static inline int lanecall_ring_reads_as_gone(const struct lanecall_ring *r)
{
	__u32 head = lanecall_get32(&r->producer->head);

	return (head == 0 || head == ~(__u32)0) &&
	       lanecall_get32(&r->consumer->tail) == head;
}

#endif
