/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel's state machine, as docs/device.md draws it. Three things move it:
 * commands and doorbells (register writes), events of the socket or the card
 * port, and the ends of both. Each first maps the index page, since every
 * change of state is told there; if the page is not memory any more, only the
 * register tells.
 *
 * What is watched: in CONNECTING the connection watches its own socket. In
 * RUNNING and DRAINING the socket is watched, level triggered, for exactly what
 * the rings have use for, so a full RX ring or an empty TX ring costs nothing.
 * A register write makes at most one socket call; the main loop does the rest.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "engine.h"
#include "trace.h"

/* A send that failed may leave this many receives' worth to be salvaged. */
#define SALVAGE_CALLS 256

static uint32_t state_of(const LanecallChannel *ch)
{
    return LANECALL_STATE(ch->status);
}

static const char *state_name(uint32_t state)
{
    static const char *const names[] = {
        [LANECALL_CLOSED] = "CLOSED",
        [LANECALL_CONNECTING] = "CONNECTING",
        [LANECALL_READY] = "READY",
        [LANECALL_RUNNING] = "RUNNING",
        [LANECALL_DRAINING] = "DRAINING",
        [LANECALL_ENDED] = "ENDED",
    };

    return names[state];
}

static const char *error_name(uint32_t error)
{
    static const char *const names[] = {
        [LANECALL_ERR_NONE] = "no error",
        [LANECALL_ERR_REFUSED] = "REFUSED",
        [LANECALL_ERR_UNREACHABLE] = "UNREACHABLE",
        [LANECALL_ERR_TIMED_OUT] = "TIMED_OUT",
        [LANECALL_ERR_RESET] = "RESET",
        [LANECALL_ERR_ACCESS] = "ACCESS",
        [LANECALL_ERR_DMA] = "DMA",
        [LANECALL_ERR_PROTOCOL] = "PROTOCOL",
        [LANECALL_ERR_RESOURCES] = "RESOURCES",
        [LANECALL_ERR_IO] = "IO",
    };

    return names[error];
}

static uint32_t error_of_errno(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT:
    case ENOTDIR:
        return LANECALL_ERR_REFUSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return LANECALL_ERR_UNREACHABLE;
    case ETIMEDOUT:
        return LANECALL_ERR_TIMED_OUT;
    case ECONNRESET:
    case ECONNABORTED:
    case ENETRESET:
    case EPIPE:
        return LANECALL_ERR_RESET;
    case EACCES:
    case EPERM:
        return LANECALL_ERR_ACCESS;
    case EFAULT: /* of stream.c */
        return LANECALL_ERR_DMA;
    case EPROTO: /* of stream.c */
        return LANECALL_ERR_PROTOCOL;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return LANECALL_ERR_RESOURCES;
    default:
        return LANECALL_ERR_IO;
    }
}

/* ---- The index page ---------------------------------------------------- */

static bool is_valid_index_address(uint64_t address)
{
    return address % LANECALL_INDEX_BYTES == 0;
}

/* The device both reads and writes this page, so it must be allowed both. */
static bool map_index(LanecallChannel *ch)
{
    PCIDevice *pdev = ch->engine->pdev;
    LanecallExtents *extents = &ch->index_extents;

    extents->write = true;
    if (!is_valid_index_address(ch->index_address) ||
        !lanecall_dma_usable(pdev, ch->index_address, LANECALL_INDEX_BYTES,
                             false) ||
        !lanecall_dma_map(pdev, extents, ch->index_address,
                          LANECALL_INDEX_BYTES) ||
        extents->count != 1) {
        lanecall_dma_unmap(pdev, extents, 0);
        return false;
    }
    ch->index = extents->iov[0].iov_base;
    return true;
}

/* The end of the work on a channel. */
static void unmap_index(LanecallChannel *ch)
{
    if (ch->index) {
        ch->index = NULL;
        lanecall_dma_unmap(ch->engine->pdev, &ch->index_extents,
                           LANECALL_INDEX_BYTES);
        lanecall_hostile_page(ch->engine->hostile, ch);
    }
}

/* ---- Changes of state -------------------------------------------------- */

