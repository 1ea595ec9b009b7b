/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * The device ABI: what a driver and the RPC engine of an edu device agree on.
 * docs/device.md is the specification; this file is its letter.
 *
 * The ideas behind it:
 * - A channel is one byte stream to one server. It has a control block in
 *   BAR 2, a doorbell page in BAR 2, an interrupt vector of its choice, and in
 *   host memory one index page and two byte rings, TX (driver to device) and RX.
 * - Commands go through the control block; every answer comes back as a change
 *   of the status word in the index page, followed by the channel's interrupt.
 *   The driver needs a register to learn what happened only if that page
 *   itself is no good.
 * - Everything in memory is little-endian. Every word in the index page has one
 *   writer; words of different writers never share a 128-byte block.
 */
#ifndef LANECALL_DEVICE_H
#define LANECALL_DEVICE_H

#include "platform.h"

#define LANECALL_PCI_VENDOR 0x1234
#define LANECALL_PCI_DEVICE 0x11e8

/* BAR 0 is the classic edu. */
#define LANECALL_BAR_MSIX 1
#define LANECALL_BAR_REGS 2
#define LANECALL_BAR_CARD 4

#define LANECALL_MAGIC 0x454e414cU /* "LANE" as bytes in memory */
#define LANECALL_VERSION_MAJOR 1
#define LANECALL_VERSION_MINOR 0
#define LANECALL_VERSION \
	((LANECALL_VERSION_MAJOR << 16) | LANECALL_VERSION_MINOR)

#define LANECALL_MAX_CHANNELS 256
#define LANECALL_RING_SHIFT_MIN 12 /* 4 KiB */
#define LANECALL_RING_SHIFT_MAX 23 /* 8 MiB */
#define LANECALL_PAGE_SHIFT_MIN 12
#define LANECALL_PAGE_SHIFT_MAX 16

/* ---- BAR 2: device registers, all 32 bits wide ------------------------- */

#define LANECALL_REG_MAGIC 0x00 /* RO: LANECALL_MAGIC */
#define LANECALL_REG_VERSION 0x04 /* RO: major << 16 | minor */
#define LANECALL_REG_FEATURES_LO 0x08 /* RO: what the device offers */
#define LANECALL_REG_FEATURES_HI 0x0c
#define LANECALL_REG_ACCEPTED_LO 0x10 /* RW: what the driver uses of it */
#define LANECALL_REG_ACCEPTED_HI 0x14
#define LANECALL_REG_CONTROL 0x18 /* RW: LANECALL_CONTROL_* */
#define LANECALL_REG_STATUS 0x1c /* RO: LANECALL_STATUS_* */
#define LANECALL_REG_CHANNELS 0x20 /* RO: number of channels */
#define LANECALL_REG_VECTORS 0x24 /* RO: interrupt vectors with MSI-X */
#define LANECALL_REG_CHANNEL_OFFSET 0x28 /* RO: first control block */
#define LANECALL_REG_CHANNEL_STRIDE 0x2c /* RO */
#define LANECALL_REG_DOORBELL_OFFSET 0x30 /* RO: first doorbell page */
#define LANECALL_REG_DOORBELL_STRIDE 0x34 /* RO */
#define LANECALL_REG_RING_SHIFTS 0x38 /* RO: min | max << 8 */
#define LANECALL_REG_PAGE_SHIFTS 0x3c /* RO: min | max << 8 */
#define LANECALL_REG_GENERATION 0x40 /* RO: 1, then up at each reset */
#define LANECALL_REG_GUEST_ERRORS 0x44 /* RO: breaches of this spec */

#define LANECALL_CONTROL_ENABLE 0x1 /* a write without it: engine reset */

#define LANECALL_STATUS_ENABLED 0x1
#define LANECALL_STATUS_RESETTING 0x2 /* memory may still be touched */
#define LANECALL_STATUS_REFUSED 0x4 /* ACCEPTED was not a subset */

