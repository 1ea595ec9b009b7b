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
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "lanecall.h"
#include "trace.h"

#define LANECALL_AT_END (-ESHUTDOWN) /* of a look: in order, nothing comes */

static struct device *dma_device(struct lanecall_channel *ch)
{
	return &ch->ldev->pdev->dev;
}

/* ---- Looks, under the look lock ------------------------------------------ */

/*
 * The same question for a channel whose bytes a program moves: both indices are
 * in the page. No verdict is passed on them: between the two fetches the program
 * may have moved its own. Whatever does not look empty (full) is worth its look.
 */
static s64 mapped_rx_bytes(const struct lanecall_ring *ring)
{
	u32 tail = lanecall_get32(&ring->consumer->tail);
	u32 head = lanecall_get32(&ring->producer->head);

	if (head == tail) {
		lanecall_put32(&ring->consumer->want_head, head);
		lanecall_mb(); /* pairs with the mb of publish */
		head = lanecall_get32(&ring->producer->head);
	}
	return head != tail;
}

static s64 mapped_tx_room(const struct lanecall_ring *ring)
{
	u32 head = lanecall_get32(&ring->producer->head);
	u32 tail = lanecall_get32(&ring->consumer->tail);

	if (head - tail == ring->size) {
		lanecall_put32(&ring->producer->want_tail, tail);
		lanecall_mb(); /* pairs with the mb of release */
		tail = lanecall_get32(&ring->consumer->tail);
	}
	return head - tail != ring->size;
}

/* Bytes in RX; asks to be told of more if there are none. Or -EIO. */
static s64 rx_bytes(struct lanecall_channel *ch)
{
	s64 bytes;

	if (!ch->attached)
		return 0;
	if (ch->mapped)
		return mapped_rx_bytes(&ch->rx_ring);
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
	if (ch->mapped)
		return mapped_tx_room(&ch->tx_ring);
	room = tx_room(ch, false);
	return room ?: tx_room(ch, true);
}

/* Up to where the device has taken TX; asks to be told of more. Or -EIO. */
static int taken_by_now(struct lanecall_channel *ch, u32 *tail)
{
	struct lanecall_ring *ring = &ch->tx_ring;

	if (!ch->mapped) {
		s64 room = tx_room(ch, true);

		*tail = ring->other;
		return min_t(s64, room, 0);
	}
	lanecall_put32(&ring->producer->want_tail,
		       lanecall_get32(&ring->consumer->tail));
	lanecall_mb(); /* pairs with the mb of release */
	*tail = lanecall_get32(&ring->consumer->tail);
	return 0;
}

/* 1: the device has taken everything before target; 0: not yet; or an error. */
static int look_taken(struct lanecall_channel *ch, u32 target)
{
	u32 word, tail;
	int err = lanecall_channel_look(ch, &word);

	if (!err)
		err = taken_by_now(ch, &tail);
	if (err)
		return err;
	if ((s32)(tail - target) >= 0)
		return 1;
	if (LANECALL_STATE(word) == LANECALL_ENDED)
		return lanecall_status_write_errno(ch, word);
	return 0;
}

/* Why read and write may not touch the rings, or 0. */
static int not_ours(const struct lanecall_channel *ch)
{
	if (ch->detached || ch->broken)
		return -EIO;
	return ch->mapped ? -EBUSY : 0;
}

static s64 rx_now(struct lanecall_channel *ch)
{
	s64 result;

	spin_lock(&ch->look);
	result = not_ours(ch) ?: look_rx(ch);
	spin_unlock(&ch->look);
	return result;
}