static void set_state(LanecallChannel *ch, uint32_t state, uint32_t error)
{
    ch->status = LANECALL_STATUS_WORD(state, error);
    if (ch->in_card && state != LANECALL_CLOSED) {
        ch->status |= LANECALL_IN_CARD;
    }
    trace_lanecall_state(ch->engine->name, ch->number, state_name(state),
                         error_name(error));
    if (ch->index && !lanecall_hostile_tells(ch->engine->hostile, ch)) {
        lanecall_wmb(); /* after all it announces; pairs with the driver's */
        lanecall_put32(&ch->index->status, ch->status);
    }
    lanecall_interrupt(ch->engine, ch->vector);
}

static void give_back_ring(LanecallChannel *ch, LanecallRing *ring)
{
    uint32_t i;

    for (i = 0; i < ring->count; i++) {
        lanecall_rogue_note(ch->engine->rogue, ring->pages[i],
                            1u << ring->page_shift);
    }
    g_free(ring->pages);
    ring->pages = NULL;
    ring->count = 0;
}

/* Gives back everything that an open channel holds, but places in the card. */
static void release(LanecallChannel *ch)
{
    qemu_bh_cancel(ch->salvage);
    lanecall_moderation_stop(ch);
    lanecall_direct_release(ch);
    lanecall_connection_close(&ch->connection);
    give_back_ring(ch, &ch->tx);
    give_back_ring(ch, &ch->rx);
    ch->want_read = false;
    ch->want_write = false;
    ch->unanswered = false;
    ch->send_error = 0;
}

static void give_back_index(LanecallChannel *ch)
{
    if (state_of(ch) != LANECALL_CLOSED) {
        lanecall_rogue_note(ch->engine->rogue, ch->index_address,
                            LANECALL_INDEX_BYTES);
    }
}

static void end_channel(LanecallChannel *ch, uint32_t error)
{
    release(ch);
    set_state(ch, LANECALL_ENDED, error);
}

static void close_channel(LanecallChannel *ch)
{
    trace_lanecall_close(ch->engine->name, ch->number);
    release(ch);
    give_back_index(ch);
    set_state(ch, LANECALL_CLOSED, LANECALL_ERR_NONE);
    lanecall_direct_vacate(ch);
}

/* Maps the index page of a channel in use; else the channel ends. */
static bool map_index_or_end(LanecallChannel *ch)
{
    if (!map_index(ch)) {
        lanecall_breach(ch->engine, "INDEX is not memory", ch->index_address);
        end_channel(ch, LANECALL_ERR_DMA);
        return false;
    }
    return true;
}

/* ---- Moving bytes ------------------------------------------------------ */

static void on_readable(void *opaque);
static void on_writable(void *opaque);

static bool is_moving(const LanecallChannel *ch)
{
    return state_of(ch) == LANECALL_RUNNING ||
           state_of(ch) == LANECALL_DRAINING;
}

static void watch(LanecallChannel *ch)
{
    bool usable = is_moving(ch) && !ch->send_error;
    bool running = state_of(ch) == LANECALL_RUNNING;

    if (is_moving(ch)) {
        lanecall_connection_watch(&ch->connection,
            usable && running && ch->want_read ? on_readable : NULL,
            usable && ch->want_write ? on_writable : NULL);
    }
}

/*
 * The server takes nothing any more. What it had sent before is not lost: a
 * bottom half moves it to RX, and finds out how the connection ended.
 */
static void send_failed(LanecallChannel *ch, int error)
{
    trace_lanecall_send_failed(ch->engine->name, ch->number, error);
    if (error == EPROTO || error == EFAULT) {
        end_channel(ch, error_of_errno(error));
    } else if (state_of(ch) == LANECALL_DRAINING) {
        close_channel(ch);
    } else {
        ch->send_error = error;
        ch->salvage_left = SALVAGE_CALLS;
        qemu_bh_schedule(ch->salvage);
    }
}

/*
 * At most one send. If @goes_on, more is expected soon: then the client is only
 * asked to ring for it once the main loop has looked and found nothing.
 */
