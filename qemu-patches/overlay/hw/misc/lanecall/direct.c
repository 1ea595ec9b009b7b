/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel on the direct plane: its rings lie in card memory, and the card's
 * server is their other end. The device only passes on what the driver does by
 * register writes, and what the server says by frames.
 *
 * The channel's state says how far it has come, with two steps in between:
 *
 *   CONNECTING   waiting for a session, then offered: id is not 0
 *   READY        accepted; placing once the driver has given ATTACH, and
 *                clearing from a good PLACED on
 *   RUNNING, DRAINING
 *   ENDED        ended, if the server has said so; its id lives until the
 *                driver closes, else the server has been told CLOSE
 *
 * A frame is checked against this before anything is done about it.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "engine.h"

static uint32_t state_of(const LanecallChannel *ch)
{
    return LANECALL_STATE(ch->status);
}

static LanecallCard *card_of(const LanecallChannel *ch)
{
    return ch->engine->card;
}

/* ---- To the server ------------------------------------------------------- */

/* To a server that knows of the channel; a lost one's is never told again. */
static void send_about(LanecallChannel *ch, uint32_t type,
                       struct lanecall_card_frame *frame)
{
    if (ch->direct.id) {
        frame->type = cpu_to_le32(type);
        frame->channel = cpu_to_le64(ch->direct.id);
        lanecall_card_send(card_of(ch), frame);
    }
}

static void send_bare(LanecallChannel *ch, uint32_t type)
{
    struct lanecall_card_frame frame = { };

    send_about(ch, type, &frame);
}

static int offer(LanecallChannel *ch)
{
    LanecallDirect *direct = &ch->direct;
    LanecallCard *card = card_of(ch);
    struct lanecall_card_frame frame = {
        .type = cpu_to_le32(LANECALL_CARD_OFFER),
        .channel = cpu_to_le64(card->next_id),
        .offer.number = cpu_to_le32(ch->number),
    };
    int result = lanecall_bells_make(direct);

    if (ch->has_user) {
        frame.offer.flags = cpu_to_le32(LANECALL_CARD_OFFER_USER);
        frame.offer.user = cpu_to_le32(ch->user);
    }
    if (!result) {
        result = lanecall_card_offer(card, &frame,
            (int[]) { direct->doorbell, direct->interrupt });
    }
    if (!result) {
        direct->id = card->next_id++;
    }
    return result;
}

int lanecall_direct_open(LanecallChannel *ch)
{
    LanecallCard *card = card_of(ch);
    int result = lanecall_card_connect(card);

    if (result) {
        return result;
    }
    if (card->session == LANECALL_SESSION_LIVE) {
        return offer(ch);
    }
    ch->direct.waiting = true;
    return 0;
}

void lanecall_direct_place(LanecallChannel *ch, uint32_t tx_bytes,
                           uint32_t rx_bytes, uint32_t page_bytes)
{
    LanecallDirect *direct = &ch->direct;
    struct lanecall_card_frame frame = {
        .place = {
            .tx_bytes = cpu_to_le32(tx_bytes),
            .rx_bytes = cpu_to_le32(rx_bytes),
            .page_bytes = cpu_to_le32(page_bytes),
            .moderate_bytes = cpu_to_le32(ch->moderation.bytes),
            .moderate_us = cpu_to_le32(ch->moderation.us),
        },
    };

    direct->placing = true;
    direct->busy = 0;
    direct->page_bytes = page_bytes;
    direct->held[LANECALL_PLACE_INDEX].bytes =
        lanecall_card_index_bytes(page_bytes);
    direct->held[LANECALL_PLACE_TX].bytes =
        lanecall_card_ring_bytes(tx_bytes, page_bytes);
    direct->held[LANECALL_PLACE_RX].bytes =
        lanecall_card_ring_bytes(rx_bytes, page_bytes);
    send_about(ch, LANECALL_CARD_PLACE, &frame);
}

