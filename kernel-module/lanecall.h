/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lanecall.ko: the kernel's side of the Lanecall device (docs/device.md), and
 * of the file descriptors that programs see (abi/lanecall/driver.h).
 *
 * The ideas behind it:
 * - A device (struct lanecall_device) has slots, the hardware's channels. An
 *   open file is a struct lanecall_channel; it sits in a slot from open until
 *   the device has confirmed that it no longer touches the channel's memory,
 *   which may be some time after the file was closed.
 * - Everything the device says arrives as memory plus an interrupt. The handler
 *   only wakes whoever waits at a slot; each waiter looks at memory itself.
 * - Everything the device says is a claim, checked by a predicate. A channel
 *   that was lied to is broken: its owner gets EIO and the slot is closed.
 * - A channel's rings lie in host memory or in the card's (BAR 4), as the device
 *   decides. A program may map them (mapping.c); from then on nothing that the
 *   index page says is the device's word alone: it may cost that program its
 *   channel, but never decides when memory is freed.
 * - When the device stops (unbind, reset, suspend, removal) every channel is
 *   detached: its memory goes, its descriptors say EIO for ever, and the slots
 *   are free for new opens once the device is back. A device that does not even
 *   say that it has stopped keeps all memory it was given: that is lost, but
 *   nobody else's is written to.
 *
 * Locking, outermost first:
 *   lanecall_device.lock    which channel is in which slot, slots' closing
 *                           phases, whether the engine is online, and writes
 *                           of commands. Never held while waiting for a peer.
 *   mmap_lock               of a program that maps, or touches what it mapped.
 *   lanecall_channel.setup  attaching rings, ring sizes, mapping, detaching.
 *   lanecall_channel.lending  the list of its loans (regions.c), their memory.
 *                           Mapping much of it may take a while, so it is none
 *                           of setup's; the two are never held together.
 *   lanecall_channel.reader the right to take bytes out of RX: held while
 *                           copying, with page faults disabled, never over a
 *                           sleep, so that detaching is never held up.
 *   lanecall_channel.writer the same for TX.
 *   lanecall_channel.look   (spinlock) both struct lanecall_ring, the index
 *                           page, and the flags that end a channel. All looks
 *                           at shared indices and all arming happen under it,
 *                           so want_head and want_tail never move backwards.
 *   lanecall_device.shares_lock  (spinlock) which user has how much (share.c).
 * Whoever holds reader, writer, setup or the device's lock, and has seen that
 * the channel is not detached, may use rings' memory and the registers:
 * detaching takes them all, and lending, which guards loans' memory likewise.
 * The interrupt handler takes none of these. Nobody touches a program's memory,
 * faulting, while holding one of them.
 */
#ifndef LANECALL_MODULE_H
#define LANECALL_MODULE_H

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/dma-direction.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <lanecall/device.h>
#include <lanecall/driver.h>
#include <lanecall/region.h>
#include <lanecall/ring.h>

#include "placement.h"

#define LANECALL_NAME "lanecall"

/* What the device's registers say about its layout, once it is believed. */
struct lanecall_geometry {
	u32 version;
	u32 channels;
	u32 vectors;
	u32 channel_offset;
	u32 channel_stride;
	u32 doorbell_offset;
	u32 doorbell_stride;
	u8 ring_shift_min;
	u8 ring_shift_max;
	u8 page_shift_min;
	u8 page_shift_max;
	u32 regions; /* 0: it takes none */
	u32 region_extents;
};

/* How far a slot whose file was closed has got. */
enum lanecall_closing {
	LANECALL_IN_USE,
	LANECALL_DRAIN_SENT,
	LANECALL_CLOSE_SENT,
	LANECALL_RETIRED, /* no confirmation: kept until the device stops */
};

/* What is counted of each channel: by the driver, and then by its program. */
enum lanecall_counter {
	LANECALL_TX_BYTES,
	LANECALL_RX_BYTES,
	LANECALL_FLUSHES, /* writes that moved bytes */
	LANECALL_DOORBELLS,
	LANECALL_INTERRUPTS,
	LANECALL_SLEEPS, /* in read and write */
	LANECALL_FULL_WAITS, /* writes that met a full TX, once for each time */
	LANECALL_USER_TX_BYTES, /* struct lanecall_user_counters from here on */
	LANECALL_USER_RX_BYTES,
	LANECALL_USER_FLUSHES,
	LANECALL_USER_DOORBELLS,
	LANECALL_USER_SPINS,
	LANECALL_USER_SLEEPS,
	LANECALL_USER_FULL_WAITS,
	LANECALL_COUNTERS
};

