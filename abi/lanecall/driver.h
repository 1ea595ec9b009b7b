/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * The driver ABI: what a program may ask of a /dev/lanecallN descriptor beside
 * open, read, write, poll, fsync and close. One open is one channel: a reliable,
 * ordered byte stream to one connection of the server, like a stream socket
 * without half-close.
 *
 * open    blocks, interruptibly, until the server has accepted; with O_NONBLOCK
 *         returns at once, POLLOUT or POLLERR then says that
 *         LANECALL_IOC_STATUS has the outcome. Errors: EBUSY (no channel free),
 *         EDQUOT (this user has its share of them), ECONNREFUSED, EHOSTUNREACH,
 *         ETIMEDOUT, ECONNRESET, EACCES, ENOBUFS, EIO, ENODEV.
 * read    at least one byte, or 0 at the end of the stream, once everything
 *         that had arrived is read; EAGAIN with O_NONBLOCK; ECONNRESET when the
 *         connection broke.
 * write   blocks until all is in the ring (O_NONBLOCK: what fits, or EAGAIN);
 *         EPIPE (without a signal) after the end of the connection; EAGAIN
 *         also while an O_NONBLOCK open still connects.
 * poll    POLLIN, POLLOUT, POLLHUP at the end, POLLERR after an error.
 * fsync   returns when the device has taken all that was written.
 * close   blocks for regions only, until the device has let go of them; what
 *         was written is still sent, within a bound, unless a reset overtakes
 *         it: over TCP, as on any socket, when a side closes before it has read
 *         all that came.
 *
 * After the device was unplugged or reset everything but close says EIO, and
 * poll POLLERR|POLLHUP; a new open works once the device is back.
 */
#ifndef LANECALL_DRIVER_H
#define LANECALL_DRIVER_H

#include <linux/ioctl.h>
#include "device.h"

struct lanecall_info {
	__u32 abi_version; /* LANECALL_VERSION the module was built with */
	__u32 channel; /* this descriptor's channel */
	__u32 channels; /* how many the device has */
	__u32 tx_bytes; /* ring sizes, in effect or chosen */
	__u32 rx_bytes;
	__u32 ring_bytes_min;
	__u32 ring_bytes_max;
	__u32 generation; /* changes when the device was reset */
	__u64 features; /* accepted LANECALL_FEATURE_* bits */
	char device[24]; /* PCI address, NUL-terminated */
};

/* Ring sizes in bytes, powers of two between the minimum and the maximum. */
struct lanecall_ring_sizes {
	__u32 tx_bytes;
	__u32 rx_bytes;
};

struct lanecall_channel_status {
	__u32 state; /* LANECALL_CLOSED ... LANECALL_ENDED */
	__s32 error; /* 0, or the errno value that ended the channel */
};

/*
 * Mapped mode: a program that asks for it moves bytes through the rings itself,
 * with lanecall/ring.h, and calls the kernel only to sleep. Chosen by
 * LANECALL_IOC_MAP, for the rest of the descriptor's life: read and write say
 * EBUSY from then on, poll works as ever (it looks at the shared indices, and
 * asks the device to tell of what is not there yet).
 *
 * Each part is mapped by one mmap(MAP_SHARED) at its offset, any time later and
 * any number of times. They are not inherited by a child of fork. A ring may be
 * mapped with twice its length: the second half shows the same bytes again, so
 * that every span of the ring is contiguous.
 *
 *   status    one page, struct lanecall_index_page: status and gone, where
 *             every wait has to look. gone is not 0 once the device is lost,
 *             or the channel given up for an impossible word: then memory
 *             stays readable, doorbells go nowhere, and nothing moves any more.
 *   index     one page, struct lanecall_index_page: the ring words. The same
 *             page as status, unless IN_CARD.
 *   doorbell  one page, write-only: a 32-bit store of any value at its start.
 *   tx, rx    the rings.
 *
 * What a program writes there can hurt its own channel only.
 */
struct lanecall_mapping {
	__u32 flags; /* LANECALL_MAPPING_* */
	__u32 page_bytes; /* of status, index and doorbell */
	__u32 tx_bytes;
	__u32 rx_bytes;
	__u64 status_offset;
	__u64 index_offset;
	__u64 doorbell_offset;
	__u64 tx_offset;
	__u64 rx_offset;
};

#define LANECALL_MAPPING_IN_CARD 0x1 /* index and rings are card memory */

/*
 * What a program that has mapped its channel knows and the kernel does not, for
 * sysfs, which marks it as the program's word. Kept in the status page (on both
 * planes host memory, which the device neither reads nor writes there), from 0
 * at LANECALL_IOC_MAP: what the program does on the channel is added when it is
 * done, by plain stores of whole words in the machine's byte order. One struct
 * for each direction, each with one writer at a time, so that a thread that
 * sends and one that receives need no atomic additions. Keeping them is
 * optional: the kernel only shows them.
 */
struct lanecall_user_counters {
	__u64 bytes; /* put into TX, or taken out of RX */
	__u64 doorbells; /* rung after that */
	__u64 spins; /* waits that were over before a sleep */
	__u64 sleeps; /* calls of the kernel to sleep, in a wait for this */
	__u64 flushes; /* messages, or parts of one, published; TX only */
	__u64 full_waits; /* waits for room, spun or slept through; TX only */
	__u8 reserved[80];
};

/* In the status page, in bytes. */
#define LANECALL_USER_COUNTERS_TX 0x300
#define LANECALL_USER_COUNTERS_RX 0x380