bool lanecall_direct_start(LanecallChannel *ch)
{
    if (!lanecall_bells_watch(card_of(ch), ch)) {
        return false;
    }
    send_bare(ch, LANECALL_CARD_START);
    return true;
}

void lanecall_direct_drain(LanecallChannel *ch)
{
    send_bare(ch, LANECALL_CARD_DRAIN);
}

void lanecall_direct_release(LanecallChannel *ch)
{
    LanecallDirect *direct = &ch->direct;

    send_bare(ch, LANECALL_CARD_CLOSE);
    if (card_of(ch)) {
        lanecall_bells_unwatch(card_of(ch), ch);
    }
    lanecall_bells_close(direct);
    direct->id = 0;
    direct->waiting = false;
    direct->lost = false;
    direct->placing = false;
    direct->clearing = false;
    direct->ended = false;
}

void lanecall_direct_vacate(LanecallChannel *ch)
{
    ch->direct.holds = false;
}

void lanecall_direct_init(LanecallChannel *ch)
{
    ch->direct.doorbell = -1;
    ch->direct.interrupt = -1;
}

/* ---- From the server ----------------------------------------------------- */

static const char *accepted(LanecallChannel *ch)
{
    if (state_of(ch) != LANECALL_CONNECTING) {
        return "answered an OFFER twice";
    }
    lanecall_channel_accepted(ch);
    return NULL;
}

static bool is_valid_error(uint32_t error)
{
    return error <= LANECALL_ERR_IO;
}

static const char *declined(LanecallChannel *ch, uint32_t error)
{
    if (state_of(ch) != LANECALL_CONNECTING) {
        return "answered an OFFER twice";
    }
    if (!is_valid_error(error)) {
        return "sent DECLINE with an unknown error";
    }
    ch->direct.id = 0;
    lanecall_channel_declined(ch, error ? error : LANECALL_ERR_REFUSED);
    return NULL;
}

static void answer_busy(LanecallChannel *ch, const LanecallPlace *in_use)
{
    struct lanecall_card_frame frame = {
        .busy = {
            .offset = cpu_to_le64(in_use->offset),
            .bytes = cpu_to_le64(in_use->bytes),
        },
    };

    if (++ch->direct.busy > LANECALL_CARD_BUSY_MAX) {
        lanecall_channel_misplaced(ch);
    } else {
        send_about(ch, LANECALL_CARD_BUSY, &frame);
    }
}

/*
 * Clearing takes a while, so it is done in slices, by turns if several channels
 * wait for it, and whatever ends the channel ends it.
 */
static void begin_clearing(LanecallChannel *ch)
{
    ch->direct.holds = true;
    ch->direct.clearing = true;
    ch->direct.cleared = 0;
    lanecall_card_clear_soon(card_of(ch));
}

static LanecallChannel *next_to_clear(LanecallCard *card)
{
    LanecallEngine *engine = card->engine;
    unsigned i;

    for (i = 0; i < engine->channels; i++) {
        unsigned n = (card->clear_next + i) % engine->channels;

        if (engine->channel[n].direct.clearing) {
            card->clear_next = n + 1;
            return &engine->channel[n];
        }
    }
    return NULL;
}

bool lanecall_direct_clear(LanecallCard *card)
{
    LanecallChannel *ch = next_to_clear(card);

    if (!ch) {
        return false;
    }
    if (lanecall_card_clear(card->engine, ch->direct.held,
                            &ch->direct.cleared)) {
        ch->direct.clearing = false;
        ch->direct.placing = false;
        lanecall_channel_placed(ch);
    }
    return true;
}

