/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device that lies, for tests of drivers: with x-hostile it says what is not
 * so, in registers, in memory and by interrupts. lanecall/hostile.h has where
 * and what, and the registers that command it.
 *
 * The device itself keeps to the truth: lies are put in its words' place where
 * they leave it. In memory that is after the work on a channel: what the work
 * has written there is read, and written over. The status word alone is not
 * written before (see lanecall_hostile_tells()), so that CLOSED, after which
 * the page is the driver's, is the last word.
 *
 * Whoever is told CLOSED, or FREE of a region, frees memory. So a lie of that
 * kind is made true: the channel is dropped before it is told. And a CLOSED
 * that comes late is late in the register, too.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "lanecall/hostile.h"
#include "engine.h"
#include "trace.h"

#define TICK_US 250
#define LATE_TICKS_MAX 400
#define LATES 64
#define SLOTS_VISITED 16 /* drivers give the first ones out first */
#define NO_VECTOR UINT32_MAX

typedef enum LateKind {
    LATE_WORD, /* in the page of a channel that is not CLOSED */
    LATE_STATUS, /* of such a channel */
    LATE_CLOSED,
    LATE_REGION,
    LATE_INTERRUPT,
} LateKind;

/* A truth that is still to be told. */
typedef struct Late {
    LateKind kind;
    int64_t due; /* in ticks */
    unsigned number; /* of the channel or vector */
    unsigned place;
    uint64_t address;
    uint64_t value;
} Late;

typedef struct Told {
    uint32_t word; /* what its page says; 0: nothing yet, or CLOSED */
    bool due; /* its status has changed, and was not told */
    uint32_t shown; /* by its register, until a late CLOSED; 0: the truth */
} Told;

struct LanecallHostile {
    LanecallEngine *engine;
    QEMUTimer *timer;
    GRand *random;
    uint32_t seed;
    uint64_t places;
    uint32_t kind;
    uint32_t one_in; /* 0: it is honest now */
    uint32_t told;
    uint64_t now[LANECALL_HOSTILE_PLACES]; /* the truth last seen there */
    uint64_t before[LANECALL_HOSTILE_PLACES]; /* another, before it */
    Told status[LANECALL_MAX_CHANNELS];
    uint32_t repeats[LANECALL_MAX_VECTORS];
    int64_t tick;
    Late late[LATES];
    unsigned late_count;
};

QEMU_BUILD_BUG_ON(LANECALL_HOSTILE_PLACES > 64);

static uint32_t random_below(LanecallHostile *hostile, uint32_t end)
{
    return g_rand_int(hostile->random) % end;
}

/* ---- What is said instead ------------------------------------------------ */

static bool lies_at(LanecallHostile *hostile, unsigned place)
{
    return hostile->one_in && hostile->places & BIT_ULL(place) &&
           random_below(hostile, hostile->one_in) == 0;
}

static void remember(LanecallHostile *hostile, unsigned place, uint64_t truth)
{
    if (hostile->now[place] != truth) {
        hostile->before[place] = hostile->now[place];
        hostile->now[place] = truth;
    }
}

static uint64_t untruth(LanecallHostile *hostile, unsigned place, uint32_t kind,
                        uint64_t truth, unsigned bits)
{
    switch (kind) {
    case LANECALL_LIE_ZERO:
        return 0;
    case LANECALL_LIE_ONE:
        return 1;
    case LANECALL_LIE_ALL_ONES:
        return UINT64_MAX;
    case LANECALL_LIE_ONE_MORE:
        return truth + 1;
    case LANECALL_LIE_ONE_LESS:
        return truth - 1;
    case LANECALL_LIE_HIGHEST_BIT:
        return BIT_ULL(bits - 1);
    case LANECALL_LIE_OTHER_BIT:
        return truth ^ BIT_ULL(random_below(hostile, bits));
    case LANECALL_LIE_RANDOM:
        return (uint64_t)g_rand_int(hostile->random) << 32 |
               g_rand_int(hostile->random);
    case LANECALL_LIE_LATE:
        if (place == LANECALL_HOSTILE_INTERRUPT) {
            return NO_VECTOR;
        }
        /* fall through */
    default:
        return hostile->before[place];
    }
}