static void pump_tx(LanecallChannel *ch, bool goes_on)
{
    int64_t pending = lanecall_tx_pending(ch);
    ssize_t sent;

    if (pending > 0) {
        sent = lanecall_tx_send(ch, pending);
        if (sent == -EAGAIN) {
            ch->want_write = true;
            return;
        }
        if (sent < 0) {
            send_failed(ch, -sent);
            return;
        }
        ch->unanswered = true;
        if (goes_on) {
            ch->want_write = true;
            return;
        }
        pending = lanecall_tx_pending(ch);
    }
    if (pending < 0) {
        end_channel(ch, LANECALL_ERR_PROTOCOL);
        return;
    }
    ch->want_write = pending > 0;
    if (!pending && state_of(ch) == LANECALL_DRAINING) {
        close_channel(ch);
    }
}

/* At most one receive. */
static void pump_rx(LanecallChannel *ch)
{
    int64_t room = lanecall_rx_room(ch);
    ssize_t got;

    if (room > 0) {
        got = lanecall_rx_receive(ch, room);
        if (got == -EAGAIN) {
            return;
        }
        if (got <= 0) {
            end_channel(ch, got ? error_of_errno(-got) : LANECALL_ERR_NONE);
            return;
        }
        ch->unanswered = false;
        room = lanecall_rx_room(ch);
    }
    if (room < 0) {
        end_channel(ch, LANECALL_ERR_PROTOCOL);
        return;
    }
    ch->want_read = room > 0;
}

static void on_readable(void *opaque)
{
    LanecallChannel *ch = opaque;
    bool entered = lanecall_enter(ch->engine);

    if (map_index_or_end(ch)) {
        pump_rx(ch);
        watch(ch);
        unmap_index(ch);
    }
    lanecall_leave(ch->engine, entered);
}

static void on_writable(void *opaque)
{
    LanecallChannel *ch = opaque;
    bool entered = lanecall_enter(ch->engine);

    if (map_index_or_end(ch)) {
        pump_tx(ch, true);
        watch(ch);
        unmap_index(ch);
    }
    lanecall_leave(ch->engine, entered);
}

/*
 * The server's end of the stream, met behind what was salvaged. A connection
 * that broke looks the same here, since the send that failed took the error;
 * EPIPE alone says that the server had closed before.
 */
static uint32_t error_at_end(const LanecallChannel *ch)
{
    return ch->send_error == EPIPE ? LANECALL_ERR_NONE
                                   : error_of_errno(ch->send_error);
}

/* At most one receive. Is that all, with @error the one to end with? */
static bool salvage_some(LanecallChannel *ch, uint32_t *error)
{
    int64_t room = lanecall_rx_room(ch);
    ssize_t got = -EAGAIN;

    if (room < 0) {
        *error = LANECALL_ERR_PROTOCOL;
        return true;
    }
    if (room > 0) {
        got = lanecall_rx_receive(ch, room);
    }
    if (got > 0 && --ch->salvage_left) {
        return false;
    }
    if (got == 0) {
        *error = error_at_end(ch);
    } else if (got > 0 || got == -EAGAIN) {
        *error = error_of_errno(ch->send_error);
    } else {
        *error = error_of_errno(-got);
    }
    return true;
}

/* A receive each time, so that others have their turns in between. */
static void on_salvage(void *opaque)
{
    LanecallChannel *ch = opaque;
    bool entered = lanecall_enter(ch->engine);
    uint32_t error;

    if (map_index_or_end(ch)) {
        if (salvage_some(ch, &error)) {
            end_channel(ch, error);
        } else {
            qemu_bh_schedule(ch->salvage);
        }
        unmap_index(ch);
    }
    lanecall_leave(ch->engine, entered);
}

/* A driver does not ring twice for the same bytes: a lost one is the end. */
static void doorbell_in_card(LanecallChannel *ch)
{
    if (!lanecall_bells_ring(ch->engine->card, &ch->direct) &&
        map_index_or_end(ch)) {
        end_channel(ch, LANECALL_ERR_RESOURCES);
        unmap_index(ch);
    }
}

