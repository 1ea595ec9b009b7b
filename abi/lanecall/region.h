/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * Regions: host memory that a driver lends to the device, for a server to read
 * and write by reference. Part of the device ABI, with FEATURE_REGIONS.
 * docs/device.md is the specification; this file is its letter.
 *
 * The ideas behind it:
 * - A region is a list of extents of bus addresses, seen as one span of bytes
 *   that begins at 0, under a key: 64 random bits that the driver chose and its
 *   program may hand on. Who has the key, and speaks to the card port, may move
 *   bytes between the region and card memory (card.h); nobody else.
 * - The driver puts a region into one of the device's slots with a command. The
 *   device copies key, bounds and extents, and answers through the status word
 *   of the region's descriptor and an interrupt: what the program changes later
 *   changes nothing.
 * - To take it back, the driver gives another command; the status word says
 *   FREE once no access to its memory is under way and none can begin.
 */
#ifndef LANECALL_REGION_H
#define LANECALL_REGION_H

#include "platform.h"

/* ---- BAR 2: device registers, behind those of device.h ------------------- */

#define LANECALL_REG_REGIONS 0x48 /* RO: number of slots */
#define LANECALL_REG_REGION_EXTENTS 0x4c /* RO: most extents, all slots' */
#define LANECALL_REG_REGION_VECTOR 0x50 /* RW: interrupt vector; taken at ADD */
#define LANECALL_REG_REGION_SLOT 0x54 /* RW: which slot a command is for */
#define LANECALL_REG_REGION_LO 0x58 /* RW: bus address of the descriptor */
#define LANECALL_REG_REGION_HI 0x5c
#define LANECALL_REG_REGION_COMMAND 0x60 /* WO: LANECALL_REGION_* command */

#define LANECALL_MAX_REGIONS 65536

#define LANECALL_REGION_ADD 1 /* needs SLOT, VECTOR and the address */
#define LANECALL_REGION_REMOVE 2 /* needs SLOT */

/* ---- Host memory --------------------------------------------------------- */

/*
 * A descriptor: 256 bytes, aligned to 256. The device reads all but status once,
 * at ADD; it may write status from ADD until it has written FREE or an error.
 */
#define LANECALL_REGION_BYTES 256

#define LANECALL_REGION_MAY_READ 0x1 /* the device may read its memory */
#define LANECALL_REGION_MAY_WRITE 0x2

struct lanecall_region {
	__le64 key; /* not 0; not that of another slot */
	__le64 bytes; /* not 0; the sum of the extents' */
	__le32 access; /* LANECALL_REGION_MAY_*, not 0 */
	__le32 extents; /* how many, at least 1 */
	__le64 first; /* bus address of the first page of extents */
	__u8 reserved0[96];
	__le32 status; /* device writes: LANECALL_REGION_WORD */
	__u8 reserved1[124];
};

/* At least one byte; the sum address + bytes does not wrap. */
struct lanecall_extent {
	__le64 address;
	__le64 bytes;
};

/* Aligned to 4096. The device reads each page once, at ADD. */
#define LANECALL_EXTENTS_PER_PAGE 255

struct lanecall_extent_page {
	struct lanecall_extent extent[LANECALL_EXTENTS_PER_PAGE];
	__le64 next; /* bus address of the next page; unused in the last */
	__le64 reserved;
};

/*
 * The status word, written after everything it announces. The driver zeroes it
 * before ADD. The pages of extents are the driver's again once it is not 0;
 * descriptor and memory once it says FREE or has an error.
 */
#define LANECALL_REGION_STATE(status) ((status) & 0xff)
#define LANECALL_REGION_WORD(state, error) \
	((__u32)(state) | ((__u32)(error) << 16)) /* LANECALL_ERR_* */

#define LANECALL_REGION_PENDING 0 /* as the driver left it */
#define LANECALL_REGION_ACTIVE 1 /* bytes may move */
#define LANECALL_REGION_FREE 2 /* the slot is free: removed, or not added */

LANECALL_ASSERT(sizeof(struct lanecall_region) == LANECALL_REGION_BYTES,
		"region");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_region, status) == 0x80,
		"region status");
LANECALL_ASSERT(sizeof(struct lanecall_extent_page) == 4096, "extent page");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_extent_page, next) == 4080,
		"next extent page");

/* Does [offset, offset + bytes) lie inside something of size bytes? */
static inline int lanecall_is_valid_span(__u64 offset, __u64 bytes, __u64 size)
{
	return bytes <= size && offset <= size - bytes;
}

#endif
