// SPDX-License-Identifier: GPL-2.0
/*
 * A channel's life: its index page from open, its rings (rings.c) from first
 * use, and the end of both.
 */
#include <linux/dma-mapping.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "lanecall.h"

#define LANECALL_RING_BYTES_DEFAULT SZ_256K

static struct device *dma_device(struct lanecall_channel *ch)
{
	return &ch->ldev->pdev->dev;
}

static bool is_valid_ring_size(const struct lanecall_geometry *geo, u32 bytes)
{
	return is_power_of_2(bytes) && ilog2(bytes) >= geo->ring_shift_min &&
	       ilog2(bytes) <= geo->ring_shift_max;
}

static u32 default_ring_size(const struct lanecall_geometry *geo)
{
	return clamp_t(u32, LANECALL_RING_BYTES_DEFAULT,
		       1U << geo->ring_shift_min, 1U << geo->ring_shift_max);
}

/*
 * The index page; zeroed. If programs may share memory with the device, a page
 * that can be mapped, and nothing else with it.
 */
static int alloc_index(struct lanecall_channel *ch)
{
	struct device *dev = dma_device(ch);

	if (lanecall_mapping_is_possible(ch->ldev)) {
		ch->index_page = lanecall_page_alloc(dev, &ch->index_address,
						     DMA_BIDIRECTIONAL);
		if (ch->index_page)
			ch->index = page_address(ch->index_page);
	} else {
		ch->index = dma_alloc_coherent(dev, LANECALL_INDEX_BYTES,
					       &ch->index_address, GFP_KERNEL);
	}
	return ch->index ? 0 : -ENOMEM;
}

static void free_index(struct lanecall_channel *ch,
		       struct lanecall_index_page *index)
{
	struct device *dev = dma_device(ch);

	if (ch->index_page)
		dma_free_pages(dev, PAGE_SIZE, ch->index_page,
			       ch->index_address, DMA_BIDIRECTIONAL);
	else
		dma_free_coherent(dev, LANECALL_INDEX_BYTES, index,
				  ch->index_address);
}

/**
 * lanecall_channel_create() - a channel with an index page and no rings
 * @slot: where it will sit; the device's lock is held and it is online
 *
 * Return: a channel with one reference, or an error pointer.
 */
struct lanecall_channel *lanecall_channel_create(struct lanecall_slot *slot)
{
	struct lanecall_device *ldev = slot->ldev;
	struct lanecall_channel *ch = kzalloc(sizeof(*ch), GFP_KERNEL);

	if (!ch)
		return ERR_PTR(-ENOMEM);
	kref_init(&ch->ref);
	mutex_init(&ch->setup);
	mutex_init(&ch->lending);
	INIT_LIST_HEAD(&ch->loans);
	mutex_init(&ch->reader);
	mutex_init(&ch->writer);
	spin_lock_init(&ch->look);
	ch->ldev = ldev;
	ch->slot = slot;
	ch->generation = ldev->generation;
	ch->features = ldev->features;
	ch->tx_bytes = default_ring_size(&ldev->geo);
	ch->rx_bytes = ch->tx_bytes;
	if (alloc_index(ch)) {
		kfree(ch);
		return ERR_PTR(-ENOMEM);
	}
	get_device(&ldev->dev);
	ch->opener = get_pid(task_tgid(current));
	get_task_comm(ch->opener_comm, current);
	return ch;
}

static void channel_free(struct kref *ref)
{
	struct lanecall_channel *ch =
		container_of(ref, struct lanecall_channel, ref);

	if (ch->dummy)
		__free_page(ch->dummy);
	put_pid(ch->opener);
	put_device(&ch->ldev->dev);
	kfree(ch);
}

void lanecall_channel_put(struct lanecall_channel *ch)
{
	kref_put(&ch->ref, channel_free);
}

/**
 * lanecall_channel_detach() - take the channel's memory away
 * @ch: out of the device's reach; the device's lock is held
 *
 * From a restless device none is taken away, but it is as gone for everyone else.
 * Sleepers wake with an error; calls in the middle of a copy finish it first. A
 * program that has mapped keeps its pages of host memory, without the device.
 */
void lanecall_channel_detach(struct lanecall_channel *ch)
{
	struct lanecall_index_page *index = ch->index;

	spin_lock(&ch->look);
	lanecall_counters_ask(ch);
	lanecall_put32(&index->gone, 1);
	WRITE_ONCE(ch->detached, true);
	spin_unlock(&ch->look);
	wake_up_all(&ch->slot->wait);
	lanecall_regions_detach(ch);

	mutex_lock(&ch->setup);
	mutex_lock(&ch->reader);
	mutex_lock(&ch->writer);
	spin_lock(&ch->look);
	ch->index = NULL;
	spin_unlock(&ch->look);
	lanecall_mapping_revoke(ch);
	if (!ch->ldev->restless) {
		lanecall_rings_free(ch);
		free_index(ch, index);
	}
	mutex_unlock(&ch->writer);
	mutex_unlock(&ch->reader);
	mutex_unlock(&ch->setup);
}

/* Has OPEN an outcome? The word is then READY's, or ENDED's with its error. */
static bool is_open_decided(struct lanecall_channel *ch, u32 *word)
{
	lanecall_channel_status(ch, word);
	return LANECALL_STATE(*word) != LANECALL_CONNECTING;
}

/*
 * Did the device end the channel without a word, because the index page's
 * address was no good? Then only the register knows.
 */