static const char *placed(LanecallChannel *ch,
                          const struct lanecall_places *where)
{
    LanecallEngine *engine = ch->engine;
    LanecallDirect *direct = &ch->direct;
    const LanecallPlace *in_use;

    if (!direct->placing || direct->clearing) {
        return "sent PLACED without a PLACE";
    }
    direct->held[LANECALL_PLACE_INDEX].offset = le64_to_cpu(where->index);
    direct->held[LANECALL_PLACE_TX].offset = le64_to_cpu(where->tx);
    direct->held[LANECALL_PLACE_RX].offset = le64_to_cpu(where->rx);
    if (!lanecall_card_is_valid(engine, direct->held, direct->page_bytes)) {
        lanecall_channel_misplaced(ch);
        return NULL;
    }
    in_use = lanecall_card_in_use(engine, direct->held);
    if (in_use) {
        answer_busy(ch, in_use);
        return NULL;
    }
    begin_clearing(ch);
    return NULL;
}

static const char *ended(LanecallChannel *ch, uint32_t error)
{
    if (state_of(ch) == LANECALL_CONNECTING) {
        return "sent END before ACCEPT";
    }
    if (!is_valid_error(error)) {
        return "sent END with an unknown error";
    }
    ch->direct.ended = true;
    ch->direct.placing = false;
    ch->direct.clearing = false;
    lanecall_channel_direct_ended(ch, error);
    return NULL;
}

static const char *released(LanecallChannel *ch)
{
    if (state_of(ch) != LANECALL_DRAINING) {
        return "sent RELEASED without a DRAIN";
    }
    ch->direct.id = 0; /* closed by this frame */
    lanecall_channel_released(ch);
    return NULL;
}

static LanecallChannel *find_channel(LanecallEngine *engine, uint64_t id)
{
    unsigned i;

    for (i = 0; i < engine->channels; i++) {
        if (engine->channel[i].direct.id == id) {
            return &engine->channel[i];
        }
    }
    return NULL;
}

static bool was_offered(const LanecallCard *card, uint64_t id)
{
    return id >= card->first_id && id < card->next_id;
}

const char *lanecall_direct_frame(LanecallCard *card,
                                  const struct lanecall_card_frame *frame)
{
    uint32_t type = le32_to_cpu(frame->type);
    uint64_t id = le64_to_cpu(frame->channel);
    uint32_t error = le32_to_cpu(frame->error);
    LanecallChannel *ch;

    if (type < LANECALL_CARD_ACCEPT || type > LANECALL_CARD_RELEASED) {
        return "sent a frame of unknown type";
    }
    if (!was_offered(card, id)) {
        return "sent a frame about a channel never offered to it";
    }
    ch = find_channel(card->engine, id);
    if (!ch || (ch->direct.ended && type != LANECALL_CARD_RELEASED)) {
        return NULL; /* late */
    }
    switch (type) {
    case LANECALL_CARD_ACCEPT:
        return accepted(ch);
    case LANECALL_CARD_DECLINE:
        return declined(ch, error);
    case LANECALL_CARD_PLACED:
        return placed(ch, &frame->placed);
    case LANECALL_CARD_END:
        return ended(ch, error);
    default:
        return released(ch);
    }
}

/* ---- The session --------------------------------------------------------- */

void lanecall_direct_offer_waiting(LanecallCard *card)
{
    LanecallEngine *engine = card->engine;
    unsigned i;
    int result;

    for (i = 0; i < engine->channels; i++) {
        LanecallChannel *ch = &engine->channel[i];

        if (ch->direct.waiting && card->session == LANECALL_SESSION_LIVE) {
            ch->direct.waiting = false;
            result = offer(ch);
            if (result) {
                lanecall_channel_declined(ch, LANECALL_ERR_RESOURCES);
            }
        }
    }
}

void lanecall_direct_lose(LanecallCard *card)
{
    LanecallEngine *engine = card->engine;
    unsigned i;

    for (i = 0; i < engine->channels; i++) {
        LanecallDirect *direct = &engine->channel[i].direct;

        if (direct->id || direct->waiting) {
            direct->id = 0;
            direct->waiting = false;
            direct->clearing = false;
            direct->lost = true;
        }
    }
}