void lanecall_channel_doorbell(LanecallChannel *ch)
{
    if (!is_moving(ch)) {
        return;
    }
    trace_lanecall_doorbell(ch->engine->name, ch->number);
    if (ch->in_card) {
        doorbell_in_card(ch);
        return;
    }
    if (ch->send_error || !map_index_or_end(ch)) {
        return;
    }
    if (state_of(ch) == LANECALL_RUNNING) {
        int64_t room = lanecall_rx_room(ch);

        ch->want_read = room > 0;
        if (room < 0) {
            end_channel(ch, LANECALL_ERR_PROTOCOL);
        }
    }
    if (is_moving(ch)) {
        /*
         * A client that sends again before there was an answer has more calls
         * outstanding than one, or a long message, and is likely to go on:
         * many small requests then share a doorbell. One that waits for each
         * answer is asked at once, and rings for the next.
         */
        pump_tx(ch, ch->unanswered);
        watch(ch);
    }
    unmap_index(ch);
}

/* ---- Commands ---------------------------------------------------------- */

static void connected(LanecallChannel *ch, int error)
{
    if (!error && ch->engine->proxy) {
        error = lanecall_proxy_send(ch);
    }
    if (error) {
        end_channel(ch, error_of_errno(error));
    } else {
        set_state(ch, LANECALL_READY, LANECALL_ERR_NONE);
    }
}

static void on_connected(void *opaque, int error)
{
    LanecallChannel *ch = opaque;
    bool entered = lanecall_enter(ch->engine);

    if (map_index_or_end(ch)) {
        connected(ch, error);
        unmap_index(ch);
    }
    lanecall_leave(ch->engine, entered);
}

/* The socket plane. */
static void connect_socket(LanecallChannel *ch)
{
    int result = lanecall_connection_start(&ch->connection);

    if (result != -EINPROGRESS) {
        connected(ch, -result);
    }
}

/* It will not be the direct plane: the other, or the end, with @error. */
static void fall_back(LanecallChannel *ch, uint32_t error)
{
    lanecall_direct_release(ch);
    if (ch->engine->server) {
        connect_socket(ch);
    } else {
        end_channel(ch, error);
    }
}

static bool wants_card(const LanecallChannel *ch)
{
    return (ch->block.flags & LANECALL_CHF_IN_CARD) == LANECALL_CHF_IN_CARD;
}

static void connect_channel(LanecallChannel *ch)
{
    int result = -ECONNREFUSED;

    if (wants_card(ch)) {
        result = lanecall_direct_open(ch);
    }
    if (result) {
        fall_back(ch, error_of_errno(-result));
    }
}

static bool is_accepted(const LanecallEngine *engine, uint32_t feature)
{
    return engine->accepted[0] & feature;
}

static bool is_valid_open(const LanecallChannel *ch)
{
    uint32_t allowed = is_accepted(ch->engine, LANECALL_FEATURE_CARD_RINGS)
        ? LANECALL_CHF_IN_CARD : 0;

    return ch->block.vector < ch->engine->vectors &&
           !(ch->block.flags & ~allowed);
}

static void command_open(LanecallChannel *ch)
{
    if (!is_valid_index_address(ch->index_address)) {
        lanecall_breach(ch->engine, "INDEX is not aligned", ch->index_address);
        end_channel(ch, LANECALL_ERR_PROTOCOL);
        return;
    }
    if (!ch->index) {
        lanecall_breach(ch->engine, "INDEX is not memory", ch->index_address);
        end_channel(ch, LANECALL_ERR_DMA);
        return;
    }
    if (!is_valid_open(ch)) {
        lanecall_breach(ch->engine, "OPEN with a bad VECTOR or FLAGS",
                        ch->block.vector);
        end_channel(ch, LANECALL_ERR_PROTOCOL);
        return;
    }
    set_state(ch, LANECALL_CONNECTING, LANECALL_ERR_NONE);
    connect_channel(ch);
}

static bool is_valid_ring_shift(uint32_t shift)
{
    return shift >= LANECALL_RING_SHIFT_MIN &&
           shift <= LANECALL_RING_SHIFT_MAX;
}

static bool is_valid_page_shift(uint32_t shift)
{
    return shift >= LANECALL_PAGE_SHIFT_MIN &&
           shift <= LANECALL_PAGE_SHIFT_MAX;
}