static uint32_t choose_kind(LanecallHostile *hostile)
{
    return hostile->kind ? hostile->kind
                         : 1 + random_below(hostile, LANECALL_LIES);
}

/* Puts a lie into @value, which is the truth: its kind, or 0 if it stays so. */
static uint32_t lie(LanecallHostile *hostile, unsigned place, unsigned bits,
                    uint64_t *value)
{
    uint64_t truth = *value;
    uint32_t kind = 0;

    if (lies_at(hostile, place)) {
        kind = choose_kind(hostile);
        *value = extract64(untruth(hostile, place, kind, truth, bits), 0,
                           bits);
        if (*value == truth) {
            kind = 0;
        } else {
            hostile->told++;
            trace_lanecall_lie(hostile->engine->name, place, truth, *value);
        }
    }
    remember(hostile, place, truth);
    return kind;
}

uint32_t lanecall_hostile_value(LanecallHostile *hostile, unsigned place,
                                uint32_t truth)
{
    uint64_t value = truth;

    if (hostile) {
        lie(hostile, place, 32, &value);
    }
    return value;
}

uint32_t lanecall_hostile_command(LanecallHostile *hostile, unsigned place,
                                  uint32_t truth, uint32_t last_that_takes)
{
    uint32_t value = lanecall_hostile_value(hostile, place, truth);

    return value != truth && value <= last_that_takes ? 0 : value;
}

/* ---- What is told late --------------------------------------------------- */

/* If there are too many it is never told. */
static Late *add_late(LanecallHostile *hostile, LateKind kind, uint64_t value)
{
    Late *late;

    if (hostile->late_count == LATES) {
        hostile->late_count--;
    }
    late = &hostile->late[hostile->late_count++];
    *late = (Late) {
        .kind = kind,
        .due = hostile->tick + 1 + random_below(hostile, LATE_TICKS_MAX),
        .value = value,
    };
    return late;
}

/* Now there is another truth about that region. */
static void cancel_late_region(LanecallHostile *hostile, uint64_t address)
{
    unsigned i, left = 0;

    for (i = 0; i < hostile->late_count; i++) {
        const Late *late = &hostile->late[i];

        if (late->kind != LATE_REGION || late->address != address) {
            hostile->late[left++] = *late;
        }
    }
    hostile->late_count = left;
}

/* ---- A channel's page ---------------------------------------------------- */

typedef struct Word {
    uint32_t offset;
    unsigned bits;
    bool is_of_rings;
} Word;

#define AT(field) offsetof(struct lanecall_index_page, field)
#define WORD(field) { AT(field), 32, false }
#define RING_WORD(field) { AT(field), 32, true }
#define WIDE_WORD(field) { AT(field), 64, false }

static const Word page_word[LANECALL_HOSTILE_PLACES] = {
    [LANECALL_HOSTILE_TX_TAIL] = RING_WORD(tx_consumer.tail),
    [LANECALL_HOSTILE_TX_WANT_HEAD] = RING_WORD(tx_consumer.want_head),
    [LANECALL_HOSTILE_RX_HEAD] = RING_WORD(rx_producer.head),
    [LANECALL_HOSTILE_RX_WANT_TAIL] = RING_WORD(rx_producer.want_tail),
    [LANECALL_HOSTILE_TX_HEAD] = RING_WORD(tx_producer.head),
    [LANECALL_HOSTILE_TX_WANT_TAIL] = RING_WORD(tx_producer.want_tail),
    [LANECALL_HOSTILE_RX_TAIL] = RING_WORD(rx_consumer.tail),
    [LANECALL_HOSTILE_RX_WANT_HEAD] = RING_WORD(rx_consumer.want_head),
    [LANECALL_HOSTILE_GONE] = WORD(gone),
    [LANECALL_HOSTILE_COUNTER] = WIDE_WORD(reserved2),
    [LANECALL_HOSTILE_CARD_INDEX] = WIDE_WORD(card.index),
    [LANECALL_HOSTILE_CARD_TX] = WIDE_WORD(card.tx),
    [LANECALL_HOSTILE_CARD_RX] = WIDE_WORD(card.rx),
};

