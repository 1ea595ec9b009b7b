// SPDX-License-Identifier: GPL-2.0
/*
 * Regions: memory of programs (pinned.c), lent to the device in one of its slots
 * (abi/lanecall/region.h).
 *
 * The ideas behind it:
 * - A loan belongs to an open file and stays in its list until whoever made it,
 *   or takes it back, frees it. Its memory goes earlier if the device is stopped:
 *   detaching takes it from every loan of every channel.
 * - Nothing is unpinned because of a clock. A device that does not answer, or
 *   answers what cannot be, is reset: when it is at rest it cannot reach memory,
 *   and all its channels are lost with their loans. From one that does not come
 *   to rest nothing is taken back.
 * - A loan that is being made or taken back has no name: no other call of the
 *   program finds it.
 */
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "lanecall.h"

/* The device copies a table, under no condition. */
static unsigned int add_ms = 10000;
module_param(add_ms, uint, 0644);
MODULE_PARM_DESC(add_ms,
		 "How long a device may take to accept a region before it is reset (ms)");

static unsigned int revoke_ms = 10000;
module_param(revoke_ms, uint, 0644);
MODULE_PARM_DESC(revoke_ms,
		 "How long a device may take to let go of a region before it is reset (ms)");

/* A page of extents, while the device reads it. */
struct lanecall_table_page {
	struct lanecall_extent_page *page;
	dma_addr_t address;
};

struct lanecall_loan {
	struct list_head list; /* in lanecall_channel.loans; under lending */
	struct lanecall_channel *ch;
	struct lanecall_pinned memory; /* contents under lending */
	struct lanecall_table_page *table; /* under lending; NULL: read */
	unsigned int table_pages;
	unsigned int slot; /* the device's; with the memory */
	struct lanecall_share *share; /* it counts as one of; likewise */
	bool named; /* slot is what the program calls it; under lending */

	struct lanecall_region *descriptor; /* under look; NULL: no memory */
	dma_addr_t descriptor_address;
};

static struct device *dma_device(const struct lanecall_channel *ch)
{
	return &ch->ldev->pdev->dev;
}

/* In probe; everything goes with the driver. */
int lanecall_regions_init(struct lanecall_device *ldev)
{
	struct device *dev = &ldev->pdev->dev;

	init_waitqueue_head(&ldev->regions_wait);
	/* An extent may be of any length, and lie anywhere. */
	dma_set_max_seg_size(dev, UINT_MAX);
	dma_set_seg_boundary(dev, ULONG_MAX);
	ldev->descriptors = dmam_pool_create("lanecall_regions", dev,
					     LANECALL_REGION_BYTES,
					     LANECALL_REGION_BYTES, 0);
	return ldev->descriptors ? 0 : -ENOMEM;
}

/* ---- Descriptor and table of extents ---------------------------------------- */

static void free_table(struct lanecall_loan *loan)
{
	while (loan->table_pages) {
		struct lanecall_table_page *at =
			&loan->table[--loan->table_pages];

		dma_free_coherent(dma_device(loan->ch), sizeof(*at->page),
				  at->page, at->address);
	}
	kvfree(loan->table);
	loan->table = NULL;
}

static int alloc_table(struct lanecall_loan *loan, unsigned int extents)
{
	unsigned int count = DIV_ROUND_UP(extents, LANECALL_EXTENTS_PER_PAGE);

	loan->table = kvcalloc(count, sizeof(*loan->table), GFP_KERNEL);
	if (!loan->table)
		return -ENOMEM;
	while (loan->table_pages < count) {
		struct lanecall_table_page *at =
			&loan->table[loan->table_pages];

		at->page = dma_alloc_coherent(dma_device(loan->ch),
					      sizeof(*at->page), &at->address,
					      GFP_KERNEL);
		if (!at->page) {
			free_table(loan);
			return -ENOMEM;
		}
		loan->table_pages++;
	}
	return 0;
}

