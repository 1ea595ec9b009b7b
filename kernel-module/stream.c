// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes between callers and rings, and the sleeps in between.
 *
 * A look says what can be done now; a look that finds nothing has also asked
 * the device to tell of the next change (so that a caller who gets EAGAIN may
 * wait in poll or epoll, edge-triggered too). All waiters ask for any progress
 * at all: then it does not matter whose wish the shared word holds.
 */
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "lanecall.h"

#define LANECALL_AT_END (-ESHUTDOWN) /* of a look: in order, nothing comes */

static struct device *dma_device(struct lanecall_channel *ch)
{
	return &ch->ldev->pdev->dev;
}

/* The right to read or write; held over sleeps, so a nonblocking caller tries. */
static int take_turn(struct mutex *turn, bool nonblock)
{
	if (nonblock)
		return mutex_trylock(turn) ? 0 : -EAGAIN;
	return mutex_lock_interruptible(turn) ? -ERESTARTSYS : 0;
}

/* ---- Looks, under the look lock ------------------------------------------ */

/* Bytes in RX; asks to be told of more if there are none. Or -EIO. */
static s64 rx_bytes(struct lanecall_channel *ch)
{
	s64 bytes;

	if (!ch->attached)
		return 0;
	bytes = lanecall_ring_look(&ch->rx_ring);
	if (!bytes)
		bytes = lanecall_ring_arm(&ch->rx_ring);
	if (bytes < 0) {
		lanecall_channel_break_locked(ch, "impossible RX head");
		return -EIO;
	}
	return bytes;
}

/*
 * Room in TX; unless it is empty, asks to be told when the device takes
 * anything beyond what it has taken by now. Or -EIO.
 */
static s64 tx_room(struct lanecall_channel *ch, bool arm)
{
	struct lanecall_ring *ring = &ch->tx_ring;
	s64 room = lanecall_ring_space(ring);

	if (arm && room >= 0 && room < ring->size)
		room = lanecall_ring_arm_space(ring, room + 1);
	if (room < 0) {
		lanecall_channel_break_locked(ch, "impossible TX tail");
		return -EIO;
	}
	return room;
}

/* Bytes to read; 0: none yet; LANECALL_AT_END; or why the channel ended. */
static s64 look_rx(struct lanecall_channel *ch)
{
	u32 word;
	s64 bytes = lanecall_channel_look(ch, &word);

	if (bytes)
		return bytes;
	bytes = rx_bytes(ch); /* after the status: ENDED has the last head */
	if (bytes || LANECALL_STATE(word) != LANECALL_ENDED)
		return bytes;
	return lanecall_status_errno(word) ?: LANECALL_AT_END;
}

/* Bytes that can be written; 0: none yet; or why none ever will. */
static s64 look_tx(struct lanecall_channel *ch)
{
	u32 word;
	s64 room = lanecall_channel_look(ch, &word);

	if (room)
		return room;
	if (LANECALL_STATE(word) == LANECALL_ENDED)
		return lanecall_status_write_errno(ch, word);
	if (!ch->attached || LANECALL_STATE(word) != LANECALL_RUNNING)
		return 0;
	room = tx_room(ch, false);
	return room ?: tx_room(ch, true);
}

/* 1: the device has taken everything before target; 0: not yet; or an error. */
static int look_taken(struct lanecall_channel *ch, u32 target)
{
	u32 word;
	s64 room = lanecall_channel_look(ch, &word);

	if (room)
		return room;
	room = tx_room(ch, true);
	if (room < 0)
		return room;
	if ((s32)(ch->tx_ring.other - target) >= 0)
		return 1;
	if (LANECALL_STATE(word) == LANECALL_ENDED)
		return lanecall_status_write_errno(ch, word);
	return 0;
}

static s64 rx_now(struct lanecall_channel *ch)
{
	s64 result;

	spin_lock(&ch->look);
	result = look_rx(ch);
	spin_unlock(&ch->look);
	return result;
}

static s64 tx_now(struct lanecall_channel *ch)
{
	s64 result;

	spin_lock(&ch->look);
	result = look_tx(ch);
	spin_unlock(&ch->look);
	return result;
}

static int taken_now(struct lanecall_channel *ch, u32 target)
{
	int result;

	spin_lock(&ch->look);
	result = look_taken(ch, target);
	spin_unlock(&ch->look);
	return result;
}

/* ---- Reading --------------------------------------------------------------- */

/* Give bytes back to the device, and ask for news if that was all. */
static void rx_release(struct lanecall_channel *ch, u32 bytes)
{
	bool bell = false;

	spin_lock(&ch->look);
	if (!ch->detached && !ch->broken) {
		bell = lanecall_ring_release(&ch->rx_ring, bytes);
		/* A short read tells edge-triggered readers to wait now. */
		rx_bytes(ch);
	}
	spin_unlock(&ch->look);
	atomic64_add(bytes, &ch->slot->rx_bytes);
	if (bell)
		lanecall_slot_doorbell(ch->slot);
}