/* What a device has few of, and shares out among users; see share.c. */
enum lanecall_shared {
	LANECALL_SHARED_CHANNELS,
	LANECALL_SHARED_REGIONS,
	LANECALL_SHARED
};

struct lanecall_share;

struct lanecall_slot {
	struct lanecall_device *ldev;
	unsigned int number;
	unsigned int vector; /* what the device is told */
	wait_queue_head_t wait; /* every change the device announces */

	/* under lanecall_device.lock */
	struct lanecall_channel *channel; /* NULL: free */
	enum lanecall_closing closing; /* also read by the handler */
	unsigned long deadline; /* of this phase, in jiffies */
	struct delayed_work reap;

	/* since the last open; the device's lock is held when that begins */
	atomic64_t counters[LANECALL_COUNTERS];
};

/* An interrupt vector serves slots first, first + step, ... */
struct lanecall_vector {
	struct lanecall_device *ldev;
	unsigned int first;
	unsigned int step;
	unsigned int irq;
	int target; /* CPU it was last sent to; -1: wherever the kernel likes */
};

/* Counted by dev; lives until the last file and the driver let go of it. */
struct lanecall_device {
	struct device dev;
	struct cdev cdev;
	struct pci_dev *pdev; /* used only while online, and in probe/remove */
	void __iomem *regs; /* BAR 2; likewise */
	void *card; /* BAR 4, write-combining; likewise; NULL: not used */
	u64 card_bytes;
	char pci_name[24];
	unsigned int minor; /* kept when the number is given back; for traces */
	struct lanecall_geometry geo;
	unsigned int slot_count;
	struct lanecall_slot *slots;
	unsigned int vector_count;
	struct lanecall_vector *vectors;
	struct lanecall_sysfs *sysfs;

	wait_queue_head_t regions_wait; /* every change of a region */
	struct dma_pool *descriptors; /* of regions; used as pdev is */
	struct ida region_slots;
	atomic_t regions_in_use;

	spinlock_t shares_lock; /* innermost; see above */
	struct list_head shares; /* under shares_lock */

	struct mutex lock; /* outermost; see above */
	bool online; /* under lock */
	bool restless; /* stopped, and may still be in an access; likewise */
	u32 generation; /* under lock */
	u64 features; /* accepted; under lock */
	u64 counted_before[LANECALL_COUNTERS]; /* ended channels; under lock */
};

/*
 * A byte ring, contiguous for the kernel: in DMA memory, allocated one page at a
 * time, or (then without pages and addresses) in card memory.
 */
struct lanecall_buffer {
	u32 bytes;
	unsigned int page_count;
	enum dma_data_direction direction;
	struct page **pages;
	dma_addr_t *addresses;
	void *data;
};

/* A program's memory; see pinned.c. */
struct lanecall_pinned {
	struct page **pages;
	unsigned long page_count;
	unsigned int head; /* where in its first page it begins */
	u64 bytes;
	enum dma_data_direction direction;
	struct user_struct *user; /* it counts for these two */
	struct mm_struct *mm;
	struct sg_table table; /* while mapped */
	bool needs_sync; /* likewise: some of it */
};

/* Counted by ref: one for the file, one for the slot. */
struct lanecall_channel {
	struct kref ref;
	struct lanecall_device *ldev; /* holds a reference */
	struct lanecall_slot *slot;
	u32 generation; /* of the device when this was opened */
	u64 features; /* likewise */
	struct lanecall_share *share; /* it counts as one of; until detached */
	struct pid *opener; /* process that opened the file */
	char opener_comm[TASK_COMM_LEN];