/* See "Moderation" in lanecall/device.h; 0 microseconds: no moderation. */
struct lanecall_moderation {
	__u32 bytes;
	__u32 microseconds; /* at most LANECALL_MODERATE_US_MAX */
};

/*
 * Regions: memory of the calling program, lent to the device under a key that
 * the driver draws, 64 random bits. Whoever is told the key can have the device
 * read or write that memory. The memory is pinned and counts against
 * RLIMIT_MEMLOCK; it stays lent until UNREGISTER, or until every descriptor of
 * this open is closed, whichever comes first; both return when the device can
 * touch it no longer. Any address and length do; the parts of pages outside are
 * not lent.
 */
struct lanecall_region_registration {
	__u64 address; /* in the calling program */
	__u64 bytes; /* at least 1 */
	__u32 access; /* LANECALL_REGION_MAY_READ, MAY_WRITE of region.h */
	__u32 device; /* returned: N of /dev/lanecallN */
	__u64 key; /* returned */
	__u32 region; /* returned: names it in the next two */
	__u32 flags; /* returned: LANECALL_REGION_* below; no others before */
};

/* LANECALL_IOC_REGION_SYNC has something to do. */
#define LANECALL_REGION_NEEDS_SYNC 1

/*
 * Where memory is not coherent, or bounced: makes what the program wrote visible
 * to the device (FOR_DEVICE, before a call that reads it), or what the device
 * wrote to the program (FOR_CPU, after, and before UNREGISTER, which leaves the
 * memory as it is). Elsewhere it is a system call for nothing: without
 * LANECALL_REGION_NEEDS_SYNC, leave it out.
 */
struct lanecall_region_sync {
	__u32 region;
	__u32 direction; /* LANECALL_SYNC_* */
	__u64 offset;
	__u64 bytes;
};

#define LANECALL_SYNC_FOR_DEVICE 1
#define LANECALL_SYNC_FOR_CPU 2

LANECALL_ASSERT(sizeof(struct lanecall_region_registration) == 40,
		"lanecall_region_registration");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_region_registration,
				   key) == 24, "key");
LANECALL_ASSERT(sizeof(struct lanecall_region_sync) == 24,
		"lanecall_region_sync");
LANECALL_ASSERT(sizeof(struct lanecall_mapping) == 56, "lanecall_mapping");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_mapping,
				   status_offset) == 16, "status_offset");
LANECALL_ASSERT(sizeof(struct lanecall_user_counters) == 128,
		"user_counters");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_user_counters,
				   full_waits) == 40, "full_waits");
LANECALL_ASSERT(LANECALL_USER_COUNTERS_TX >=
			__builtin_offsetof(struct lanecall_index_page,
					   reserved2),
		"counters after all other words");
LANECALL_ASSERT(LANECALL_USER_COUNTERS_RX ==
			LANECALL_USER_COUNTERS_TX +
				sizeof(struct lanecall_user_counters),
		"counters side by side");
LANECALL_ASSERT(sizeof(struct lanecall_moderation) == 8, "moderation");
LANECALL_ASSERT(sizeof(struct lanecall_info) == 64, "lanecall_info");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_info, features) == 32,
		"features");
LANECALL_ASSERT(__builtin_offsetof(struct lanecall_info, device) == 40,
		"device");
LANECALL_ASSERT(sizeof(struct lanecall_ring_sizes) == 8, "ring_sizes");
LANECALL_ASSERT(sizeof(struct lanecall_channel_status) == 8, "channel_status");

#define LANECALL_IOC 0xec

#define LANECALL_IOC_INFO _IOR(LANECALL_IOC, 1, struct lanecall_info)
/* Before the first read, write or poll, else EBUSY; EINVAL for a bad size. */
#define LANECALL_IOC_SET_RINGS _IOW(LANECALL_IOC, 2, struct lanecall_ring_sizes)
#define LANECALL_IOC_STATUS _IOR(LANECALL_IOC, 3, struct lanecall_channel_status)
/*
 * Blocks until the rings are there, but with O_NONBLOCK says EAGAIN until then
 * (poll for POLLOUT). EBUSY after bytes were read or written, EOPNOTSUPP where
 * programs cannot share memory with the device (it is not coherent, or every
 * transfer is bounced), EIO, or why the open failed.
 */
#define LANECALL_IOC_MAP _IOR(LANECALL_IOC, 4, struct lanecall_mapping)
/* As SET_RINGS; EOPNOTSUPP if the device cannot. */
#define LANECALL_IOC_SET_MODERATION \
	_IOW(LANECALL_IOC, 5, struct lanecall_moderation)
/*
 * EOPNOTSUPP if the device cannot; EINVAL, EFAULT; ENOMEM over RLIMIT_MEMLOCK, or
 * if the machine cannot map so much; EPERM for memory that cannot be lent (a
 * file's pages that would be written back); ENOSPC if all slots or extents of the
 * device are in use, EDQUOT if this user has its share of slots; EIO.
 */
#define LANECALL_IOC_REGION_REGISTER \
	_IOWR(LANECALL_IOC, 16, struct lanecall_region_registration)
/* ENOENT if this open has no such region. */
#define LANECALL_IOC_REGION_UNREGISTER _IOW(LANECALL_IOC, 17, __u32)
#define LANECALL_IOC_REGION_SYNC \
	_IOW(LANECALL_IOC, 18, struct lanecall_region_sync)

#endif
