// SPDX-License-Identifier: GPL-2.0
/*
 * Slots: which open file has which hardware channel, and getting it back.
 *
 * Closing a file sends DRAIN and returns; the slot stays taken until the device
 * says CLOSED, because until then it may touch the channel's memory. Usually it
 * has said so before DRAIN's register write returns. Otherwise the interrupt
 * that announces it, or the phase's deadline, runs lanecall_slot_reap().
 */
#include <linux/cred.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "lanecall.h"
#include "trace.h"

#define LANECALL_CLOSE_MS 1000 /* CLOSE has nothing to wait for */

static unsigned int drain_ms = 5000;
module_param(drain_ms, uint, 0644);
MODULE_PARM_DESC(drain_ms,
		 "How long a closed file's last bytes may take to be sent (ms)");

static void slot_enter(struct lanecall_slot *slot,
		       enum lanecall_closing closing, unsigned int ms)
{
	slot->deadline = jiffies + msecs_to_jiffies(ms);
	WRITE_ONCE(slot->closing, closing);
	/* A handler may have queued it for now: then that run sees to the rest. */
	queue_delayed_work(system_wq, &slot->reap, msecs_to_jiffies(ms));
}

/* Run the reaper now; any context. */
void lanecall_slot_kick(struct lanecall_slot *slot)
{
	mod_delayed_work(system_wq, &slot->reap, 0);
}

/* Detach the channel and free the slot. Holds the device's lock. */
void lanecall_slot_vacate(struct lanecall_slot *slot)
{
	struct lanecall_channel *ch = slot->channel;

	lockdep_assert_held(&slot->ldev->lock);
	if (!ch)
		return;
	if (slot->ldev->online)
		trace_lanecall_closed(slot);
	else
		trace_lanecall_gone(slot);
	lanecall_channel_detach(ch);
	lanecall_share_give_back(slot->ldev, ch->share,
				 LANECALL_SHARED_CHANNELS);
	WRITE_ONCE(slot->channel, NULL);
	WRITE_ONCE(slot->closing, LANECALL_IN_USE);
	lanecall_channel_put(ch);
}

/*
 * Has the device let go of the channel's memory? A status word of CLOSED says
 * so, unless the device has not written the word at all yet; then, and when it
 * never could (the index page's address was no good), the register knows. It
 * alone is asked where a program can write to the page. (What the device wrote
 * to memory before it answers a read arrives before the answer.)
 */
static bool slot_is_closed(struct lanecall_slot *slot)
{
	struct lanecall_channel *ch = slot->channel;
	bool closed, believed;

	spin_lock(&ch->look);
	closed = ch->mapped ||
		 lanecall_get32(&ch->index->status) == LANECALL_CLOSED;
	believed = ch->started && !ch->mapped;
	spin_unlock(&ch->look);
	lanecall_rmb(); /* nothing of the channel is touched before this look */
	return closed &&
	       (believed || lanecall_slot_status(slot) == LANECALL_CLOSED);
}

static void slot_send_close(struct lanecall_slot *slot)
{
	trace_lanecall_close(slot);
	lanecall_slot_write(slot, LANECALL_CH_COMMAND, LANECALL_CMD_CLOSE);
}

/* Go on closing as far as the device and the clock allow. */
static void slot_advance(struct lanecall_slot *slot)
{
	bool late = time_after_eq(jiffies, slot->deadline);

	if (slot_is_closed(slot)) {
		lanecall_slot_vacate(slot);
		return;
	}
	switch (slot->closing) {
	case LANECALL_DRAIN_SENT:
		if (!late)
			break;
		slot_send_close(slot);
		slot_enter(slot, LANECALL_CLOSE_SENT, LANECALL_CLOSE_MS);
		if (slot_is_closed(slot))
			lanecall_slot_vacate(slot);
		return;
	case LANECALL_CLOSE_SENT:
		if (!late)
			break;
		dev_warn(&slot->ldev->dev,
			 "channel %u does not close: out of use until the device is reset\n",
			 slot->number);
		WRITE_ONCE(slot->closing, LANECALL_RETIRED);
		return;
	case LANECALL_RETIRED:
	case LANECALL_IN_USE:
		return;
	}
	queue_delayed_work(system_wq, &slot->reap, slot->deadline - jiffies);
}

/*
 * A channel whose device lied is closed at once, though its file is open. After
 * that its card memory may be another channel's: nobody is left in the middle of
 * a copy, or with pages of it.
 */
static void slot_close_broken(struct lanecall_slot *slot)
{
	struct lanecall_channel *ch = slot->channel;

	if (!READ_ONCE(ch->broken) || ch->close_sent)
		return;
	mutex_lock(&ch->setup); /* not between ATTACH's registers */
	mutex_lock(&ch->reader);
	mutex_lock(&ch->writer);
	lanecall_mapping_revoke(ch);
	ch->close_sent = true;
	slot_send_close(slot);
	mutex_unlock(&ch->writer);
	mutex_unlock(&ch->reader);
	mutex_unlock(&ch->setup);
}