static s64 tx_now(struct lanecall_channel *ch)
{
	s64 result;

	spin_lock(&ch->look);
	result = not_ours(ch) ?: look_tx(ch);
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

/* ---- Sleeping --------------------------------------------------------------- */

static bool is_readable(struct lanecall_channel *ch)
{
	return rx_now(ch) != 0;
}

static bool is_writable(struct lanecall_channel *ch)
{
	return tx_now(ch) != 0;
}

/* 0, or -ERESTARTSYS. The caller has looked in vain. */
static int sleep_for(struct lanecall_channel *ch,
		     bool (*is_ready)(struct lanecall_channel *ch), bool room)
{
	int err;

	trace_lanecall_sleep(ch->slot, room);
	lanecall_count(ch->slot, LANECALL_SLEEPS, 1);
	err = wait_event_interruptible(ch->slot->wait, is_ready(ch));
	trace_lanecall_wake(ch->slot, err);
	return err;
}

/* ---- The caller's memory --------------------------------------------------- */

/* So many faults in a row without a byte: fault_in did not see what copy saw. */
#define LANECALL_FAULTS_MAX 16

/*
 * Copies happen with page faults disabled, under reader or writer; a page that
 * is not there is brought in here, with neither held. A fault may take as long
 * as the owner of the memory likes (userfaultfd, FUSE), and must not keep the
 * device from being stopped.
 */
struct lanecall_faults {
	unsigned int in_a_row;
	ssize_t done; /* bytes copied before the last fault */
};

static bool is_worth_a_retry(struct lanecall_faults *faults, ssize_t done)
{
	faults->in_a_row = done > faults->done ? 0 : faults->in_a_row + 1;
	faults->done = done;
	return faults->in_a_row <= LANECALL_FAULTS_MAX;
}

/* Up to a page; true if any of it is there now. */
static bool fault_in_to(const struct iov_iter *to)
{
	size_t bytes = min_t(size_t, iov_iter_count(to), PAGE_SIZE);

	return fault_in_iov_iter_writeable(to, bytes) < bytes;
}

static bool fault_in_from(const struct iov_iter *from)
{
	size_t bytes = min_t(size_t, iov_iter_count(from), PAGE_SIZE);

	return fault_in_iov_iter_readable(from, bytes) < bytes;
}

/* ---- Reading --------------------------------------------------------------- */

/* Give bytes back to the device: 0; -EIO if they were not the ring's. */
static int rx_release(struct lanecall_channel *ch, u32 bytes)
{
	bool bell = false;
	int err;

	spin_lock(&ch->look);
	err = not_ours(ch);
	if (!err && !lanecall_ring_is_there(&ch->rx_ring)) {
		lanecall_channel_break_locked(ch, "impossible RX index after reading");
		err = -EIO;
	}
	if (!err)
		bell = lanecall_ring_release(&ch->rx_ring, bytes);
	spin_unlock(&ch->look);
	if (err)
		return err;
	lanecall_count(ch->slot, LANECALL_RX_BYTES, bytes);
	if (bell)
		lanecall_slot_doorbell(ch->slot);
	return 0;
}

/*
 * Copy until the caller has all it wants or RX is empty and the device asked to
 * tell: then a short read means that there is an edge to wait for. 0 for either,
 * -EFAULT for a page that is not there, LANECALL_AT_END, or an error. Holds
 * reader; does not sleep.
 */
static s64 read_now(struct lanecall_channel *ch, struct iov_iter *to,
		    ssize_t *done)
{
	while (iov_iter_count(to)) {
		s64 bytes = rx_now(ch);
		u32 wanted, copied;
		int err;

		if (bytes <= 0)
			return bytes;
		wanted = min_t(u64, bytes, iov_iter_count(to));
		pagefault_disable();
		copied = lanecall_buffer_copy_out(dma_device(ch), &ch->rx,
						  ch->rx_ring.own, wanted, to);
		pagefault_enable();
		err = copied ? rx_release(ch, copied) : 0;
		if (err)
			return err;
		*done += copied;
		if (copied < wanted)
			return -EFAULT;
	}
	return 0;
}

/* At least one byte, 0 at the end, or an error; see abi/lanecall/driver.h. */
ssize_t lanecall_stream_read(struct lanecall_channel *ch, struct iov_iter *to,
			     bool nonblock)
{
	struct lanecall_faults faults = {};
	ssize_t done = 0;
	s64 err = lanecall_channel_use(ch, nonblock);

	if (err || !iov_iter_count(to))
		return err;
	do {
		mutex_lock(&ch->reader);
		err = read_now(ch, to, &done);
		mutex_unlock(&ch->reader);
		if (err == -EFAULT && is_worth_a_retry(&faults, done) &&
		    fault_in_to(to)) {
			err = 0;
			continue;
		}
		if (done || err)
			break;
		if (nonblock)
			return -EAGAIN;
		lanecall_interrupt_here(ch);
		err = sleep_for(ch, is_readable, false);
	} while (!err);
	if (done)
		return done;
	return err == LANECALL_AT_END ? 0 : err;
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
	lanecall_count(ch->slot, LANECALL_TX_BYTES, bytes);
	if (bell)
		lanecall_slot_doorbell(ch->slot);
	return 0;
}

/* The mirror image of read_now(). Holds writer; does not sleep. */
static s64 write_now(struct lanecall_channel *ch, struct iov_iter *from,
		     ssize_t *done)
{
	while (iov_iter_count(from)) {
		s64 room = tx_now(ch);
		u32 wanted, copied;
		int err;

		if (room <= 0)
			return room;
		wanted = min_t(u64, room, iov_iter_count(from));
		pagefault_disable();
		copied = lanecall_buffer_copy_in(dma_device(ch), &ch->tx,
						 ch->tx_ring.own, wanted, from);
		pagefault_enable();
		err = copied ? tx_publish(ch, copied) : 0;
		if (err)
			return err;
		*done += copied;
		if (copied < wanted)
			return -EFAULT;
	}
	return 0;
}

/*
 * All of it, what fits (nonblock), what went before a signal, or an error. Two
 * writers at once take turns as there is room, as on a TCP socket.
 */
ssize_t lanecall_stream_write(struct lanecall_channel *ch,
			      struct iov_iter *from, bool nonblock)
{
	struct lanecall_faults faults = {};
	ssize_t done = 0;
	s64 err = lanecall_channel_use(ch, nonblock);

	if (err || !iov_iter_count(from))
		return err;
	do {
		mutex_lock(&ch->writer);
		err = write_now(ch, from, &done);
		mutex_unlock(&ch->writer);
		if (err == -EFAULT && is_worth_a_retry(&faults, done) &&
		    fault_in_from(from)) {
			err = 0;
			continue;
		}
		if (err || !iov_iter_count(from))
			break;
		lanecall_count(ch->slot, LANECALL_FULL_WAITS, 1);
		err = nonblock ? -EAGAIN : sleep_for(ch, is_writable, true);
	} while (!err);
	if (done)
		lanecall_count(ch->slot, LANECALL_FLUSHES, 1);
	return done ?: err;
}

/* ---- Waiting ----------------------------------------------------------------- */

/* What poll() says now; the caller is already in the slot's wait queue. */
static __poll_t poll_now(struct lanecall_channel *ch)
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
	if (tx) /* an error, too, comes without a wait */
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (rx < 0 && rx != LANECALL_AT_END)
		mask |= EPOLLERR;
	if (rx < 0 || tx < 0)
		mask |= EPOLLHUP | EPOLLRDHUP;
	return mask;
}