static void fill_table(struct lanecall_loan *loan)
{
	struct lanecall_table_page *table = loan->table;
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(&loan->memory.table, sg, i) {
		struct lanecall_extent *extent =
			&table[i / LANECALL_EXTENTS_PER_PAGE]
				 .page->extent[i % LANECALL_EXTENTS_PER_PAGE];

		extent->address = cpu_to_le64(sg_dma_address(sg));
		extent->bytes = cpu_to_le64(sg_dma_len(sg));
	}
	for (i = 1; i < loan->table_pages; i++)
		table[i - 1].page->next = cpu_to_le64(table[i].address);
}

/* Not 0: that is no key. */
static u64 draw_key(void)
{
	u64 key;

	do {
		key = get_random_u64();
	} while (!key);
	return key;
}

static int alloc_descriptor(struct lanecall_loan *loan,
			    const struct lanecall_region_registration *wanted)
{
	struct lanecall_region *region;

	region = dma_pool_zalloc(loan->ch->ldev->descriptors, GFP_KERNEL,
				 &loan->descriptor_address);
	if (!region)
		return -ENOMEM;
	region->key = cpu_to_le64(wanted->key);
	region->bytes = cpu_to_le64(wanted->bytes);
	region->access = cpu_to_le32(wanted->access);
	region->extents = cpu_to_le32(loan->memory.table.nents);
	region->first = cpu_to_le64(loan->table[0].address);
	loan->descriptor = region;
	return 0;
}

/* ---- A loan's memory ---------------------------------------------------------- */

static int describe(struct lanecall_loan *loan,
		    const struct lanecall_region_registration *wanted)
{
	unsigned int extents = loan->memory.table.nents;
	int err;

	if (extents > loan->ch->ldev->geo.region_extents)
		return -ENOSPC;
	err = alloc_table(loan, extents);
	if (err)
		return err;
	fill_table(loan);
	err = alloc_descriptor(loan, wanted);
	if (err)
		free_table(loan);
	return err;
}

static int map_and_describe(struct lanecall_loan *loan,
			    const struct lanecall_region_registration *wanted)
{
	struct device *dev = dma_device(loan->ch);
	int err = lanecall_pinned_map(dev, &loan->memory);

	if (err)
		return err;
	err = describe(loan, wanted);
	if (err)
		lanecall_pinned_unmap(dev, &loan->memory);
	return err;
}

/* A slot of the device: -ENOSPC if it has none left, -EDQUOT for this user. */
static int take_slot(struct lanecall_loan *loan)
{
	struct lanecall_device *ldev = loan->ch->ldev;
	int slot;

	loan->share = lanecall_share_take(ldev, LANECALL_SHARED_REGIONS);
	if (IS_ERR(loan->share))
		return PTR_ERR(loan->share);
	slot = ida_alloc_max(&ldev->region_slots, ldev->geo.regions - 1,
			     GFP_KERNEL);
	if (slot < 0) {
		lanecall_share_give_back(ldev, loan->share,
					 LANECALL_SHARED_REGIONS);
		return slot;
	}
	loan->slot = slot;
	atomic_inc(&ldev->regions_in_use);
	return 0;
}

static void give_slot_back(struct lanecall_loan *loan)
{
	struct lanecall_device *ldev = loan->ch->ldev;

	atomic_dec(&ldev->regions_in_use);
	ida_free(&ldev->region_slots, loan->slot);
	lanecall_share_give_back(ldev, loan->share, LANECALL_SHARED_REGIONS);
}

/* From pinned memory to a loan in its channel's list, ready for ADD. */
static int prepare(struct lanecall_loan *loan,
		   const struct lanecall_region_registration *wanted)
{
	struct lanecall_channel *ch = loan->ch;
	int err;

	if (READ_ONCE(ch->detached)) /* detaching comes, or has come, for lending */
		return -EIO;
	err = take_slot(loan);
	if (err)
		return err;
	err = map_and_describe(loan, wanted);
	if (err)
		give_slot_back(loan);
	else
		list_add_tail(&loan->list, &ch->loans);
	return err;
}