/* Bits of FEATURES and ACCEPTED. */
#define LANECALL_FEATURE_CARD_RINGS 0x1 /* rings may lie in BAR 4 */
#define LANECALL_FEATURE_MODERATION 0x2 /* CH_MODERATE_* have an effect */
#define LANECALL_FEATURE_REGIONS 0x4 /* region.h; with a card port only */
#define LANECALL_FEATURE_USERS 0x8 /* CH_USER is told to servers */

/* ---- BAR 2: a channel's control block ---------------------------------- */

#define LANECALL_CH_COMMAND 0x00 /* WO: LANECALL_CMD_* */
#define LANECALL_CH_STATUS 0x04 /* RO: as in the index page */
#define LANECALL_CH_VECTOR 0x08 /* RW: interrupt vector */
#define LANECALL_CH_FLAGS 0x0c /* RW: LANECALL_CHF_* */
#define LANECALL_CH_INDEX_LO 0x10 /* RW: bus address of the index page */
#define LANECALL_CH_INDEX_HI 0x14
#define LANECALL_CH_TX_TABLE_LO 0x18 /* RW: bus address of a page table */
#define LANECALL_CH_TX_TABLE_HI 0x1c
#define LANECALL_CH_RX_TABLE_LO 0x20
#define LANECALL_CH_RX_TABLE_HI 0x24
#define LANECALL_CH_TX_SHIFT 0x28 /* RW: log2 of the ring's bytes */
#define LANECALL_CH_RX_SHIFT 0x2c
#define LANECALL_CH_PAGE_SHIFT 0x30 /* RW: log2 of a table page's bytes */
#define LANECALL_CH_MODERATE_BYTES 0x34 /* RW: see "Moderation" */
#define LANECALL_CH_MODERATE_US 0x38
#define LANECALL_CH_USER 0x3c /* RW: the id of the user who opens */
#define LANECALL_CH_SIZE 0x40 /* bytes that have a meaning */

/*
 * At OPEN: where the driver lets the channel's rings lie. The device decides,
 * and says so in the status word (LANECALL_IN_CARD). CARD_CALLS is reserved for
 * calls that the card starts. Bits whose feature was not accepted are refused.
 */
#define LANECALL_CHF_TX_IN_CARD 0x1
#define LANECALL_CHF_RX_IN_CARD 0x2
#define LANECALL_CHF_CARD_CALLS 0x4
#define LANECALL_CHF_IN_CARD \
	(LANECALL_CHF_TX_IN_CARD | LANECALL_CHF_RX_IN_CARD)

#define LANECALL_CMD_OPEN 1 /* connect; needs INDEX and VECTOR */
#define LANECALL_CMD_ATTACH 2 /* use the rings; needs all the rest */
#define LANECALL_CMD_DRAIN 3 /* send what is in TX, then close */
#define LANECALL_CMD_CLOSE 4 /* close at once */

/*
 * Moderation: interrupts that announce bytes in RX are held back until
 * MODERATE_BYTES have come since the first unannounced one, or MODERATE_US
 * microseconds after it. MODERATE_US 0, the reset value: at once. Taken at
 * ATTACH. Changes of the status word, and room in TX, are always told at once.
 */
#define LANECALL_MODERATE_US_MAX 1000000

/*
 * A ring's page table: its size >> PAGE_SHIFT (at least 1) little-endian 64-bit
 * bus addresses, each aligned to the page size. The device copies it at ATTACH.
 */

/* ---- The index page ------------------------------------------------------ */

/*
 * 4096 bytes, aligned to 4096, zeroed by the driver before OPEN. The device may
 * touch it from OPEN until it has written a status of CLOSED.
 */
#define LANECALL_INDEX_BYTES 4096

/*
 * Written by a ring's producer. head counts bytes put in, free running.
 * Consumers interrupt (or doorbell) the producer when tail passes want_tail.
 */
struct lanecall_producer {
	__le32 head;
	__le32 want_tail;
	__u8 reserved[120];
};