/* The same; a caller who will sleep for bytes gets the interrupt to itself. */
__poll_t lanecall_stream_poll(struct lanecall_channel *ch, __poll_t wanted)
{
	__poll_t mask = poll_now(ch);

	if (wanted & EPOLLIN && !(mask & (wanted | EPOLLERR | EPOLLHUP)))
		lanecall_interrupt_here(ch);
	return mask;
}

/* Up to where TX is written by now. */
static int written_by_now(struct lanecall_channel *ch, u32 *head)
{
	const struct lanecall_ring *ring = &ch->tx_ring;
	int err = 0;

	spin_lock(&ch->look);
	if (ch->detached || ch->broken)
		err = -EIO;
	else if (ch->mapped)
		*head = lanecall_get32(&ring->producer->head);
	else
		*head = ring->own;
	spin_unlock(&ch->look);
	return err;
}

/* fsync: 0 once the device has taken what is written by now, or an error. */
int lanecall_stream_flush(struct lanecall_channel *ch)
{
	int taken = 0, err;
	u32 target;

	if (READ_ONCE(ch->detached) || READ_ONCE(ch->broken))
		return -EIO;
	if (!smp_load_acquire(&ch->attached)) /* pairs with init_rings() */
		return 0;
	err = written_by_now(ch, &target);
	if (err)
		return err;
	err = wait_event_interruptible(ch->slot->wait,
				       (taken = taken_now(ch, target)) != 0);
	if (err)
		return err;
	return min(taken, 0);
}