/* Nobody looks at the descriptor afterwards. It was this; NULL: no memory. */
static struct lanecall_region *take_descriptor(struct lanecall_loan *loan)
{
	struct lanecall_region *descriptor = loan->descriptor;

	spin_lock(&loan->ch->look);
	loan->descriptor = NULL;
	spin_unlock(&loan->ch->look);
	return descriptor;
}

/*
 * The memory goes back to the program: the device is stopped, or has said FREE.
 * Holds lending.
 */
static void release(struct lanecall_loan *loan)
{
	struct lanecall_channel *ch = loan->ch;
	struct lanecall_region *descriptor = take_descriptor(loan);

	if (!descriptor)
		return;
	dma_pool_free(ch->ldev->descriptors, descriptor,
		      loan->descriptor_address);
	free_table(loan);
	lanecall_pinned_unmap(dma_device(ch), &loan->memory);
	lanecall_unpin(&loan->memory);
	give_slot_back(loan);
}

/*
 * The device was reset and is not at rest: for the program the loan is over, but
 * what the device was given stays pinned, mapped and counted for good. Holds
 * lending.
 */
static void abandon(struct lanecall_loan *loan)
{
	if (take_descriptor(loan))
		give_slot_back(loan);
}

/* ---- What the device says ----------------------------------------------------- */

/* Nothing else has a meaning: an error means that the slot is free. */
static bool is_valid_word(u32 word)
{
	u32 state = LANECALL_REGION_STATE(word);
	u32 error = LANECALL_ERROR(word);

	return word == LANECALL_REGION_WORD(state, error) &&
	       state <= LANECALL_REGION_FREE &&
	       (!error || state == LANECALL_REGION_FREE);
}

/* The status word: 0, -EIO once there is none, -EPROTO for an impossible one. */
static int look(struct lanecall_loan *loan, u32 *word)
{
	int err = -EIO;

	spin_lock(&loan->ch->look);
	if (loan->descriptor) {
		*word = lanecall_get32(&loan->descriptor->status);
		err = is_valid_word(*word) ? 0 : -EPROTO;
	}
	spin_unlock(&loan->ch->look);
	lanecall_rmb(); /* pairs with the device's: status last */
	return err;
}

/* Why the device did not take it. */
static int refusal(u32 word)
{
	switch (LANECALL_ERROR(word)) {
	case LANECALL_ERR_RESOURCES:
		return -ENOSPC;
	case LANECALL_ERR_NONE:
		return -EPROTO;
	default:
		return -EIO;
	}
}

/* After ADD: -EAGAIN until it has an outcome. */
static int added(struct lanecall_loan *loan)
{
	u32 word;
	int err = look(loan, &word);

	if (err)
		return err;
	switch (LANECALL_REGION_STATE(word)) {
	case LANECALL_REGION_PENDING:
		return -EAGAIN;
	case LANECALL_REGION_ACTIVE:
		return 0;
	default:
		return refusal(word);
	}
}

/* After REMOVE: likewise. */
static int removed(struct lanecall_loan *loan)
{
	u32 word;
	int err = look(loan, &word);

	if (err)
		return err;
	switch (LANECALL_REGION_STATE(word)) {
	case LANECALL_REGION_ACTIVE:
		return -EAGAIN;
	case LANECALL_REGION_FREE:
		return 0;
	default:
		return -EPROTO;
	}
}

/*
 * The outcome of a command, at last: if the device does not say, or lies, it is
 * reset, and the loan's memory is released with all others'.
 */
static int outcome(struct lanecall_loan *loan,
		   int (*look_for)(struct lanecall_loan *loan), unsigned int ms)
{
	struct lanecall_device *ldev = loan->ch->ldev;
	int err = -EAGAIN;

	wait_event_timeout(ldev->regions_wait,
			   (err = look_for(loan)) != -EAGAIN,
			   msecs_to_jiffies(ms));
	if (err != -EAGAIN && err != -EPROTO)
		return err;
	dev_err(&ldev->dev, "region %u: %s, so the device is reset\n",
		loan->slot, err == -EPROTO ? "impossible status" :
		"the device does not answer");
	lanecall_engine_restart(loan->ch);
	return -EIO;
}

