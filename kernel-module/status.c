// SPDX-License-Identifier: GPL-2.0
/*
 * What the device says about a channel: the status word, checked, as a state
 * and as an error number.
 */
#include <linux/errno.h>
#include <linux/sched.h>

#include "lanecall.h"
#include "trace.h"

#define STATUS_BITS 0x00ff00ffU /* state and error */

/* Could the device place this channel's rings in card memory, and say so now? */
static bool may_be_in_card(const struct lanecall_channel *ch, u32 state)
{
	return ch->features & LANECALL_FEATURE_CARD_RINGS &&
	       state >= LANECALL_READY && state <= LANECALL_ENDED;
}

/* A word that the device could mean: a known state, any error, no other bit. */
static bool is_valid_status(const struct lanecall_channel *ch, u32 word)
{
	u32 state = LANECALL_STATE(word);
	u32 bits = STATUS_BITS;

	if (may_be_in_card(ch, state))
		bits |= LANECALL_IN_CARD;
	return state <= LANECALL_ENDED && !(word & ~bits);
}

/* The rings cannot move once they were attached. */
static bool is_elsewhere(const struct lanecall_channel *ch, u32 word)
{
	return ch->attach_sent && LANECALL_STATE(word) == LANECALL_RUNNING &&
	       !(word & LANECALL_IN_CARD) == ch->in_card;
}

/* Does this word say that rings are in use, for the first time? */
static bool brings_rings(const struct lanecall_channel *ch, u32 word)
{
	u32 state = LANECALL_STATE(word);

	return ch->attach_sent && !ch->attached &&
	       (state == LANECALL_RUNNING || state == LANECALL_ENDED);
}

/* States come in the order of their numbers. */
static bool goes_back(const struct lanecall_channel *ch, u32 state)
{
	return state < ch->reached;
}

/* States that only a driver's command leads to. */
static bool is_unasked(u32 state)
{
	return state == LANECALL_CLOSED || state == LANECALL_DRAINING;
}

/*
 * For the log. What is impossible in a page that a program can write to is that
 * program's own affair: it must not accuse the device, nor fill the log.
 */
static void say_why(const struct lanecall_channel *ch, const char *why)
{
	const struct device *dev = &ch->ldev->dev;

	if (ch->mapped)
		dev_dbg(dev, "channel %u: %s, mapped by %s[%d]: closing it\n",
			ch->slot->number, why, current->comm,
			task_pid_nr(current));
	else
		dev_err_ratelimited(dev, "channel %u: %s: closing it\n",
				    ch->slot->number, why);
}

/**
 * lanecall_channel_break_locked() - give up on a channel whose device lied
 * @ch: its look lock is held
 * @why: for the log
 *
 * From here on every operation says EIO, and the reaper closes the slot. A
 * program that has mapped the channel finds it gone before its BAR pages are.
 */
void lanecall_channel_break_locked(struct lanecall_channel *ch,
				   const char *why)
{
	lockdep_assert_held(&ch->look);
	if (ch->broken || ch->detached)
		return;
	lanecall_put32(&ch->index->gone, 1); /* not detached: it is there */
	WRITE_ONCE(ch->broken, true);
	trace_lanecall_gone(ch->slot);
	say_why(ch, why);
	wake_up_all(&ch->slot->wait);
	lanecall_slot_kick(ch->slot);
}

/**
 * lanecall_channel_look() - read the status word once
 * @ch: its look lock is held
 * @word: set to it if the result is 0; CONNECTING before the device's first
 *
 * What the word announces may be read after this. Return: 0, or -EIO.
 */
int lanecall_channel_look(struct lanecall_channel *ch, u32 *word)
{
	lockdep_assert_held(&ch->look);
	if (ch->detached || ch->broken)
		return -EIO;
	*word = lanecall_get32(&ch->index->status);
	lanecall_rmb(); /* pairs with the device's: status last */
	if (!is_valid_status(ch, *word) || is_elsewhere(ch, *word)) {
		lanecall_channel_break_locked(ch, "impossible status");
		return -EIO;
	}
	if (!ch->started && *word == LANECALL_CLOSED) {
		*word = LANECALL_STATUS_WORD(LANECALL_CONNECTING, 0);
		return 0;
	}
	ch->started = true;
	if (is_unasked(LANECALL_STATE(*word))) {
		lanecall_channel_break_locked(ch, "closed without being asked");
		return -EIO;
	}
	if (goes_back(ch, LANECALL_STATE(*word))) {
		lanecall_channel_break_locked(ch, "state goes back");
		return -EIO;
	}
	ch->reached = LANECALL_STATE(*word);
	if (brings_rings(ch, *word) &&
	    lanecall_rings_adopt(ch, LANECALL_STATE(*word) == LANECALL_ENDED)) {
		lanecall_channel_break_locked(ch, "impossible place of rings");
		return -EIO;
	}
	return 0;
}

/* The status word as the driver sees it: a channel beyond use ENDED with IO. */
void lanecall_channel_status(struct lanecall_channel *ch, u32 *word)
{
	spin_lock(&ch->look);
	if (lanecall_channel_look(ch, word))
		*word = LANECALL_STATUS_WORD(LANECALL_ENDED, LANECALL_ERR_IO);
	spin_unlock(&ch->look);
}

u32 lanecall_channel_state(struct lanecall_channel *ch)
{
	u32 word;

	lanecall_channel_status(ch, &word);
	return LANECALL_STATE(word);
}

/* Why a connection ended, as a negative errno; 0: in order. */
int lanecall_status_errno(u32 word)
{
	switch (LANECALL_ERROR(word)) {
	case LANECALL_ERR_NONE:
		return 0;
	case LANECALL_ERR_REFUSED:
		return -ECONNREFUSED;
	case LANECALL_ERR_UNREACHABLE:
		return -EHOSTUNREACH;
	case LANECALL_ERR_TIMED_OUT:
		return -ETIMEDOUT;
	case LANECALL_ERR_RESET:
		return -ECONNRESET;
	case LANECALL_ERR_ACCESS:
		return -EACCES;
	case LANECALL_ERR_RESOURCES:
		return -ENOBUFS;
	default:
		return -EIO;
	}
}

/* Is that an error of a connection that had been there? */
static bool is_broken_connection(int err)
{
	return !err || err == -ECONNRESET || err == -ETIMEDOUT ||
	       err == -EHOSTUNREACH;
}

/* What write() says at that end: EPIPE, or why there never was a connection. */
int lanecall_status_write_errno(const struct lanecall_channel *ch, u32 word)
{
	int err = lanecall_status_errno(word);

	if (!err || (ch->attached && is_broken_connection(err)))
		return -EPIPE;
	return err;
}