static bool is_valid_table_address(uint64_t address)
{
    return address % sizeof(uint64_t) == 0;
}

/* Copies and checks a page table: 0, -EPROTO or -EFAULT. */
static int attach_ring(LanecallChannel *ch, LanecallRing *ring,
                       uint64_t table, uint32_t shift, bool write)
{
    PCIDevice *pdev = ch->engine->pdev;
    uint32_t page_shift = ch->block.page_shift;
    uint32_t count, used, i;

    if (!is_valid_ring_shift(shift) || !is_valid_page_shift(page_shift) ||
        !is_valid_table_address(table)) {
        return -EPROTO;
    }
    count = MAX(1u, (1u << shift) >> page_shift);
    used = 1u << MIN(page_shift, shift);
    ring->page_shift = page_shift;
    ring->pages = g_new(uint64_t, count);
    if (!lanecall_dma_read(pdev, table, ring->pages,
                           count * sizeof(uint64_t))) {
        return -EFAULT;
    }
    for (i = 0; i < count; i++) {
        ring->pages[i] = le64_to_cpu(ring->pages[i]);
        if (ring->pages[i] & ((1u << page_shift) - 1)) {
            return -EPROTO;
        }
        if (!lanecall_dma_usable(pdev, ring->pages[i], used, write)) {
            return -EFAULT;
        }
    }
    /* The index page is given at each operation. */
    lanecall_ring_init(&ring->core, NULL, NULL, 1u << shift);
    ring->count = count;
    return 0;
}

static int take_moderation(LanecallChannel *ch)
{
    ch->moderation.us = 0;
    if (is_accepted(ch->engine, LANECALL_FEATURE_MODERATION)) {
        ch->moderation.bytes = ch->block.moderate_bytes;
        ch->moderation.us = ch->block.moderate_us;
    }
    return ch->moderation.us <= LANECALL_MODERATE_US_MAX ? 0 : -EPROTO;
}

static bool is_valid_attach_in_card(const LanecallChannel *ch)
{
    return is_valid_ring_shift(ch->block.tx_shift) &&
           is_valid_ring_shift(ch->block.rx_shift) &&
           is_valid_page_shift(ch->block.page_shift);
}

/* Where the rings lie, the card's server says. */
static void attach_in_card(LanecallChannel *ch)
{
    if (take_moderation(ch) || !is_valid_attach_in_card(ch)) {
        lanecall_breach(ch->engine, "ATTACH with unusable sizes on channel",
                        ch->number);
        end_channel(ch, LANECALL_ERR_PROTOCOL);
        return;
    }
    lanecall_direct_place(ch, 1u << ch->block.tx_shift,
                          1u << ch->block.rx_shift,
                          1u << ch->block.page_shift);
}

static void attach_in_guest(LanecallChannel *ch)
{
    int64_t room;
    int result = take_moderation(ch);

    if (!result) {
        result = attach_ring(ch, &ch->tx, ch->block.tx_table,
                             ch->block.tx_shift, false);
    }
    if (!result) {
        result = attach_ring(ch, &ch->rx, ch->block.rx_table,
                             ch->block.rx_shift, true);
    }
    if (result) {
        lanecall_breach(ch->engine, "ATTACH with unusable rings on channel",
                        ch->number);
        end_channel(ch, error_of_errno(-result));
        return;
    }
    /* These two also ask for the first doorbell. */
    room = lanecall_rx_room(ch);
    if (room < 0 || lanecall_tx_pending(ch) < 0) {
        end_channel(ch, LANECALL_ERR_PROTOCOL);
        return;
    }
    ch->want_read = room > 0;
    set_state(ch, LANECALL_RUNNING, LANECALL_ERR_NONE);
    pump_tx(ch, false);
    watch(ch);
}

static void command_attach(LanecallChannel *ch)
{
    if (ch->in_card) {
        attach_in_card(ch);
    } else {
        attach_in_guest(ch);
    }
}

static void drain_in_card(LanecallChannel *ch)
{
    if (state_of(ch) == LANECALL_RUNNING) {
        set_state(ch, LANECALL_DRAINING, LANECALL_ERR_NONE);
        lanecall_direct_drain(ch);
    } else {
        close_channel(ch);
    }
}