/* ---- Making and ending one ---------------------------------------------------- */

static int command_add(struct lanecall_loan *loan)
{
	struct lanecall_channel *ch = loan->ch;
	int err = -EIO;

	mutex_lock(&ch->ldev->lock);
	if (!ch->detached) {
		lanecall_region_add(ch->ldev, loan->slot,
				    loan->descriptor_address);
		err = 0;
	}
	mutex_unlock(&ch->ldev->lock);
	return err;
}

static void command_remove(struct lanecall_loan *loan)
{
	struct lanecall_channel *ch = loan->ch;

	mutex_lock(&ch->ldev->lock);
	if (!ch->detached)
		lanecall_region_remove(ch->ldev, loan->slot);
	mutex_unlock(&ch->ldev->lock);
}

/* The device has let go of it. */
static void loan_free(struct lanecall_loan *loan)
{
	struct lanecall_channel *ch = loan->ch;

	mutex_lock(&ch->lending);
	release(loan);
	list_del(&loan->list);
	mutex_unlock(&ch->lending);
	kfree(loan);
}

/* After command_remove(). Afterwards the loan is gone in any case. */
static int finish_removal(struct lanecall_loan *loan)
{
	int err = outcome(loan, removed, READ_ONCE(revoke_ms));

	loan_free(loan);
	return err;
}

static struct lanecall_loan *
loan_create(struct lanecall_channel *ch,
	    const struct lanecall_region_registration *wanted)
{
	struct lanecall_loan *loan = kzalloc(sizeof(*loan), GFP_KERNEL_ACCOUNT);
	int err;

	if (!loan)
		return ERR_PTR(-ENOMEM);
	loan->ch = ch;
	err = lanecall_pin(&loan->memory, wanted->address, wanted->bytes,
			   wanted->access);
	if (err)
		goto not_pinned;
	mutex_lock(&ch->lending);
	err = prepare(loan, wanted);
	mutex_unlock(&ch->lending);
	if (err)
		goto not_mapped;
	return loan;

not_mapped:
	lanecall_unpin(&loan->memory);
not_pinned:
	kfree(loan);
	return ERR_PTR(err);
}

/* The device has its own copy of the table; now the program may name the loan. */
static int publish(struct lanecall_loan *loan,
		   struct lanecall_region_registration *wanted)
{
	struct lanecall_channel *ch = loan->ch;
	int err = -EIO;

	mutex_lock(&ch->lending);
	if (loan->descriptor) {
		free_table(loan);
		wanted->device = ch->ldev->minor;
		wanted->region = loan->slot;
		wanted->flags = loan->memory.needs_sync ?
				LANECALL_REGION_NEEDS_SYNC : 0;
		loan->named = true;
		err = 0;
	}
	mutex_unlock(&ch->lending);
	return err;
}

/* A program may ask again with what it was answered. */
static bool is_valid_wish(const struct lanecall_region_registration *wanted)
{
	const u32 known = LANECALL_REGION_MAY_READ | LANECALL_REGION_MAY_WRITE;

	return wanted->bytes && wanted->access && !(wanted->access & ~known) &&
	       !(wanted->flags & ~LANECALL_REGION_NEEDS_SYNC);
}

/**
 * lanecall_region_register() - LANECALL_IOC_REGION_REGISTER
 * @ch: the channel
 * @wanted: what the program asks for; the answers are filled in
 */
int lanecall_region_register(struct lanecall_channel *ch,
			     struct lanecall_region_registration *wanted)
{
	struct lanecall_loan *loan;
	int err;