static bool is_closed(const LanecallChannel *ch)
{
    return ch->status == LANECALL_CLOSED;
}

/* A word of an index page in card memory. */
static uint8_t *card_word(const LanecallChannel *ch, const Word *word)
{
    return lanecall_card_pointer(ch->engine) +
           ch->direct.held[LANECALL_PLACE_INDEX].offset + word->offset;
}

static bool is_in_card(const LanecallChannel *ch, const Word *word)
{
    return ch->in_card && word->is_of_rings;
}

static bool load(const LanecallChannel *ch, const Word *word, uint64_t *value)
{
    uint8_t bytes[8] = { };

    if (!is_in_card(ch, word)) {
        if (!lanecall_dma_read(ch->engine->pdev,
                               ch->index_address + word->offset, bytes,
                               word->bits / 8)) {
            return false;
        }
    } else if (ch->direct.holds) {
        memcpy(bytes, card_word(ch, word), word->bits / 8);
    } else {
        return false;
    }
    *value = ldq_le_p(bytes);
    return true;
}

static void store(const LanecallChannel *ch, const Word *word, uint64_t value)
{
    PCIDevice *pdev = ch->engine->pdev;
    uint64_t address = ch->index_address + word->offset;

    if (!is_in_card(ch, word)) {
        lanecall_dma_put32(pdev, address, value);
        if (word->bits == 64) {
            lanecall_dma_put32(pdev, address + 4, value >> 32);
        }
    } else if (ch->direct.holds) {
        stl_le_p(card_word(ch, word), value);
    }
}

/* The driver may be asleep; it is to see this. */
static void lie_in_word(LanecallHostile *hostile, LanecallChannel *ch,
                        unsigned place)
{
    const Word *word = &page_word[place];
    uint64_t truth, value;
    uint32_t kind;
    Late *late;

    if (!word->bits || !(hostile->places & BIT_ULL(place)) ||
        !load(ch, word, &truth)) {
        return;
    }
    value = truth;
    kind = lie(hostile, place, word->bits, &value);
    if (!kind) {
        return;
    }
    store(ch, word, value);
    lanecall_interrupt(hostile->engine, ch->vector);
    if (kind == LANECALL_LIE_LATE) {
        late = add_late(hostile, LATE_WORD, truth);
        late->number = ch->number;
        late->place = place;
    }
}

/* ---- A channel's status -------------------------------------------------- */

static void put_status(LanecallHostile *hostile, LanecallChannel *ch,
                       uint32_t word)
{
    Told *told = &hostile->status[ch->number];
    uint64_t address = ch->index_address;

    if (word == LANECALL_CLOSED && !is_closed(ch)) {
        if (told->word == LANECALL_CLOSED) {
            return; /* in a page without a word this says nothing */
        }
        lanecall_channel_reset(ch);
    }
    told->word = word;
    lanecall_dma_put32(hostile->engine->pdev,
                       address + AT(status),
                       word);
}

/* The page keeps what it says for a while. */
static void put_status_late(LanecallHostile *hostile, LanecallChannel *ch)
{
    Told *told = &hostile->status[ch->number];
    Late *late;

    if (!is_closed(ch)) {
        late = add_late(hostile, LATE_STATUS, 0);
    } else if (told->word) {
        told->shown = told->word;
        late = add_late(hostile, LATE_CLOSED, 0);
        late->address = ch->index_address;
    } else {
        return;
    }
    late->number = ch->number;
}

static void tell_status(LanecallHostile *hostile, LanecallChannel *ch)
{
    uint32_t vector = ch->vector;
    uint64_t word = ch->status;
    uint32_t kind = lie(hostile, LANECALL_HOSTILE_STATUS, 32, &word);
    bool due = hostile->status[ch->number].due;

    hostile->status[ch->number].due = false;
    if (kind == LANECALL_LIE_LATE && due) {
        put_status_late(hostile, ch);
    } else if (kind || due) {
        put_status(hostile, ch, word);
        lanecall_interrupt(hostile->engine, vector);
    }
}

