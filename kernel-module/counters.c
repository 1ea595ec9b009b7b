// SPDX-License-Identifier: GPL-2.0
/*
 * What was counted of a channel. Each slot counts for the channel that sits in
 * it, or sat there last; the device keeps the sum of those before.
 *
 * Of a mapped channel the driver sees the interrupts only. The rest is the
 * program's word, in the status page: copied for whoever asks, and a last time
 * when the page is taken away. Nothing depends on it.
 */
#include "lanecall.h"

static const struct lanecall_user_counters *
user_counters(const struct lanecall_channel *ch, unsigned int offset)
{
	return (const void *)ch->index + offset;
}

static void set(struct lanecall_channel *ch, enum lanecall_counter counter,
		u64 value)
{
	atomic64_set(&ch->slot->counters[counter], value);
}

/**
 * lanecall_counters_ask() - note what the program says by now
 * @ch: its look lock is held; not detached
 */
void lanecall_counters_ask(struct lanecall_channel *ch)
{
	const struct lanecall_user_counters *tx, *rx;

	lockdep_assert_held(&ch->look);
	if (!ch->mapped)
		return;
	tx = user_counters(ch, LANECALL_USER_COUNTERS_TX);
	rx = user_counters(ch, LANECALL_USER_COUNTERS_RX);
	set(ch, LANECALL_USER_TX_BYTES, READ_ONCE(tx->bytes));
	set(ch, LANECALL_USER_RX_BYTES, READ_ONCE(rx->bytes));
	set(ch, LANECALL_USER_FLUSHES, READ_ONCE(tx->flushes));
	set(ch, LANECALL_USER_DOORBELLS,
	    READ_ONCE(tx->doorbells) + READ_ONCE(rx->doorbells));
	set(ch, LANECALL_USER_SPINS,
	    READ_ONCE(tx->spins) + READ_ONCE(rx->spins));
	set(ch, LANECALL_USER_SLEEPS,
	    READ_ONCE(tx->sleeps) + READ_ONCE(rx->sleeps));
	set(ch, LANECALL_USER_FULL_WAITS, READ_ONCE(tx->full_waits));
}

static void ask_owner(struct lanecall_channel *ch)
{
	spin_lock(&ch->look);
	if (!ch->detached)
		lanecall_counters_ask(ch);
	spin_unlock(&ch->look);
}

/* A slot is about to get another channel. Holds the device's lock. */
void lanecall_counters_restart(struct lanecall_slot *slot)
{
	unsigned int i;

	lockdep_assert_held(&slot->ldev->lock);
	for (i = 0; i < LANECALL_COUNTERS; i++)
		slot->ldev->counted_before[i] +=
			atomic64_xchg(&slot->counters[i], 0);
}

static u64 read_locked(struct lanecall_slot *slot,
		       enum lanecall_counter counter)
{
	if (slot->channel && counter >= LANECALL_USER_TX_BYTES)
		ask_owner(slot->channel);
	return atomic64_read(&slot->counters[counter]);
}

/* Of the channel that is open, or was last. */
u64 lanecall_counters_read(struct lanecall_slot *slot,
			   enum lanecall_counter counter)
{
	u64 value;

	mutex_lock(&slot->ldev->lock);
	value = read_locked(slot, counter);
	mutex_unlock(&slot->ldev->lock);
	return value;
}

/* Of all channels since the driver was bound. */
u64 lanecall_counters_total(struct lanecall_device *ldev,
			    enum lanecall_counter counter)
{
	unsigned int i;
	u64 sum;

	mutex_lock(&ldev->lock);
	sum = ldev->counted_before[counter];
	for (i = 0; i < ldev->slot_count; i++)
		sum += read_locked(&ldev->slots[i], counter);
	mutex_unlock(&ldev->lock);
	return sum;
}