static void drain_in_guest(LanecallChannel *ch)
{
    int64_t pending = 0;

    if (state_of(ch) == LANECALL_RUNNING && !ch->send_error) {
        pending = lanecall_tx_pending(ch);
    }
    if (pending < 0) {
        end_channel(ch, LANECALL_ERR_PROTOCOL);
    } else if (pending == 0) {
        close_channel(ch);
    } else {
        set_state(ch, LANECALL_DRAINING, LANECALL_ERR_NONE);
        pump_tx(ch, false);
        watch(ch);
    }
}

static void command_drain(LanecallChannel *ch)
{
    if (ch->in_card) {
        drain_in_card(ch);
    } else {
        drain_in_guest(ch);
    }
}

static bool is_valid_command(const LanecallChannel *ch, uint32_t command)
{
    uint32_t state = state_of(ch);

    switch (command) {
    case LANECALL_CMD_OPEN:
        return state == LANECALL_CLOSED;
    case LANECALL_CMD_ATTACH:
        return state == LANECALL_READY && !ch->direct.placing;
    case LANECALL_CMD_DRAIN:
        return state != LANECALL_CLOSED && state != LANECALL_DRAINING;
    case LANECALL_CMD_CLOSE:
        return state != LANECALL_CLOSED;
    default:
        return false;
    }
}

static void refuse_command(LanecallChannel *ch, uint32_t command)
{
    lanecall_breach(ch->engine, "bad command", command);
    if (state_of(ch) != LANECALL_CLOSED && state_of(ch) != LANECALL_ENDED) {
        end_channel(ch, LANECALL_ERR_PROTOCOL);
    }
}

static void run_command(LanecallChannel *ch, uint32_t command)
{
    switch (command) {
    case LANECALL_CMD_OPEN:
        command_open(ch);
        break;
    case LANECALL_CMD_ATTACH:
        command_attach(ch);
        break;
    case LANECALL_CMD_DRAIN:
        command_drain(ch);
        break;
    case LANECALL_CMD_CLOSE:
        close_channel(ch);
        break;
    }
}

/* ATTACH and DRAIN look at the rings, which takes the index page. */
static bool needs_index(const LanecallChannel *ch, uint32_t command)
{
    return command == LANECALL_CMD_ATTACH ||
           (command == LANECALL_CMD_DRAIN &&
            state_of(ch) == LANECALL_RUNNING);
}

void lanecall_channel_command(LanecallChannel *ch, uint32_t command)
{
    bool valid = is_valid_command(ch, command);

    if (valid && command == LANECALL_CMD_OPEN) {
        ch->in_card = false;
        ch->vector = ch->block.vector;
        ch->index_address = ch->block.index;
        ch->has_user = is_accepted(ch->engine, LANECALL_FEATURE_USERS);
        ch->user = ch->block.user;
        trace_lanecall_open(ch->engine->name, ch->number, ch->index_address,
                            ch->vector);
    }
    if (valid || state_of(ch) != LANECALL_CLOSED) {
        map_index(ch);
    }
    if (!valid) {
        refuse_command(ch, command);
    } else if (!ch->index && needs_index(ch, command)) {
        lanecall_breach(ch->engine, "INDEX is not memory", ch->index_address);
        end_channel(ch, LANECALL_ERR_DMA);
    } else {
        run_command(ch, command);
    }
    unmap_index(ch);
}

/* ---- The card port ------------------------------------------------------- */

void lanecall_channel_accepted(LanecallChannel *ch)
{
    ch->in_card = true;
    if (map_index_or_end(ch)) {
        set_state(ch, LANECALL_READY, LANECALL_ERR_NONE);
        unmap_index(ch);
    }
}

void lanecall_channel_declined(LanecallChannel *ch, uint32_t error)
{
    if (map_index_or_end(ch)) {
        fall_back(ch, error);
        unmap_index(ch);
    }
}

static void tell_places(LanecallChannel *ch)
{
    const LanecallPlace *held = ch->direct.held;

    ch->index->card = (struct lanecall_places) {
        .index = cpu_to_le64(held[LANECALL_PLACE_INDEX].offset),
        .tx = cpu_to_le64(held[LANECALL_PLACE_TX].offset),
        .rx = cpu_to_le64(held[LANECALL_PLACE_RX].offset),
    };
}