/* Written by a ring's consumer: the mirror image. */
struct lanecall_consumer {
	__le32 tail;
	__le32 want_head;
	__u8 reserved[120];
};

/*
 * Where a channel IN_CARD has its parts, as offsets in BAR 4: an index page, of
 * which only the four blocks of ring words have a meaning, and two rings. Each
 * begins at a multiple of 1 << PAGE_SHIFT and has at least that many bytes to
 * itself, so that a driver can map it to a program and nothing else with it.
 */
struct lanecall_places {
	__le64 index;
	__le64 tx;
	__le64 rx;
};

struct lanecall_index_page {
	struct lanecall_producer tx_producer; /* driver writes */
	struct lanecall_consumer tx_consumer; /* device writes */
	struct lanecall_producer rx_producer; /* device writes */
	struct lanecall_consumer rx_consumer; /* driver writes */
	__le32 status; /* device writes: see below */
	__le32 reserved;
	struct lanecall_places card; /* device writes, before RUNNING IN_CARD */
	__u8 reserved0[96];
	__le32 gone; /* driver writes: not 0 once device or channel is lost */
	__u8 reserved1[124];
	__u8 reserved2[3328];
};

LANECALL_ASSERT(sizeof(struct lanecall_producer) == 128, "producer");
LANECALL_ASSERT(sizeof(struct lanecall_consumer) == 128, "consumer");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_producer, want_tail) == 4,
		"want_tail");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_consumer, want_head) == 4,
		"want_head");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_index_page,
				   tx_consumer) == 0x080, "tx_consumer");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_index_page,
				   rx_producer) == 0x100, "rx_producer");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_index_page,
				   rx_consumer) == 0x180, "rx_consumer");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_index_page,
				   status) == 0x200, "status");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_index_page,
				   card) == 0x208, "card");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_index_page,
				   gone) == 0x280, "gone");
LANECALL_ASSERT(sizeof(struct lanecall_index_page) == LANECALL_INDEX_BYTES,
		"index page");

/*
 * The status word: state in bits 0-7, IN_CARD in bit 8 from READY to ENDED,
 * error in bits 16-23, the rest zero. The device writes it after everything it
 * announces: whoever has read ENDED finds the last RX head, whoever has read
 * CLOSED may free the channel's memory.
 */
#define LANECALL_STATE(status) ((status) & 0xff)
#define LANECALL_IN_CARD 0x100 /* rings and their indices are in BAR 4 */
#define LANECALL_ERROR(status) (((status) >> 16) & 0xff)
#define LANECALL_STATUS_WORD(state, error) \
	((__u32)(state) | ((__u32)(error) << 16))

#define LANECALL_CLOSED 0 /* no connection; no memory in use */
#define LANECALL_CONNECTING 1
#define LANECALL_READY 2 /* connected; waits for ATTACH */
#define LANECALL_RUNNING 3 /* bytes move */
#define LANECALL_DRAINING 4 /* DRAIN given, TX not empty yet */
#define LANECALL_ENDED 5 /* nothing moves any more; waits for CLOSE */

#define LANECALL_ERR_NONE 0 /* the server closed the connection in order */
#define LANECALL_ERR_REFUSED 1 /* nobody listens at the server's address */
#define LANECALL_ERR_UNREACHABLE 2 /* no way to that address */
#define LANECALL_ERR_TIMED_OUT 3 /* the network gave up */
#define LANECALL_ERR_RESET 4 /* the connection broke */
#define LANECALL_ERR_ACCESS 5 /* the host does not allow it */
#define LANECALL_ERR_DMA 6 /* an address given is not usable memory */
#define LANECALL_ERR_PROTOCOL 7 /* the driver broke the specification */
#define LANECALL_ERR_RESOURCES 8 /* the device ran out of something */
#define LANECALL_ERR_IO 9 /* anything else */
#define LANECALL_ERR_RANGE 10 /* DMA: outside the region or card memory */
#define LANECALL_ERR_REVOKED 11 /* DMA: the region was removed meanwhile */

#endif
