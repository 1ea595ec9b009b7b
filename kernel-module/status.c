// SPDX-License-Identifier: GPL-2.0
/*
 * What the device says about a channel: the status word, checked, as a state
 * and as an error number.
 */
#include <linux/errno.h>

#include "lanecall.h"

/* A word that the device could mean: a known state, any error, no other bit. */
static bool is_valid_status(u32 word)
{
	return LANECALL_STATE(word) <= LANECALL_ENDED && !(word & 0xff00ff00);
}

/* States that only a driver's command leads to. */
static bool is_unasked(u32 state)
{
	return state == LANECALL_CLOSED || state == LANECALL_DRAINING;
}

/**
 * lanecall_channel_break_locked() - give up on a channel whose device lied
 * @ch: its look lock is held
 * @why: for the log
 *
 * From here on every operation says EIO, and the reaper closes the slot.
 */
void lanecall_channel_break_locked(struct lanecall_channel *ch,
				   const char *why)
{
	lockdep_assert_held(&ch->look);
	if (ch->broken || ch->detached)
		return;
	WRITE_ONCE(ch->broken, true);
	dev_err_ratelimited(&ch->ldev->dev, "channel %u: %s: closing it\n",
			    ch->slot->number, why);
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
	if (!is_valid_status(*word)) {
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