static bool is_stillborn(struct lanecall_channel *ch)
{
	struct lanecall_device *ldev = ch->ldev;
	bool dead = false;

	if (READ_ONCE(ch->started))
		return false;
	mutex_lock(&ldev->lock);
	if (ch->slot->channel == ch)
		dead = LANECALL_STATE(lanecall_slot_status(ch->slot)) ==
		       LANECALL_ENDED;
	mutex_unlock(&ldev->lock);
	return dead;
}

static s64 interrupts(const struct lanecall_slot *slot)
{
	return atomic64_read(&slot->counters[LANECALL_INTERRUPTS]);
}

/**
 * lanecall_channel_wait_open() - sleep until the server has answered
 * @ch: just taken
 *
 * Return: 0, -ERESTARTSYS after a signal, or why there is no connection.
 */
int lanecall_channel_wait_open(struct lanecall_channel *ch)
{
	struct lanecall_slot *slot = ch->slot;
	u32 word = 0;
	s64 seen;
	int err;

	for (;;) {
		seen = interrupts(slot);
		if (is_open_decided(ch, &word))
			break;
		if (is_stillborn(ch))
			return is_open_decided(ch, &word) ?
				       lanecall_status_errno(word) : -EIO;
		err = wait_event_interruptible(slot->wait,
					       is_open_decided(ch, &word) ||
					       interrupts(slot) != seen);
		if (err)
			return err;
		/* Interrupts without end must not keep signals out. */
		if (signal_pending(current))
			return -ERESTARTSYS;
	}
	return lanecall_status_errno(word);
}

/* In this state, is the device to speak next: the outcome of OPEN, of ATTACH? */
static bool is_devices_turn(const struct lanecall_channel *ch, u32 state)
{
	return state == LANECALL_CONNECTING ||
	       (state == LANECALL_READY && READ_ONCE(ch->attach_sent));
}

/*
 * Attach if READY and nobody has: 0 once rings are there, and at the end; -EAGAIN
 * while the device has to speak first. One look decides each step: what comes
 * between two looks may be READY.
 */
static int attach_if_ready(struct lanecall_channel *ch)
{
	int err = 0;
	u32 word;

	mutex_lock(&ch->setup);
	ch->used = true;
	lanecall_channel_status(ch, &word);
	if (!ch->attach_sent && LANECALL_STATE(word) == LANECALL_READY) {
		err = lanecall_rings_attach(ch, word & LANECALL_IN_CARD);
		lanecall_channel_status(ch, &word);
	}
	if (!err && is_devices_turn(ch, LANECALL_STATE(word)))
		err = -EAGAIN;
	mutex_unlock(&ch->setup);
	return err;
}

static bool can_go_on(struct lanecall_channel *ch)
{
	return !is_devices_turn(ch, lanecall_channel_state(ch));
}

/* Memory will never say how a stillborn channel's open came out. */
static void break_if_stillborn(struct lanecall_channel *ch)
{
	u32 word;

	if (!is_stillborn(ch))
		return;
	spin_lock(&ch->look);
	if (!lanecall_channel_look(ch, &word) && !ch->started)
		lanecall_channel_break_locked(ch, "index page refused");
	spin_unlock(&ch->look);
}

/**
 * lanecall_channel_use() - make sure that bytes can move, or never will
 * @ch: the channel
 * @nonblock: do not wait for the device
 *
 * Return: 0 with rings attached or the channel at its end; -EAGAIN while it
 * connects or attaches; -ERESTARTSYS; -ENOMEM.
 */
int lanecall_channel_use(struct lanecall_channel *ch, bool nonblock)
{
	int err;

	if (smp_load_acquire(&ch->attached)) /* pairs with init_rings() */
		return 0;
	while ((err = attach_if_ready(ch)) == -EAGAIN) {
		break_if_stillborn(ch);
		if (nonblock)
			break;
		err = wait_event_interruptible(ch->slot->wait,
					       can_go_on(ch));
		if (err)
			break;
	}
	return err;
}

/* Is it early enough to choose? 0, -EBUSY, -EIO. Holds setup. */
static int may_choose(const struct lanecall_channel *ch)
{
	if (READ_ONCE(ch->detached))
		return -EIO;
	return ch->used ? -EBUSY : 0;
}

/* LANECALL_IOC_SET_RINGS: 0, -EINVAL, -EBUSY after first use, -EIO. */
int lanecall_channel_set_sizes(struct lanecall_channel *ch, u32 tx, u32 rx)
{
	const struct lanecall_geometry *geo = &ch->ldev->geo;
	int err;

	if (!is_valid_ring_size(geo, tx) || !is_valid_ring_size(geo, rx))
		return -EINVAL;
	mutex_lock(&ch->setup);
	err = may_choose(ch);
	if (!err) {
		ch->tx_bytes = tx;
		ch->rx_bytes = rx;
	}
	mutex_unlock(&ch->setup);
	return err;
}

/* LANECALL_IOC_SET_MODERATION: as above; -EOPNOTSUPP if the device cannot. */
int lanecall_channel_set_moderation(struct lanecall_channel *ch,
				    const struct lanecall_moderation *wanted)
{
	int err;

	if (!(ch->features & LANECALL_FEATURE_MODERATION))
		return -EOPNOTSUPP;
	if (wanted->microseconds > LANECALL_MODERATE_US_MAX)
		return -EINVAL;
	mutex_lock(&ch->setup);
	err = may_choose(ch);
	if (!err)
		ch->moderation = *wanted;
	mutex_unlock(&ch->setup);
	return err;
}