bool lanecall_hostile_tells(LanecallHostile *hostile, const LanecallChannel *ch)
{
    Told *told;

    if (!hostile) {
        return false;
    }
    told = &hostile->status[ch->number];
    if (LANECALL_STATE(ch->status) == LANECALL_CONNECTING) {
        told->word = 0;
        told->shown = 0;
    }
    told->due = hostile->one_in;
    if (!told->due) {
        told->word = ch->status;
    }
    return told->due;
}

void lanecall_hostile_page(LanecallHostile *hostile, LanecallChannel *ch)
{
    unsigned place;

    if (!hostile || (is_closed(ch) && !hostile->status[ch->number].due)) {
        return;
    }
    if (!is_closed(ch)) {
        for (place = 0; place < LANECALL_HOSTILE_PLACES; place++) {
            lie_in_word(hostile, ch, place);
        }
    }
    tell_status(hostile, ch);
}

uint32_t lanecall_hostile_status(LanecallHostile *hostile, LanecallChannel *ch)
{
    Told *told;
    uint32_t word;

    if (!hostile) {
        return ch->status;
    }
    told = &hostile->status[ch->number];
    word = lanecall_hostile_value(hostile, LANECALL_HOSTILE_CH_STATUS,
                                  told->shown ? told->shown : ch->status);
    if (word == LANECALL_CLOSED) {
        told->shown = 0;
        if (!is_closed(ch)) {
            told->due = false;
            lanecall_channel_reset(ch);
        }
    }
    return word;
}

/* ---- Regions and interrupts ---------------------------------------------- */

bool lanecall_hostile_says(LanecallHostile *hostile, uint64_t address,
                           uint32_t vector, uint32_t *word)
{
    uint64_t value = *word;
    Late *late;

    if (!hostile) {
        return true;
    }
    cancel_late_region(hostile, address);
    if (lie(hostile, LANECALL_HOSTILE_REGION, 32, &value) ==
        LANECALL_LIE_LATE) {
        late = add_late(hostile, LATE_REGION, *word);
        late->address = address;
        late->number = vector;
        return false;
    }
    *word = value;
    return true;
}

uint32_t lanecall_hostile_vector(LanecallHostile *hostile, uint32_t vector)
{
    uint64_t value = vector;
    uint32_t kind;

    if (!hostile || vector >= hostile->engine->vectors) {
        return vector;
    }
    kind = lie(hostile, LANECALL_HOSTILE_INTERRUPT, 32, &value);
    if (kind == LANECALL_LIE_LATE) {
        add_late(hostile, LATE_INTERRUPT, 0)->number = vector;
        return NO_VECTOR;
    }
    hostile->repeats[vector] =
        MAX(hostile->repeats[vector],
            lanecall_hostile_value(hostile, LANECALL_HOSTILE_REPEATS, 0));
    return value;
}

/* ---- From time to time --------------------------------------------------- */

static void tell_late(LanecallHostile *hostile, const Late *late)
{
    LanecallEngine *engine = hostile->engine;
    LanecallChannel *ch = &engine->channel[late->number % engine->channels];
    Told *told = &hostile->status[ch->number];
    uint32_t vector = ch->vector;

    switch (late->kind) {
    case LATE_WORD:
        if (!is_closed(ch)) {
            store(ch, &page_word[late->place], late->value);
        }
        break;
    case LATE_STATUS:
        if (!is_closed(ch)) {
            put_status(hostile, ch, ch->status);
        }
        break;
    case LATE_CLOSED:
        if (told->shown && is_closed(ch)) {
            told->shown = 0;
            told->word = LANECALL_CLOSED;
            lanecall_dma_put32(engine->pdev, late->address +
                               AT(status),
                               LANECALL_CLOSED);
        }
        break;
    case LATE_REGION:
        lanecall_dma_put32(engine->pdev, late->address, late->value);
        vector = late->number;
        break;
    case LATE_INTERRUPT:
        vector = late->number;
        break;
    }
    lanecall_interrupt_now(engine, vector);
}

static void tell_due(LanecallHostile *hostile, bool all)
{
    unsigned i, left = 0, count = hostile->late_count;

    for (i = 0; i < count; i++) {
        Late late = hostile->late[i];

        if (all || late.due <= hostile->tick) {
            tell_late(hostile, &late);
        } else {
            hostile->late[left++] = late;
        }
    }
    hostile->late_count = left;
}

