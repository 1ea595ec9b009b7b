/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mover: moves bytes between regions and card memory, in slices of a
 * bounded number of pieces. Guest memory is mapped and unmapped under the big
 * lock, here in the main loop; a worker of QEMU's pool copies outside of it.
 * While it copies one slice the next are mapped. A slice that is small, when
 * the worker has none, is copied at once: two hops between threads would take
 * longer. Unless the server has lately held up such a copy: card_memory.c.
 *
 * A turn: unmaps what has been copied, tells the server what is done, maps what
 * is next. Turns are bottom halves.
 *
 * The worker knows nothing but slices, and never takes the lock; nobody waits
 * for it. While it is away it holds a reference to the device, and an engine
 * that goes away leaves the mover behind, to unmap the rest when the worker
 * comes home. Then and at a reset it copies no further than it has to.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "block/aio.h"
#include "block/thread-pool.h"
#include "engine.h"
#include "trace.h"

#define SLICE_BYTES (1 * MiB)
#define COPIED_AT_ONCE (64 * KiB)
#define SLICES_PER_TURN 4
#define STOP_BYTES (64 * KiB) /* how far apart the worker looks at stop */
#define STREAMED_BYTES (256 * KiB) /* a slice of so many goes past the caches */

/* ---- Copying ------------------------------------------------------------- */

static void copy_bytes(const LanecallPiece *piece, uint64_t from,
                       uint64_t bytes, bool streams)
{
    switch (piece->type) {
    case LANECALL_DMA_READ:
        /* Both may lie in card memory: a guest can lend any memory. */
        memmove(piece->card + from, piece->guest + from, bytes);
        break;
    case LANECALL_DMA_WRITE:
        lanecall_copy_to_guest(piece->guest + from, piece->card + from, bytes,
                               streams);
        break;
    case LANECALL_DMA_FILL:
        lanecall_fill_guest(piece->guest + from, piece->fill, bytes, streams);
        break;
    }
}

/* To its end, or until *stop says so. */
static void copy_piece(LanecallSlice *slice, const LanecallPiece *piece,
                       bool streams, const bool *stop)
{
    uint64_t from = 0;

    while (from < piece->bytes && !qatomic_read(stop)) {
        uint64_t n = MIN(piece->bytes - from, STOP_BYTES);

        copy_bytes(piece, from, n, streams);
        from += n;
        slice->moved += n;
    }
}

static void copy_slice(LanecallSlice *slice, const bool *stop)
{
    bool streams = slice->bytes >= STREAMED_BYTES;
    unsigned i;

    for (i = 0; i < slice->count && !qatomic_read(stop); i++) {
        copy_piece(slice, &slice->piece[i], streams, stop);
    }
    if (streams) {
        lanecall_streamed();
    }
}

/* In the worker's thread. */
static int work(void *opaque)
{
    LanecallMover *mover = opaque;

    /* Pairs with the release in give_to_worker(). */
    while (mover->copied != qatomic_load_acquire(&mover->filled)) {
        copy_slice(&mover->slice[mover->copied % LANECALL_SLICES],
                   &mover->stop);
        /* Pairs with the acquire in retire_slices(). */
        qatomic_store_release(&mover->copied, mover->copied + 1);
        qemu_bh_schedule(mover->turn);
    }
    return 0;
}

/* ---- Mapping ------------------------------------------------------------- */

static void add_piece(LanecallMover *mover, LanecallSlice *slice,
                      LanecallOperation *op, void *guest, uint64_t bytes)
{
    uint64_t card = le64_to_cpu(op->extent->card);

    slice->piece[slice->count++] = (LanecallPiece) {
        .op = op,
        .guest = guest,
        .card = lanecall_card_pointer(mover->engine) +
                (op->type == LANECALL_DMA_FILL ? 0 : card + op->begun),
        .bytes = bytes,
        .type = op->type,
        .fill = card,
    };
    slice->bytes += bytes;
    op->in_flight++;
    lanecall_region_hold(op->region);
}

/* The next piece of an operation, which leaves the queue with its last one. */
static void map_piece(LanecallMover *mover, LanecallSlice *slice,
                      LanecallOperation *op)
{
    uint64_t whole = le64_to_cpu(op->extent->bytes);
    uint64_t bytes = MIN(whole - op->begun, SLICE_BYTES - slice->bytes);
    uint64_t address = lanecall_region_address(op->region,
        le64_to_cpu(op->extent->offset) + op->begun, &bytes);
    void *guest = lanecall_dma_map_piece(mover->pdev, address, &bytes,
                                         op->type != LANECALL_DMA_READ);

    if (!guest) {
        lanecall_breach(mover->engine, "DMA where a region is not memory",
                        address);
        lanecall_operation_end(mover, op, LANECALL_ERR_DMA);
        return;
    }
    add_piece(mover, slice, op, guest, bytes);
    op->begun += bytes;
    if (op->begun == whole) {
        op->begun = 0;
        op->extent++;
        op->extents--;
        if (!op->extents) {
            lanecall_operation_end(mover, op, LANECALL_ERR_NONE);
        }
    }
}