	if (READ_ONCE(ch->detached))
		return -EIO;
	if (!(ch->features & LANECALL_FEATURE_REGIONS))
		return -EOPNOTSUPP;
	if (!is_valid_wish(wanted))
		return -EINVAL;
	wanted->key = draw_key();
	loan = loan_create(ch, wanted);
	if (IS_ERR(loan))
		return PTR_ERR(loan);
	err = command_add(loan);
	if (!err)
		err = outcome(loan, added, READ_ONCE(add_ms));
	if (!err)
		err = publish(loan, wanted);
	if (err)
		loan_free(loan);
	return err;
}

/* Holds lending. */
static struct lanecall_loan *find(struct lanecall_channel *ch, u32 region)
{
	struct lanecall_loan *loan;

	list_for_each_entry(loan, &ch->loans, list)
		if (loan->named && loan->slot == region)
			return loan;
	return NULL;
}

/**
 * lanecall_region_unregister() - LANECALL_IOC_REGION_UNREGISTER
 * @ch: the channel
 * @region: a region's name
 *
 * Sleeps until the device has let go of the memory, whatever signals come.
 */
int lanecall_region_unregister(struct lanecall_channel *ch, u32 region)
{
	struct lanecall_loan *loan;

	mutex_lock(&ch->lending);
	loan = find(ch, region);
	if (loan)
		loan->named = false;
	mutex_unlock(&ch->lending);
	if (!loan)
		return READ_ONCE(ch->detached) ? -EIO : -ENOENT;
	command_remove(loan);
	return finish_removal(loan);
}

static bool is_valid_sync(const struct lanecall_region_sync *wanted)
{
	return wanted->direction == LANECALL_SYNC_FOR_DEVICE ||
	       wanted->direction == LANECALL_SYNC_FOR_CPU;
}

static int sync_loan(struct lanecall_loan *loan,
		     const struct lanecall_region_sync *wanted)
{
	if (!loan->descriptor)
		return -EIO;
	if (!lanecall_is_valid_span(wanted->offset, wanted->bytes,
				    loan->memory.bytes))
		return -EINVAL;
	lanecall_pinned_sync(dma_device(loan->ch), &loan->memory,
			     wanted->offset, wanted->bytes,
			     wanted->direction == LANECALL_SYNC_FOR_DEVICE);
	return 0;
}

/* LANECALL_IOC_REGION_SYNC: 0, -EINVAL, -ENOENT, -EIO. */
int lanecall_region_sync(struct lanecall_channel *ch,
			 const struct lanecall_region_sync *wanted)
{
	struct lanecall_loan *loan;
	int err;

	if (!is_valid_sync(wanted))
		return -EINVAL;
	mutex_lock(&ch->lending);
	loan = find(ch, wanted->region);
	if (loan)
		err = sync_loan(loan, wanted);
	else
		err = READ_ONCE(ch->detached) ? -EIO : -ENOENT;
	mutex_unlock(&ch->lending);
	return err;
}

/* ---- The end of all ------------------------------------------------------------- */

/**
 * lanecall_regions_take_back() - the file is closed
 * @ch: nobody else calls for it any more
 *
 * All are asked for before the first is waited for.
 */
void lanecall_regions_take_back(struct lanecall_channel *ch)
{
	struct lanecall_loan *loan, *next;

	list_for_each_entry(loan, &ch->loans, list)
		command_remove(loan);
	list_for_each_entry_safe(loan, next, &ch->loans, list)
		finish_removal(loan);
}

/**
 * lanecall_regions_detach() - take the channel's loans from a stopped device
 * @ch: detached; the device's lock is held
 */
void lanecall_regions_detach(struct lanecall_channel *ch)
{
	struct lanecall_loan *loan;

	mutex_lock(&ch->lending);
	list_for_each_entry(loan, &ch->loans, list) {
		if (ch->ldev->restless)
			abandon(loan);
		else
			release(loan);
	}
	mutex_unlock(&ch->lending);
	wake_up_all(&ch->ldev->regions_wait);
}