	struct mutex setup; /* attaching, detaching; see above */
	u32 tx_bytes; /* chosen sizes; under setup */
	u32 rx_bytes;
	struct lanecall_moderation moderation; /* likewise */
	bool used; /* neither can be chosen any longer; under setup */
	struct lanecall_buffer tx;
	struct lanecall_buffer rx;
	__le64 *tables; /* TX's page table, then RX's */
	dma_addr_t tables_address;
	size_t tables_bytes;
	struct page *index_page; /* NULL: index cannot be mapped */
	struct page *dummy; /* what stands in for BARs once detached */
	struct address_space mapping; /* of this open file alone */
	bool revoked; /* no BAR is mapped any more; under setup */

	struct mutex lending; /* loans, and their memory; see above */
	struct list_head loans;

	struct mutex reader; /* RX's consumer; see above */
	struct mutex writer; /* TX's producer; see above */

	spinlock_t look; /* the rest; see above */
	struct lanecall_index_page *index; /* NULL once detached */
	dma_addr_t index_address;
	bool detached; /* the device was stopped */
	bool broken; /* the device lied */
	bool started; /* a status other than CLOSED was seen */
	u32 reached; /* the state last seen */
	bool attach_sent; /* set under setup, too */
	bool in_card; /* where the rings lie; chosen with attach_sent */
	bool attached; /* rings are there: RUNNING was seen */
	bool mapped; /* the program moves the bytes; set under all of them */
	bool close_sent; /* because broken; under lanecall_device.lock */
	struct lanecall_ring tx_ring;
	struct lanecall_ring rx_ring;
	struct lanecall_placement placed; /* checked; if in_card and attached */
};

/* module.c */
extern struct class lanecall_class;
int lanecall_minor_get(struct lanecall_device *ldev);
void lanecall_minor_put(struct lanecall_device *ldev);

/* pci.c */
extern struct pci_driver lanecall_pci_driver;
void lanecall_interrupt_here(struct lanecall_channel *ch);

/* engine.c: the device's registers */
int lanecall_engine_identify(struct pci_dev *pdev, void __iomem *regs,
			     struct lanecall_geometry *geo);
int lanecall_engine_start(struct lanecall_device *ldev);
void lanecall_engine_stop(struct lanecall_device *ldev);
void lanecall_engine_restart(struct lanecall_channel *ch);
void lanecall_slot_write(struct lanecall_slot *slot, u32 reg, u32 value);
void lanecall_slot_write64(struct lanecall_slot *slot, u32 reg, u64 value);
u32 lanecall_slot_status(struct lanecall_slot *slot);
void lanecall_slot_doorbell(struct lanecall_slot *slot);
void lanecall_region_add(struct lanecall_device *ldev, u32 slot,
			 dma_addr_t descriptor);
void lanecall_region_remove(struct lanecall_device *ldev, u32 slot);

/* slot.c: giving slots out and getting them back */
struct lanecall_channel *lanecall_slot_take(struct lanecall_device *ldev);
void lanecall_slot_release(struct lanecall_channel *ch);
void lanecall_slot_vacate(struct lanecall_slot *slot);
void lanecall_slot_reap(struct work_struct *work);
void lanecall_slot_kick(struct lanecall_slot *slot);

/* channel.c: a channel's memory and life */
struct lanecall_channel *lanecall_channel_create(struct lanecall_slot *slot);
void lanecall_channel_put(struct lanecall_channel *ch);
void lanecall_channel_detach(struct lanecall_channel *ch);
int lanecall_channel_wait_open(struct lanecall_channel *ch);
int lanecall_channel_use(struct lanecall_channel *ch, bool nonblock);
int lanecall_channel_set_sizes(struct lanecall_channel *ch, u32 tx, u32 rx);
int lanecall_channel_set_moderation(struct lanecall_channel *ch,
				    const struct lanecall_moderation *wanted);

/* rings.c: where a channel's bytes are */
int lanecall_rings_attach(struct lanecall_channel *ch, bool in_card);
int lanecall_rings_adopt(struct lanecall_channel *ch, bool ended);
void lanecall_rings_free(struct lanecall_channel *ch);

/* mapping.c: rings in a program's hands */
bool lanecall_mapping_is_possible(const struct lanecall_device *ldev);
void lanecall_mapping_init(struct lanecall_channel *ch, struct file *file);
int lanecall_mapping_choose(struct lanecall_channel *ch, bool nonblock,
			    struct lanecall_mapping *mapping);