/* So that a long one does not hold up short ones: a slice for each in turn. */
static void move_first_to_tail(LanecallMover *mover)
{
    LanecallOperation *op = QTAILQ_FIRST(&mover->queue);

    if (op) {
        QTAILQ_REMOVE(&mover->queue, op, next);
        QTAILQ_INSERT_TAIL(&mover->queue, op, next);
    }
}

/* An operation that fails is an attempt, too: all in one turn are bounded. */
static void fill_slice(LanecallMover *mover, LanecallSlice *slice)
{
    LanecallOperation *op;
    unsigned i;

    slice->count = 0;
    slice->bytes = 0;
    slice->moved = 0;
    for (i = 0; i < LANECALL_MAX_EXTENTS && slice->bytes < SLICE_BYTES; i++) {
        op = QTAILQ_FIRST(&mover->queue);
        if (!op) {
            break;
        }
        map_piece(mover, slice, op);
    }
    move_first_to_tail(mover);
}

static void unmap_slice(LanecallMover *mover, const LanecallSlice *slice)
{
    uint64_t moved = slice->moved;
    unsigned i;

    for (i = 0; i < slice->count; i++) {
        const LanecallPiece *piece = &slice->piece[i];
        uint64_t n = MIN(moved, piece->bytes);

        lanecall_dma_unmap_piece(mover->pdev, piece->guest, piece->bytes,
                                 piece->type == LANECALL_DMA_READ ? 0 : n);
        if (piece->op->region) {
            lanecall_region_release(mover->engine->regions,
                                    piece->op->region);
        }
        lanecall_operation_landed(mover, piece->op, n);
        moved -= n;
    }
}

/* ---- Turns --------------------------------------------------------------- */

static LanecallSlice *slice_of(LanecallMover *mover, unsigned n)
{
    return &mover->slice[n % LANECALL_SLICES];
}

bool lanecall_mover_busy(const LanecallMover *mover)
{
    return mover->retired != mover->filled;
}

static bool has_room(const LanecallMover *mover)
{
    return mover->filled - mover->retired < LANECALL_SLICES;
}

static void retire_slices(LanecallMover *mover)
{
    /* Pairs with the release in work(). */
    while (mover->retired != qatomic_load_acquire(&mover->copied)) {
        unmap_slice(mover, slice_of(mover, mover->retired));
        mover->retired++;
    }
}

/* After a reset: from now on memory is left alone. */
static void come_to_rest(LanecallMover *mover)
{
    if (mover->stop && !lanecall_mover_busy(mover)) {
        mover->stop = false;
        lanecall_engine_rest(mover->engine);
    }
}

static void on_home(void *opaque, int result);

static void send_worker(LanecallMover *mover)
{
    mover->working = true;
    object_ref(OBJECT(mover->pdev));
    thread_pool_submit_aio(aio_get_thread_pool(qemu_get_aio_context()), work,
                           mover, on_home, mover);
}

static void copy_at_once(LanecallMover *mover, LanecallSlice *slice)
{
    int64_t begun = get_clock();

    copy_slice(slice, &mover->stop);
    lanecall_card_touched(mover->engine->card, begun);
    mover->copied++;
    retire_slices(mover);
}

/* Maps one slice, if there is room for it. Has anything been put into it? */
static bool launch_slice(LanecallMover *mover)
{
    LanecallSlice *slice = slice_of(mover, mover->filled);
    bool by_worker;

    if (!has_room(mover)) {
        return false;
    }
    fill_slice(mover, slice);
    if (!slice->count) {
        return false;
    }
    by_worker = mover->working || lanecall_mover_busy(mover) ||
                slice->bytes > COPIED_AT_ONCE ||
                lanecall_card_alone(mover->engine->card);
    trace_lanecall_slice(mover->engine->name, slice->count, slice->bytes,
                         by_worker);
    /* Pairs with the acquire in work(). */
    qatomic_store_release(&mover->filled, mover->filled + 1);
    if (!by_worker) {
        copy_at_once(mover, slice);
    } else if (!mover->working) {
        send_worker(mover);
    }
    return true;
}

static void run_turn(LanecallMover *mover)
{
    unsigned left = SLICES_PER_TURN;

    retire_slices(mover);
    come_to_rest(mover);
    while (left && launch_slice(mover)) {
        left--;
    }
    lanecall_batch_tell(mover);
    if (has_room(mover) && !QTAILQ_EMPTY(&mover->queue)) {
        lanecall_mover_wake(mover);
    }
}