static ssize_t read_some(struct lanecall_channel *ch, struct iov_iter *to,
			 u32 bytes)
{
	u32 wanted = min_t(u64, bytes, iov_iter_count(to));
	u32 copied = lanecall_buffer_copy_out(dma_device(ch), &ch->rx,
					      ch->rx_ring.own, wanted, to);

	if (!copied)
		return -EFAULT;
	rx_release(ch, copied);
	return copied;
}

static ssize_t read_in_turn(struct lanecall_channel *ch, struct iov_iter *to,
			    bool nonblock)
{
	s64 bytes = rx_now(ch);
	int err;

	if (!bytes && nonblock)
		return -EAGAIN;
	if (!bytes) {
		err = wait_event_interruptible(ch->slot->wait,
					       (bytes = rx_now(ch)) != 0);
		if (err)
			return err;
	}
	if (bytes == LANECALL_AT_END)
		return 0;
	return bytes < 0 ? bytes : read_some(ch, to, bytes);
}

/* At least one byte, 0 at the end, or an error; see abi/lanecall/driver.h. */
ssize_t lanecall_stream_read(struct lanecall_channel *ch, struct iov_iter *to,
			     bool nonblock)
{
	ssize_t result = lanecall_channel_use(ch, nonblock);

	if (result || !iov_iter_count(to))
		return result;
	result = take_turn(&ch->reader, nonblock);
	if (result)
		return result;
	result = read_in_turn(ch, to, nonblock);
	mutex_unlock(&ch->reader);
	return result;
}

/* ---- Writing --------------------------------------------------------------- */

static int tx_publish(struct lanecall_channel *ch, u32 bytes)
{
	bool bell = false;
	int err = 0;

	spin_lock(&ch->look);
	if (ch->detached || ch->broken)
		err = -EIO;
	else
		bell = lanecall_ring_publish(&ch->tx_ring, bytes);
	spin_unlock(&ch->look);
	if (err)
		return err;
	atomic64_add(bytes, &ch->slot->tx_bytes);
	if (bell)
		lanecall_slot_doorbell(ch->slot);
	return 0;
}

static ssize_t write_some(struct lanecall_channel *ch, struct iov_iter *from,
			  u32 room)
{
	u32 wanted = min_t(u64, room, iov_iter_count(from));
	u32 copied = lanecall_buffer_copy_in(dma_device(ch), &ch->tx,
					     ch->tx_ring.own, wanted, from);
	int err = copied ? tx_publish(ch, copied) : -EFAULT;

	if (err)
		return err;
	return copied;
}

static ssize_t write_in_turn(struct lanecall_channel *ch,
			     struct iov_iter *from, bool nonblock)
{
	ssize_t done = 0, result = 0;

	while (iov_iter_count(from)) {
		s64 room = tx_now(ch);

		if (!room && nonblock) {
			result = -EAGAIN;
			break;
		}
		if (!room) {
			result = wait_event_interruptible(ch->slot->wait,
							  (room = tx_now(ch)) != 0);
			if (result)
				break;
		}
		result = room < 0 ? room : write_some(ch, from, room);
		if (result < 0)
			break;
		done += result;
	}
	return done ?: result;
}

/* All of it, what fits (nonblock), what went before a signal, or an error. */
ssize_t lanecall_stream_write(struct lanecall_channel *ch,
			      struct iov_iter *from, bool nonblock)
{
	ssize_t result = lanecall_channel_use(ch, nonblock);

	if (result || !iov_iter_count(from))
		return result;
	result = take_turn(&ch->writer, nonblock);
	if (result)
		return result;
	result = write_in_turn(ch, from, nonblock);
	mutex_unlock(&ch->writer);
	return result;
}

/* ---- Waiting ----------------------------------------------------------------- */

/* What poll() says now; the caller is already in the slot's wait queue. */
__poll_t lanecall_stream_poll(struct lanecall_channel *ch)
{
	__poll_t mask = 0;
	s64 rx, tx;
	int err;

	err = lanecall_channel_use(ch, true);
	if (err && err != -EAGAIN)
		return EPOLLERR | EPOLLIN | EPOLLOUT;
	spin_lock(&ch->look);
	rx = look_rx(ch);
	tx = look_tx(ch);
	spin_unlock(&ch->look);
	if (rx)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (tx > 0)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (rx < 0 && rx != LANECALL_AT_END)
		mask |= EPOLLERR;
	if (rx < 0 || tx < 0)
		mask |= EPOLLHUP | EPOLLRDHUP;
	return mask;
}

/* fsync: 0 once the device has taken what is written by now, or an error. */
int lanecall_stream_flush(struct lanecall_channel *ch)
{
	int taken = 0, err;
	u32 target;

	if (READ_ONCE(ch->detached) || READ_ONCE(ch->broken))
		return -EIO;
	if (!smp_load_acquire(&ch->attached)) /* pairs with attach() */
		return 0;
	spin_lock(&ch->look);
	target = ch->tx_ring.own;
	spin_unlock(&ch->look);
	err = wait_event_interruptible(ch->slot->wait,
				       (taken = taken_now(ch, target)) != 0);
	if (err)
		return err;
	return taken < 0 ? taken : 0;
}
