/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * The card-port protocol: what the device and a server that plays the card's
 * firmware tell each other, so that channels' rings can lie in card memory, seen
 * by client and server alike. docs/device.md explains it.
 *
 * The ideas behind it:
 * - The server listens at a Unix socket of type SOCK_SEQPACKET; the device
 *   connects, at its start and whenever a channel opens while there is no
 *   session. One connection is one session of one device; at its end every
 *   channel of the session has ended.
 * - Every packet is one struct lanecall_card_frame, but for DMA and DONE, which
 *   have more behind it; some carry descriptors (SCM_RIGHTS), exactly as many as
 *   named here. All words little-endian, all unused bytes zero.
 * - A channel is named by an id that the device never uses twice in a session:
 *   each is greater than all before. An id is closed by CLOSE or RELEASED. A
 *   frame about an id that is closed is late, and ignored; one about an id that
 *   was never offered, and any other breach, ends the session.
 * - DRAIN and END may meet on their way: DRAIN is answered by RELEASED also
 *   after END.
 * - The server owns the layout of card memory; the device owns who sees it. It
 *   checks each place and clears it before anyone may use it.
 * - Bytes, and wishes to be told of bytes, never come this way: they lie in the
 *   rings' index words (ring.h). To tell, the device writes the channel's
 *   doorbell eventfd, the server its interrupt eventfd.
 * - With FEATURE_DMA the server has the device move bytes between regions of
 *   host memory (region.h), which it names by their keys, and card memory, in
 *   batches: one DMA packet, many operations. Each is completed exactly once,
 *   in any order, by one struct lanecall_dma_done of a DONE packet.
 *
 *   device                      server
 *   HELLO (card memory)      ->
 *                            <- WELCOME
 *   OFFER (two eventfds)     ->             a client opens a channel
 *                            <- ACCEPT      or DECLINE: then the channel uses
 *                                           the device's socket, if it has one
 *   PLACE                    ->             the driver has chosen ring sizes
 *                            <- PLACED
 *   START                    ->             or BUSY: then PLACED once more
 *   ... bytes move ...
 *   DRAIN                    ->             the client has closed in order
 *                            <- RELEASED    what it wrote has been read
 *   CLOSE                    ->             the id is no more; at any time
 *                            <- END         the server is done; at any time
 *                                           from ACCEPT on, answered by CLOSE
 *                                           once the client has closed, too
 */
#ifndef LANECALL_CARD_H
#define LANECALL_CARD_H

#include "device.h"

#define LANECALL_CARD_MAGIC 0x44524143U /* "CARD" as bytes in memory */
#define LANECALL_CARD_VERSION_MAJOR 1
#define LANECALL_CARD_VERSION_MINOR 0
#define LANECALL_CARD_VERSION \
	((LANECALL_CARD_VERSION_MAJOR << 16) | LANECALL_CARD_VERSION_MINOR)

/* Device to server. */
#define LANECALL_CARD_HELLO 1 /* first; descriptor: card memory */
#define LANECALL_CARD_OFFER 2 /* descriptors: doorbell, interrupt eventfds */
#define LANECALL_CARD_PLACE 3 /* after ACCEPT */
#define LANECALL_CARD_START 4 /* after a good PLACED: the rings are in use */
#define LANECALL_CARD_BUSY 5 /* a PLACED overlaps what is still in use */
#define LANECALL_CARD_DRAIN 6
#define LANECALL_CARD_CLOSE 7
#define LANECALL_CARD_DONE 8 /* with FEATURE_DMA: see "DMA" */

/* Server to device. None has descriptors. */
#define LANECALL_CARD_WELCOME 0x81 /* first */
#define LANECALL_CARD_ACCEPT 0x82
#define LANECALL_CARD_DECLINE 0x83
#define LANECALL_CARD_PLACED 0x84
#define LANECALL_CARD_END 0x85 /* error: LANECALL_ERR_*, 0 in order */
#define LANECALL_CARD_RELEASED 0x86
#define LANECALL_CARD_DMA 0x87 /* with FEATURE_DMA: see "DMA" */

/* Bits of the greetings' features. */
#define LANECALL_CARD_FEATURE_DMA 0x1

/* How often a server may answer BUSY with another place. */
#define LANECALL_CARD_BUSY_MAX 256

/*
 * Of both first frames: the versions' major numbers must be the same, and the
 * server's features a subset of the device's.
 */
struct lanecall_card_greeting {
	__le32 magic;
	__le32 version;
	__le64 features; /* LANECALL_CARD_FEATURE_* */
	__le64 card_bytes; /* HELLO: of card memory, sealed to that size */
	__le32 channels; /* HELLO: of the device */
	__le32 dma; /* HELLO, FEATURE_DMA: most operations under way at once */
	__u8 device[16]; /* HELLO: the device's name, NUL-padded, for logs */
};

/* Who opens the channel, as far as the driver has told. */
struct lanecall_card_offer {
	__le32 number; /* of the channel */
	__le32 flags; /* LANECALL_CARD_OFFER_* */
	__le32 user; /* with OFFER_USER: CH_USER */
};