void lanecall_channel_placed(LanecallChannel *ch)
{
    if (map_index_or_end(ch)) {
        if (lanecall_direct_start(ch)) {
            tell_places(ch);
            set_state(ch, LANECALL_RUNNING, LANECALL_ERR_NONE);
        } else {
            end_channel(ch, LANECALL_ERR_RESOURCES);
        }
        unmap_index(ch);
    }
}

void lanecall_channel_misplaced(LanecallChannel *ch)
{
    if (map_index_or_end(ch)) {
        end_channel(ch, LANECALL_ERR_IO);
        unmap_index(ch);
    }
}

static bool is_breach_of_driver(uint32_t error)
{
    return error == LANECALL_ERR_PROTOCOL || error == LANECALL_ERR_DMA;
}

/* The server is told CLOSE when the driver has closed, too. */
void lanecall_channel_direct_ended(LanecallChannel *ch, uint32_t error)
{
    if (is_breach_of_driver(error)) {
        lanecall_breach(ch->engine, "bad ring, says the server of channel",
                        ch->number);
    }
    if (state_of(ch) != LANECALL_DRAINING && map_index_or_end(ch)) {
        set_state(ch, LANECALL_ENDED, error);
        unmap_index(ch);
    }
}

void lanecall_channel_released(LanecallChannel *ch)
{
    if (map_index_or_end(ch)) {
        close_channel(ch);
        unmap_index(ch);
    }
}

void lanecall_channel_lost(LanecallChannel *ch)
{
    if (state_of(ch) == LANECALL_ENDED) {
        lanecall_direct_release(ch);
        return;
    }
    if (!map_index_or_end(ch)) {
        return;
    }
    if (state_of(ch) == LANECALL_CONNECTING) {
        fall_back(ch, LANECALL_ERR_REFUSED);
    } else if (state_of(ch) == LANECALL_DRAINING) {
        close_channel(ch);
    } else {
        end_channel(ch, LANECALL_ERR_RESET);
    }
    unmap_index(ch);
}

/* ---- What the channel was given ------------------------------------------ */

static bool is_in(uint64_t begin, uint64_t bytes, uint64_t address)
{
    return address - begin < bytes;
}

static bool ring_has(const LanecallRing *ring, uint64_t address)
{
    uint32_t i;

    for (i = 0; i < ring->count; i++) {
        if (is_in(ring->pages[i], 1u << ring->page_shift, address)) {
            return true;
        }
    }
    return false;
}

bool lanecall_channel_has(const LanecallChannel *ch, uint64_t address)
{
    return (state_of(ch) != LANECALL_CLOSED &&
            is_in(ch->index_address, LANECALL_INDEX_BYTES, address)) ||
           ring_has(&ch->tx, address) || ring_has(&ch->rx, address);
}

/* ---- Life cycle -------------------------------------------------------- */

void lanecall_channel_init(LanecallChannel *ch, LanecallEngine *engine,
                           unsigned number)
{
    ch->engine = engine;
    ch->number = number;
    ch->salvage = qemu_bh_new_guarded(on_salvage, ch,
                              &DEVICE(engine->pdev)->mem_reentrancy_guard);
    lanecall_connection_init(&ch->connection, engine->server, on_connected,
                             ch);
    lanecall_direct_init(ch);
    lanecall_moderation_init(ch);
}

void lanecall_channel_destroy(LanecallChannel *ch)
{
    release(ch);
    lanecall_connection_destroy(&ch->connection);
    lanecall_moderation_destroy(ch);
    qemu_bh_delete(ch->salvage);
}

void lanecall_channel_reset(LanecallChannel *ch)
{
    release(ch);
    give_back_index(ch);
    lanecall_direct_vacate(ch);
    ch->in_card = false;
    memset(&ch->block, 0, sizeof(ch->block));
    ch->status = 0;
    ch->vector = 0;
    ch->index_address = 0;
    ch->has_user = false;
    ch->user = 0;
}