void lanecall_slot_reap(struct work_struct *work)
{
	struct lanecall_slot *slot =
		container_of(to_delayed_work(work), struct lanecall_slot, reap);

	mutex_lock(&slot->ldev->lock);
	if (slot->channel) {
		if (slot->closing == LANECALL_IN_USE)
			slot_close_broken(slot);
		else
			slot_advance(slot);
	}
	mutex_unlock(&slot->ldev->lock);
}

static struct lanecall_slot *find_free(struct lanecall_device *ldev)
{
	unsigned int i;

	for (i = 0; i < ldev->slot_count; i++)
		if (!ldev->slots[i].channel)
			return &ldev->slots[i];
	return NULL;
}

/* A channel, counted as one of the caller's. */
static struct lanecall_channel *channel_of_share(struct lanecall_slot *slot)
{
	struct lanecall_device *ldev = slot->ldev;
	struct lanecall_share *share;
	struct lanecall_channel *ch;

	share = lanecall_share_take(ldev, LANECALL_SHARED_CHANNELS);
	if (IS_ERR(share))
		return ERR_CAST(share);
	ch = lanecall_channel_create(slot);
	if (IS_ERR(ch))
		lanecall_share_give_back(ldev, share, LANECALL_SHARED_CHANNELS);
	else
		ch->share = share;
	return ch;
}

static struct lanecall_channel *slot_open(struct lanecall_device *ldev)
{
	struct lanecall_channel *ch;
	struct lanecall_slot *slot;

	if (!ldev->online)
		return ERR_PTR(-ENODEV);
	slot = find_free(ldev);
	if (!slot)
		return ERR_PTR(-EBUSY);
	ch = channel_of_share(slot);
	if (IS_ERR(ch))
		return ch;
	kref_get(&ch->ref);
	lanecall_counters_restart(slot);
	WRITE_ONCE(slot->channel, ch);
	trace_lanecall_open(slot);
	lanecall_slot_write64(slot, LANECALL_CH_INDEX_LO, ch->index_address);
	lanecall_slot_write(slot, LANECALL_CH_VECTOR, slot->vector);
	lanecall_slot_write(slot, LANECALL_CH_FLAGS,
			    ch->features & LANECALL_FEATURE_CARD_RINGS ?
				    LANECALL_CHF_IN_CARD : 0);
	if (ch->features & LANECALL_FEATURE_USERS)
		lanecall_slot_write(slot, LANECALL_CH_USER,
				    from_kuid(&init_user_ns, current_euid()));
	lanecall_slot_write(slot, LANECALL_CH_COMMAND, LANECALL_CMD_OPEN);
	return ch;
}

/**
 * lanecall_slot_take() - find a free channel and have it connect
 * @ldev: the device
 *
 * Return: a channel that is CONNECTING, its reference the caller's;
 * lanecall_slot_release() gives both back. Or -ENODEV, -EBUSY, -EDQUOT, -ENOMEM,
 * -ERESTARTSYS.
 */
struct lanecall_channel *lanecall_slot_take(struct lanecall_device *ldev)
{
	struct lanecall_channel *ch;

	if (mutex_lock_interruptible(&ldev->lock))
		return ERR_PTR(-ERESTARTSYS);
	ch = slot_open(ldev);
	mutex_unlock(&ldev->lock);
	return ch;
}

static void slot_start_closing(struct lanecall_slot *slot)
{
	struct lanecall_channel *ch = slot->channel;

	lanecall_channel_state(ch); /* notes whether the device has started */
	if (!READ_ONCE(ch->broken)) {
		trace_lanecall_drain(slot);
		lanecall_slot_write(slot, LANECALL_CH_COMMAND,
				    LANECALL_CMD_DRAIN);
		slot_enter(slot, LANECALL_DRAIN_SENT, READ_ONCE(drain_ms));
	} else {
		slot_close_broken(slot);
		slot_enter(slot, LANECALL_CLOSE_SENT, LANECALL_CLOSE_MS);
	}
	if (slot_is_closed(slot))
		lanecall_slot_vacate(slot);
}

/* The file is closed: let the rest be sent, then free the slot. */
void lanecall_slot_release(struct lanecall_channel *ch)
{
	struct lanecall_slot *slot = ch->slot;

	mutex_lock(&slot->ldev->lock);
	if (slot->channel == ch)
		slot_start_closing(slot);
	mutex_unlock(&slot->ldev->lock);
	lanecall_channel_put(ch);
}
