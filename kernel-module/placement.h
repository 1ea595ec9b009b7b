/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a device may say that a channel's parts lie in its card memory. Free of
 * the kernel, so that tests can ask it in user space what no honest device asks.
 */
#ifndef LANECALL_PLACEMENT_H
#define LANECALL_PLACEMENT_H

#include <lanecall/card.h>

/* struct lanecall_places, as numbers. */
struct lanecall_placement {
	__u64 index;
	__u64 tx;
	__u64 rx;
};

/* Inside card memory, aligned, and no two of them share a page? */
static inline int
lanecall_placement_is_valid(const struct lanecall_placement *at,
			    __u32 tx_bytes, __u32 rx_bytes, __u32 page_bytes,
			    __u64 card_bytes)
{
	__u64 index = lanecall_card_index_bytes(page_bytes);
	__u64 tx = lanecall_card_ring_bytes(tx_bytes, page_bytes);
	__u64 rx = lanecall_card_ring_bytes(rx_bytes, page_bytes);

	return lanecall_card_fits(at->index, index, page_bytes, card_bytes) &&
	       lanecall_card_fits(at->tx, tx, page_bytes, card_bytes) &&
	       lanecall_card_fits(at->rx, rx, page_bytes, card_bytes) &&
	       !lanecall_card_overlap(at->index, index, at->tx, tx) &&
	       !lanecall_card_overlap(at->index, index, at->rx, rx) &&
	       !lanecall_card_overlap(at->tx, tx, at->rx, rx);
}

/* Ended before the server had placed anything? */
static inline int
lanecall_placement_is_none(const struct lanecall_placement *at)
{
	return !at->index && !at->tx && !at->rx;
}

#endif