int lanecall_mapping_mmap(struct lanecall_channel *ch,
			  struct vm_area_struct *vma);
void lanecall_mapping_revoke(struct lanecall_channel *ch);

/* status.c: what the device says about a channel */
int lanecall_channel_look(struct lanecall_channel *ch, u32 *word);
void lanecall_channel_status(struct lanecall_channel *ch, u32 *word);
u32 lanecall_channel_state(struct lanecall_channel *ch);
int lanecall_status_errno(u32 word);
int lanecall_status_write_errno(const struct lanecall_channel *ch, u32 word);
void lanecall_channel_break_locked(struct lanecall_channel *ch,
				   const char *why);

/* buffer.c */
struct page *lanecall_page_alloc(struct device *dev, dma_addr_t *address,
				 enum dma_data_direction direction);
int lanecall_buffer_alloc(struct device *dev, struct lanecall_buffer *buffer,
			  u32 bytes, enum dma_data_direction direction);
void lanecall_buffer_place(struct lanecall_buffer *buffer, void *data,
			   u32 bytes);
void lanecall_buffer_free(struct device *dev, struct lanecall_buffer *buffer);
u32 lanecall_buffer_copy_in(struct device *dev, struct lanecall_buffer *buffer,
			    u32 index, u32 bytes, struct iov_iter *from);
u32 lanecall_buffer_copy_out(struct device *dev, struct lanecall_buffer *buffer,
			     u32 index, u32 bytes, struct iov_iter *to);

/* stream.c */
ssize_t lanecall_stream_read(struct lanecall_channel *ch, struct iov_iter *to,
			     bool nonblock);
ssize_t lanecall_stream_write(struct lanecall_channel *ch,
			      struct iov_iter *from, bool nonblock);
__poll_t lanecall_stream_poll(struct lanecall_channel *ch, __poll_t wanted);
int lanecall_stream_flush(struct lanecall_channel *ch);

/* pinned.c: memory of programs */
int lanecall_pin(struct lanecall_pinned *pinned, u64 address, u64 bytes,
		 u32 access);
void lanecall_unpin(struct lanecall_pinned *pinned);
int lanecall_pinned_map(struct device *dev, struct lanecall_pinned *pinned);
void lanecall_pinned_unmap(struct device *dev, struct lanecall_pinned *pinned);
void lanecall_pinned_sync(struct device *dev, struct lanecall_pinned *pinned,
			  u64 offset, u64 bytes, bool for_device);

/* regions.c: memory of programs, lent to the device */
int lanecall_regions_init(struct lanecall_device *ldev);
int lanecall_region_register(struct lanecall_channel *ch,
			     struct lanecall_region_registration *wanted);
int lanecall_region_unregister(struct lanecall_channel *ch, u32 region);
int lanecall_region_sync(struct lanecall_channel *ch,
			 const struct lanecall_region_sync *wanted);
void lanecall_regions_take_back(struct lanecall_channel *ch);
void lanecall_regions_detach(struct lanecall_channel *ch);

/* share.c: how much of a device one user may have */
struct lanecall_share *lanecall_share_take(struct lanecall_device *ldev,
					   enum lanecall_shared kind);
void lanecall_share_give_back(struct lanecall_device *ldev,
			      struct lanecall_share *share,
			      enum lanecall_shared kind);

/* file.c */
extern const struct file_operations lanecall_fops;

/* counters.c */
static inline void lanecall_count(struct lanecall_slot *slot,
				  enum lanecall_counter counter, u64 more)
{
	atomic64_add(more, &slot->counters[counter]);
}

void lanecall_counters_ask(struct lanecall_channel *ch);
void lanecall_counters_restart(struct lanecall_slot *slot);
u64 lanecall_counters_read(struct lanecall_slot *slot,
			   enum lanecall_counter counter);
u64 lanecall_counters_total(struct lanecall_device *ldev,
			    enum lanecall_counter counter);

/* sysfs.c */
int lanecall_sysfs_create(struct lanecall_device *ldev);
void lanecall_sysfs_free(struct lanecall_device *ldev);

#endif