#define LANECALL_CARD_OFFER_USER 0x1

/*
 * Ring sizes, and the multiple at which everything placed has to begin and to
 * end. Moderation (device.h) is the server's to respect.
 */
struct lanecall_card_place {
	__le32 tx_bytes;
	__le32 rx_bytes;
	__le32 page_bytes;
	__le32 moderate_bytes;
	__le32 moderate_us;
};

/* What is in use: a place that was given to a channel not closed yet. */
struct lanecall_card_busy {
	__le64 offset;
	__le64 bytes;
};

/* DMA: operations and their extents follow the frame. DONE: only operations. */
struct lanecall_card_batch {
	__le32 operations; /* at least 1 */
	__le32 extents; /* at least 1 for each operation */
};

struct lanecall_card_frame {
	__le32 type;
	__le32 error; /* DECLINE, END */
	__le64 channel; /* the id; 0 in HELLO and WELCOME */
	union {
		struct lanecall_card_greeting greeting; /* HELLO, WELCOME */
		struct lanecall_card_offer offer; /* OFFER */
		struct lanecall_card_place place; /* PLACE */
		struct lanecall_places placed; /* PLACED */
		struct lanecall_card_busy busy; /* BUSY */
		struct lanecall_card_batch batch; /* DMA, DONE */
		__u8 bytes[48];
	};
};

LANECALL_ASSERT(sizeof(struct lanecall_card_greeting) == 48, "greeting");
LANECALL_ASSERT(sizeof(struct lanecall_card_offer) == 12, "offer");
LANECALL_ASSERT(sizeof(struct lanecall_card_place) == 20, "place");
LANECALL_ASSERT(sizeof(struct lanecall_card_busy) == 16, "busy");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_card_frame,
				   channel) == 8, "channel");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_card_frame,
				   bytes) == 16, "payload");
LANECALL_ASSERT(sizeof(struct lanecall_card_frame) == 64, "frame");

/* ---- DMA ------------------------------------------------------------------ */

/*
 * A DMA packet is a frame, batch.operations of these, then batch.extents of
 * struct lanecall_dma_extent: the first operation's, the second's, and so on. A
 * DONE packet is a frame and batch.operations of struct lanecall_dma_done. The
 * server keeps no more operations under way than HELLO allows.
 *
 * The extents of one operation are moved in order; of several operations any
 * may come first. An operation whose first wrong extent is its k-th may have
 * moved those before it, and says how many bytes.
 */
#define LANECALL_CARD_PACKET_MAX 65536 /* bytes */

#define LANECALL_DMA_READ 1 /* region to card memory */
#define LANECALL_DMA_WRITE 2 /* card memory to region */
#define LANECALL_DMA_FILL 3 /* region: card's lowest byte, repeated */

struct lanecall_dma_operation {
	__le64 id; /* the server's: returned in DONE, not looked at */
	__le64 key; /* the region's */
	__le32 type; /* LANECALL_DMA_* */
	__le32 extents; /* at least 1 */
	__le64 reserved;
};

struct lanecall_dma_extent {
	__le64 offset; /* in the region */
	__le64 card; /* in card memory; FILL: the byte */
	__le64 bytes; /* at least 1 */
};

/*
 * error: 0, or LANECALL_ERR_ACCESS (no region has that key, or not for this
 * type), RANGE, REVOKED, DMA (some of it is not memory), RESOURCES.
 */
struct lanecall_dma_done {
	__le64 id;
	__le64 bytes; /* moved, from the start */
	__le32 error;
	__le32 reserved;
};

LANECALL_ASSERT(sizeof(struct lanecall_card_batch) == 8, "batch");
LANECALL_ASSERT(sizeof(struct lanecall_dma_operation) == 32, "dma operation");
LANECALL_ASSERT(sizeof(struct lanecall_dma_extent) == 24, "dma extent");
LANECALL_ASSERT(sizeof(struct lanecall_dma_done) == 24, "dma done");

/* ---- Arithmetic of places ------------------------------------------------ */

/* How much of card memory a place takes, by what PLACE asked for. */
static inline __u64 lanecall_card_index_bytes(__u32 page_bytes)
{
	return page_bytes > LANECALL_INDEX_BYTES ? page_bytes :
						   LANECALL_INDEX_BYTES;
}

static inline __u64 lanecall_card_ring_bytes(__u32 ring_bytes,
					     __u32 page_bytes)
{
	return ring_bytes > page_bytes ? ring_bytes : page_bytes;
}

/* Does [offset, offset + bytes) lie inside card memory, aligned? */
static inline int lanecall_card_fits(__u64 offset, __u64 bytes,
				     __u32 page_bytes, __u64 card_bytes)
{
	return offset % page_bytes == 0 && bytes <= card_bytes &&
	       offset <= card_bytes - bytes;
}

static inline int lanecall_card_overlap(__u64 a, __u64 a_bytes, __u64 b,
					__u64 b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

#endif