/* One vector at each tick: a driver is kept from sleep, but not from work. */
static void repeat_interrupt(LanecallHostile *hostile)
{
    uint32_t vector = hostile->tick % hostile->engine->vectors;

    if (hostile->repeats[vector]) {
        hostile->repeats[vector]--;
        lanecall_interrupt_now(hostile->engine, vector);
    }
}

static void schedule(LanecallHostile *hostile)
{
    timer_mod(hostile->timer,
              qemu_clock_get_us(QEMU_CLOCK_VIRTUAL) + TICK_US);
}

static void on_tick(void *opaque)
{
    LanecallHostile *hostile = opaque;
    LanecallEngine *engine = hostile->engine;
    bool entered = lanecall_enter(engine);

    schedule(hostile);
    hostile->tick++;
    tell_due(hostile, false);
    lanecall_hostile_page(hostile,
        &engine->channel[random_below(hostile, engine->channels)]);
    if (engine->regions) {
        lanecall_regions_say_again(engine->regions,
                                   random_below(hostile, SLOTS_VISITED));
    }
    repeat_interrupt(hostile);
    lanecall_leave(engine, entered);
}

/* ---- Registers ----------------------------------------------------------- */

uint32_t lanecall_hostile_read(const LanecallHostile *hostile, hwaddr offset)
{
    switch (offset) {
    case LANECALL_REG_HOSTILE_PLACES_LO:
        return extract64(hostile->places, 0, 32);
    case LANECALL_REG_HOSTILE_PLACES_HI:
        return extract64(hostile->places, 32, 32);
    case LANECALL_REG_HOSTILE_KIND:
        return hostile->kind;
    case LANECALL_REG_HOSTILE_ONE_IN:
        return hostile->one_in;
    case LANECALL_REG_HOSTILE_SEED:
        return hostile->seed;
    case LANECALL_REG_HOSTILE_TOLD:
        return hostile->told;
    default:
        return 0;
    }
}

/* The truth that is late comes now, where nothing untrue is to be said. */
static void be_honest(LanecallHostile *hostile)
{
    timer_del(hostile->timer);
    tell_due(hostile, true);
    memset(hostile->repeats, 0, sizeof(hostile->repeats));
}

static void set_one_in(LanecallHostile *hostile, uint32_t value)
{
    hostile->one_in = value;
    if (value) {
        schedule(hostile);
    } else {
        be_honest(hostile);
    }
}

void lanecall_hostile_write(LanecallHostile *hostile, hwaddr offset,
                            uint32_t value)
{
    switch (offset) {
    case LANECALL_REG_HOSTILE_PLACES_LO:
        hostile->places = deposit64(hostile->places, 0, 32, value);
        break;
    case LANECALL_REG_HOSTILE_PLACES_HI:
        hostile->places = deposit64(hostile->places, 32, 32, value);
        break;
    case LANECALL_REG_HOSTILE_KIND:
        hostile->kind = MIN(value, LANECALL_LIES);
        break;
    case LANECALL_REG_HOSTILE_ONE_IN:
        set_one_in(hostile, value);
        break;
    case LANECALL_REG_HOSTILE_SEED:
        hostile->seed = value;
        g_rand_set_seed(hostile->random, value);
        break;
    }
}

/* ---- Life cycle ---------------------------------------------------------- */

LanecallHostile *lanecall_hostile_new(LanecallEngine *engine)
{
    LanecallHostile *hostile = g_new0(LanecallHostile, 1);

    hostile->engine = engine;
    hostile->seed = engine->hostile_seed;
    hostile->random = g_rand_new_with_seed(hostile->seed);
    hostile->timer = timer_new_us(QEMU_CLOCK_VIRTUAL, on_tick, hostile);
    return hostile;
}

void lanecall_hostile_reset(LanecallHostile *hostile)
{
    if (hostile) {
        hostile->late_count = 0;
        memset(hostile->status, 0, sizeof(hostile->status));
        memset(hostile->repeats, 0, sizeof(hostile->repeats));
    }
}

void lanecall_hostile_free(LanecallHostile *hostile)
{
    timer_free(hostile->timer);
    g_rand_free(hostile->random);
    g_free(hostile);
}
