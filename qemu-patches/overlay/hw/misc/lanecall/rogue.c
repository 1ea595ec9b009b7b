/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device that misbehaves, for tests: with x-rogue-dma it writes to addresses
 * that it was never given, or that it has given back, and counts how many of
 * the writes were stopped. lanecall/rogue.h has the registers that command it.
 *
 * The writes go the way of all others, through the device's own DMA address
 * space, so what stops them is what would stop a broken card: an IOMMU, or bus
 * mastering that is off. Without either they do harm.
 *
 * At intervals only addresses are tried that the test has chosen, or random
 * ones in RAM. One that was given back may be mapped again at any moment, for
 * memory that is about to be given: whether a write there is to be stopped is
 * for a test to know, which commands it.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "hw/boards.h"
#include "lanecall/rogue.h"
#include "engine.h"
#include "trace.h"

#define PAGE_BYTES 4096 /* the smallest unit that can be given */
#define DRAWS 64 /* before a random address that was given is left out */

struct LanecallRogue {
    LanecallEngine *engine;
    QEMUTimer *timer; /* NULL: only on command */
    GRand *random;
    uint32_t seed;
    uint64_t chosen;
    uint32_t tried;
    uint32_t blocked;
    uint64_t given_back[LANECALL_ROGUE_REMEMBERED_MAX]; /* pages, in a circle */
    uint64_t given_back_count; /* of all that were noted */
};

static unsigned remembered(const LanecallRogue *rogue)
{
    return MIN(rogue->given_back_count, LANECALL_ROGUE_REMEMBERED_MAX);
}

/* ---- Attempts ------------------------------------------------------------ */

static bool write_word(PCIDevice *pdev, uint64_t address)
{
    uint64_t word = cpu_to_le64(LANECALL_ROGUE_WORD);
    uint64_t len = sizeof(word);
    void *piece = lanecall_dma_map_piece(pdev, address, &len, true);

    if (piece) {
        memcpy(piece, &word, len);
        lanecall_dma_unmap_piece(pdev, piece, len, len);
    }
    return piece;
}

static void attempt(LanecallRogue *rogue, uint64_t address)
{
    bool written = write_word(rogue->engine->pdev, address);

    rogue->tried++;
    rogue->blocked += !written;
    trace_lanecall_rogue(rogue->engine->name, address, written);
}

/* Is the address one that the device may use, as far as it keeps them? */
static bool is_given(const LanecallEngine *engine, uint64_t address)
{
    unsigned i;

    for (i = 0; i < engine->channels; i++) {
        if (lanecall_channel_has(&engine->channel[i], address)) {
            return true;
        }
    }
    return engine->regions && lanecall_regions_have(engine->regions, address);
}

static void try_chosen(LanecallRogue *rogue, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        attempt(rogue, rogue->chosen + i * sizeof(uint64_t));
    }
}

/* A random word of RAM: where without an IOMMU there is something to spoil. */
static uint64_t draw(LanecallRogue *rogue)
{
    uint64_t words = MIN(current_machine->ram_size, 2 * GiB) / sizeof(uint64_t);

    return g_rand_int(rogue->random) % words * sizeof(uint64_t);
}

static void try_random(LanecallRogue *rogue, unsigned count)
{
    unsigned i, draws;

    for (i = 0; i < count; i++) {
        uint64_t address = draw(rogue);

        for (draws = 1; is_given(rogue->engine, address) && draws < DRAWS;
             draws++) {
            address = draw(rogue);
        }
        if (draws < DRAWS) {
            attempt(rogue, address);
        }
    }
}

static void try_given_back(LanecallRogue *rogue)
{
    unsigned i, count = remembered(rogue);

    for (i = 0; i < count; i++) {
        if (!is_given(rogue->engine, rogue->given_back[i])) {
            attempt(rogue, rogue->given_back[i]);
        }
    }
}

static void on_interval(void *opaque)
{
    LanecallRogue *rogue = opaque;
    LanecallEngine *engine = rogue->engine;
    bool entered = lanecall_enter(engine);

    timer_mod(rogue->timer, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) +
                            engine->rogue_ms);
    try_random(rogue, 1);
    if (rogue->chosen) {
        try_chosen(rogue, 1);
    }
    lanecall_leave(engine, entered);
}

/* ---- What was given back ------------------------------------------------- */

void lanecall_rogue_note(LanecallRogue *rogue, uint64_t address, uint64_t bytes)
{
    uint64_t done;

    if (!rogue) {
        return;
    }
    bytes = MIN(bytes, (uint64_t)LANECALL_ROGUE_REMEMBERED_MAX * PAGE_BYTES);
    for (done = 0; done < bytes; done += PAGE_BYTES) {
        rogue->given_back[rogue->given_back_count++ %
                          LANECALL_ROGUE_REMEMBERED_MAX] = address + done;
    }
}

/* ---- Registers ----------------------------------------------------------- */

uint32_t lanecall_rogue_read(const LanecallRogue *rogue, hwaddr offset)
{
    switch (offset) {
    case LANECALL_REG_ROGUE_LO:
        return extract64(rogue->chosen, 0, 32);
    case LANECALL_REG_ROGUE_HI:
        return extract64(rogue->chosen, 32, 32);
    case LANECALL_REG_ROGUE_SEED:
        return rogue->seed;
    case LANECALL_REG_ROGUE_TRIED:
        return rogue->tried;
    case LANECALL_REG_ROGUE_BLOCKED:
        return rogue->blocked;
    case LANECALL_REG_ROGUE_REMEMBERED:
        return remembered(rogue);
    default:
        return 0;
    }
}

static void run_command(LanecallRogue *rogue, uint32_t value)
{
    unsigned count = MIN(value >> 8, LANECALL_ROGUE_COUNT_MAX);

    switch (value & 0xff) {
    case LANECALL_ROGUE_CHOSEN:
        try_chosen(rogue, count);
        break;
    case LANECALL_ROGUE_RANDOM:
        try_random(rogue, count);
        break;
    case LANECALL_ROGUE_GIVEN_BACK:
        try_given_back(rogue);
        break;
    case LANECALL_ROGUE_FORGET:
        rogue->given_back_count = 0;
        break;
    }
}

void lanecall_rogue_write(LanecallRogue *rogue, hwaddr offset, uint32_t value)
{
    switch (offset) {
    case LANECALL_REG_ROGUE_LO:
        rogue->chosen = deposit64(rogue->chosen, 0, 32, value);
        break;
    case LANECALL_REG_ROGUE_HI:
        rogue->chosen = deposit64(rogue->chosen, 32, 32, value);
        break;
    case LANECALL_REG_ROGUE_SEED:
        rogue->seed = value;
        g_rand_set_seed(rogue->random, value);
        break;
    case LANECALL_REG_ROGUE_COMMAND:
        run_command(rogue, value);
        break;
    }
}

/* ---- Life cycle ---------------------------------------------------------- */

LanecallRogue *lanecall_rogue_new(LanecallEngine *engine)
{
    LanecallRogue *rogue = g_new0(LanecallRogue, 1);

    rogue->engine = engine;
    rogue->random = g_rand_new_with_seed(0);
    if (engine->rogue_ms > 0) {
        rogue->timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, on_interval, rogue);
        timer_mod(rogue->timer, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) +
                                engine->rogue_ms);
    }
    return rogue;
}

void lanecall_rogue_free(LanecallRogue *rogue)
{
    if (rogue->timer) {
        timer_free(rogue->timer);
    }
    g_rand_free(rogue->random);
    g_free(rogue);
}