void lanecall_mover_wake(LanecallMover *mover)
{
    qemu_bh_schedule(mover->turn);
}

static void on_turn(void *opaque)
{
    LanecallMover *mover = opaque;
    LanecallEngine *engine = mover->engine;
    bool entered;

    if (engine) {
        entered = lanecall_enter(engine);
        run_turn(mover);
        lanecall_leave(engine, entered);
    }
}

/* ---- Life cycle ---------------------------------------------------------- */

static void destroy(LanecallMover *mover)
{
    LanecallPacket *packet, *next;

    /* Nobody copies any more what was filled while the worker came home. */
    qatomic_set(&mover->copied, mover->filled);
    retire_slices(mover);
    QSLIST_FOREACH_SAFE(packet, &mover->spare, next, next) {
        g_free(packet);
    }
    qemu_bh_delete(mover->turn);
    g_free(mover->done);
    g_free(mover->operation);
    g_free(mover);
}

/*
 * The worker is home. It may have found nothing to do just before another slice
 * was filled: then it has to go again.
 */
static void on_home(void *opaque, int result)
{
    LanecallMover *mover = opaque;
    LanecallEngine *engine = mover->engine;
    Object *device = OBJECT(mover->pdev);
    bool entered;

    mover->working = false;
    if (engine) {
        entered = lanecall_enter(engine);
        if (mover->copied != mover->filled) {
            send_worker(mover);
        }
        run_turn(mover);
        lanecall_leave(engine, entered);
    } else {
        destroy(mover);
    }
    object_unref(device);
}

LanecallMover *lanecall_mover_new(LanecallEngine *engine)
{
    LanecallMover *mover = g_new0(LanecallMover, 1);
    unsigned i;

    mover->engine = engine;
    mover->pdev = engine->pdev;
    mover->operation = g_new0(LanecallOperation, LANECALL_OPERATIONS_MAX);
    mover->done = g_new(struct lanecall_dma_done, LANECALL_OPERATIONS);
    QTAILQ_INIT(&mover->queue);
    QTAILQ_INIT(&mover->unused);
    for (i = 0; i < LANECALL_OPERATIONS_MAX; i++) {
        QTAILQ_INSERT_TAIL(&mover->unused, &mover->operation[i], next);
    }
    mover->turn = qemu_bh_new_guarded(on_turn, mover,
                              &DEVICE(engine->pdev)->mem_reentrancy_guard);
    return mover;
}

/* Every operation that has a piece in flight, some more than once. */
static void for_each_in_flight(LanecallMover *mover,
                               void (*function)(LanecallOperation *op))
{
    unsigned n, i;

    for (n = mover->retired; n != mover->filled; n++) {
        const LanecallSlice *slice = slice_of(mover, n);

        for (i = 0; i < slice->count; i++) {
            function(slice->piece[i].op);
        }
    }
}

void lanecall_mover_revoke(LanecallMover *mover, const LanecallRegion *region)
{
    LanecallOperation *op, *next;

    QTAILQ_FOREACH_SAFE(op, &mover->queue, next, next) {
        if (op->region == region) {
            lanecall_operation_end(mover, op, LANECALL_ERR_REVOKED);
        }
    }
    lanecall_mover_wake(mover);
}

static void end_queued(LanecallMover *mover)
{
    LanecallOperation *op, *next;

    QTAILQ_FOREACH_SAFE(op, &mover->queue, next, next) {
        lanecall_operation_end(mover, op, LANECALL_ERR_REVOKED);
    }
}

static void forget_region(LanecallOperation *op)
{
    op->region = NULL;
    op->error = LANECALL_ERR_REVOKED;
}

void lanecall_mover_reset(LanecallMover *mover)
{
    end_queued(mover);
    for_each_in_flight(mover, forget_region);
    if (lanecall_mover_busy(mover)) {
        qatomic_set(&mover->stop, true);
    }
    lanecall_mover_wake(mover);
}

static void lose(LanecallOperation *op)
{
    op->lost = true;
}

void lanecall_mover_lose(LanecallMover *mover)
{
    LanecallOperation *op;

    QTAILQ_FOREACH(op, &mover->queue, next) {
        lose(op);
    }
    for_each_in_flight(mover, lose);
    end_queued(mover);
    mover->outstanding = 0;
    mover->done_count = 0;
}

void lanecall_mover_free(LanecallMover *mover)
{
    lanecall_mover_lose(mover);
    lanecall_mover_reset(mover);
    mover->engine = NULL;
    if (!mover->working) {
        destroy(mover);
    }
}
