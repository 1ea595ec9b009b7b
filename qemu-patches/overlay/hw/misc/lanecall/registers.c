/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BAR 2: one page of device registers, then a control block per channel, then a
 * doorbell page per channel. Decodes accesses and keeps the registers that are
 * mere storage. Only aligned 32-bit accesses have an effect.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "lanecall/hostile.h"
#include "lanecall/rogue.h"
#include "engine.h"

#define CHANNEL_OFFSET 0x1000
#define CHANNEL_STRIDE 0x80
#define DOORBELL_STRIDE (64 * KiB) /* the largest page of a CPU */
#define DOORBELL_OFFSET DOORBELL_STRIDE

QEMU_BUILD_BUG_ON(CHANNEL_STRIDE < LANECALL_CH_SIZE);
QEMU_BUILD_BUG_ON(CHANNEL_OFFSET + LANECALL_MAX_CHANNELS * CHANNEL_STRIDE >
                  DOORBELL_OFFSET);

static bool is_valid_access(hwaddr offset, unsigned size)
{
    return size == 4 && offset % 4 == 0;
}

static bool is_enabled(const LanecallEngine *engine)
{
    return engine->status & LANECALL_STATUS_ENABLED;
}

static void set_low(uint64_t *word, uint32_t value)
{
    *word = deposit64(*word, 0, 32, value);
}

static void set_high(uint64_t *word, uint32_t value)
{
    *word = deposit64(*word, 32, 32, value);
}

/* ---- Device registers -------------------------------------------------- */

static uint32_t offered(const LanecallEngine *engine)
{
    return LANECALL_FEATURE_MODERATION | LANECALL_FEATURE_USERS |
           (engine->card ? LANECALL_FEATURE_CARD_RINGS |
                           LANECALL_FEATURE_REGIONS : 0);
}

/*
 * With x-rest-reads=N a reset that ends regions takes N reads of STATUS before
 * it may be over, so that a driver can be tested that does not wait for it.
 */
static uint32_t read_status(LanecallEngine *engine)
{
    uint32_t status = engine->status;

    if (engine->restless_reads) {
        engine->restless_reads--;
        lanecall_engine_rest(engine);
    }
    return status;
}

static bool is_rogue(hwaddr offset)
{
    return offset >= LANECALL_REG_ROGUE_LO;
}

static bool is_hostile(hwaddr offset)
{
    return offset >= LANECALL_REG_HOSTILE_PLACES_LO && !is_rogue(offset);
}

static uint32_t device_read(LanecallEngine *engine, hwaddr offset)
{
    switch (offset) {
    case LANECALL_REG_MAGIC:
        return LANECALL_MAGIC;
    case LANECALL_REG_VERSION:
        return LANECALL_VERSION;
    case LANECALL_REG_FEATURES_LO:
        return offered(engine);
    case LANECALL_REG_ACCEPTED_LO:
        return engine->accepted[0];
    case LANECALL_REG_ACCEPTED_HI:
        return engine->accepted[1];
    case LANECALL_REG_CONTROL:
        return engine->control;
    case LANECALL_REG_STATUS:
        return read_status(engine);
    case LANECALL_REG_CHANNELS:
        return engine->channels;
    case LANECALL_REG_VECTORS:
        return engine->vectors;
    case LANECALL_REG_CHANNEL_OFFSET:
        return CHANNEL_OFFSET;
    case LANECALL_REG_CHANNEL_STRIDE:
        return CHANNEL_STRIDE;
    case LANECALL_REG_DOORBELL_OFFSET:
        return DOORBELL_OFFSET;
    case LANECALL_REG_DOORBELL_STRIDE:
        return DOORBELL_STRIDE;
    case LANECALL_REG_RING_SHIFTS:
        return LANECALL_RING_SHIFT_MIN | LANECALL_RING_SHIFT_MAX << 8;
    case LANECALL_REG_PAGE_SHIFTS:
        return LANECALL_PAGE_SHIFT_MIN | LANECALL_PAGE_SHIFT_MAX << 8;
    case LANECALL_REG_GENERATION:
        return engine->generation;
    case LANECALL_REG_GUEST_ERRORS:
        return engine->guest_errors;
    default: /* the high word of FEATURES too */
        if (engine->rogue && is_rogue(offset)) {
            return lanecall_rogue_read(engine->rogue, offset);
        }
        if (engine->hostile && is_hostile(offset)) {
            return lanecall_hostile_read(engine->hostile, offset);
        }
        return engine->regions ? lanecall_regions_read(engine->regions, offset)
                               : 0;
    }
}

/* A device whose memory may still be touched does not say otherwise. */
static bool may_lie(const LanecallEngine *engine, hwaddr offset)
{
    return offset / 4 < LANECALL_HOSTILE_CH_STATUS &&
           (offset != LANECALL_REG_STATUS ||
            !(engine->status & LANECALL_STATUS_RESETTING));
}

static uint32_t device_says(LanecallEngine *engine, hwaddr offset)
{
    bool lies = may_lie(engine, offset);
    uint32_t value = device_read(engine, offset);

    return lies ? lanecall_hostile_value(engine->hostile,
                                         LANECALL_HOSTILE_REGISTER(offset),
                                         value)
                : value;
}

static void write_control(LanecallEngine *engine, uint32_t value)
{
    if (!(value & LANECALL_CONTROL_ENABLE)) {
        lanecall_engine_reset(engine);
        return;
    }
    if (engine->status & LANECALL_STATUS_RESETTING) {
        return;
    }
    engine->control = LANECALL_CONTROL_ENABLE;
    if (engine->accepted[0] & ~offered(engine) || engine->accepted[1]) {
        engine->status = LANECALL_STATUS_REFUSED;
    } else {
        engine->status = LANECALL_STATUS_ENABLED;
    }
}

static void device_write(LanecallEngine *engine, hwaddr offset, uint32_t value)
{
    switch (offset) {
    case LANECALL_REG_ACCEPTED_LO:
    case LANECALL_REG_ACCEPTED_HI:
        if (!is_enabled(engine)) {
            engine->accepted[offset == LANECALL_REG_ACCEPTED_HI] = value;
        }
        break;
    case LANECALL_REG_CONTROL:
        write_control(engine, value);
        break;
    default:
        if (engine->rogue && is_rogue(offset)) {
            lanecall_rogue_write(engine->rogue, offset, value);
        } else if (engine->hostile && is_hostile(offset)) {
            lanecall_hostile_write(engine->hostile, offset, value);
        } else if (engine->regions) {
            lanecall_regions_write(engine->regions, offset, value);
        }
    }
}

/* ---- Control blocks ---------------------------------------------------- */

static uint32_t block_read(LanecallChannel *ch, hwaddr offset)
{
    switch (offset) {
    case LANECALL_CH_STATUS:
        return lanecall_hostile_status(ch->engine->hostile, ch);
    case LANECALL_CH_VECTOR:
        return ch->block.vector;
    case LANECALL_CH_FLAGS:
        return ch->block.flags;
    case LANECALL_CH_INDEX_LO:
        return extract64(ch->block.index, 0, 32);
    case LANECALL_CH_INDEX_HI:
        return extract64(ch->block.index, 32, 32);
    case LANECALL_CH_TX_TABLE_LO:
        return extract64(ch->block.tx_table, 0, 32);
    case LANECALL_CH_TX_TABLE_HI:
        return extract64(ch->block.tx_table, 32, 32);
    case LANECALL_CH_RX_TABLE_LO:
        return extract64(ch->block.rx_table, 0, 32);
    case LANECALL_CH_RX_TABLE_HI:
        return extract64(ch->block.rx_table, 32, 32);
    case LANECALL_CH_TX_SHIFT:
        return ch->block.tx_shift;
    case LANECALL_CH_RX_SHIFT:
        return ch->block.rx_shift;
    case LANECALL_CH_PAGE_SHIFT:
        return ch->block.page_shift;
    case LANECALL_CH_MODERATE_BYTES:
        return ch->block.moderate_bytes;
    case LANECALL_CH_MODERATE_US:
        return ch->block.moderate_us;
    case LANECALL_CH_USER:
        return ch->block.user;
    default:
        return 0;
    }
}

static void block_write(LanecallChannel *ch, hwaddr offset, uint32_t value)
{
    switch (offset) {
    case LANECALL_CH_COMMAND:
        if (is_enabled(ch->engine)) {
            lanecall_channel_command(ch,
                lanecall_hostile_command(ch->engine->hostile,
                                         LANECALL_HOSTILE_COMMAND, value,
                                         LANECALL_CMD_ATTACH));
        }
        break;
    case LANECALL_CH_VECTOR:
        ch->block.vector = value;
        break;
    case LANECALL_CH_FLAGS:
        ch->block.flags = value;
        break;
    case LANECALL_CH_INDEX_LO:
        set_low(&ch->block.index, value);
        break;
    case LANECALL_CH_INDEX_HI:
        set_high(&ch->block.index, value);
        break;
    case LANECALL_CH_TX_TABLE_LO:
        set_low(&ch->block.tx_table, value);
        break;
    case LANECALL_CH_TX_TABLE_HI:
        set_high(&ch->block.tx_table, value);
        break;
    case LANECALL_CH_RX_TABLE_LO:
        set_low(&ch->block.rx_table, value);
        break;
    case LANECALL_CH_RX_TABLE_HI:
        set_high(&ch->block.rx_table, value);
        break;
    case LANECALL_CH_TX_SHIFT:
        ch->block.tx_shift = value;
        break;
    case LANECALL_CH_RX_SHIFT:
        ch->block.rx_shift = value;
        break;
    case LANECALL_CH_PAGE_SHIFT:
        ch->block.page_shift = value;
        break;
    case LANECALL_CH_MODERATE_BYTES:
        ch->block.moderate_bytes = value;
        break;
    case LANECALL_CH_MODERATE_US:
        ch->block.moderate_us = value;
        break;
    case LANECALL_CH_USER:
        ch->block.user = value;
        break;
    }
}

/* ---- The BAR ----------------------------------------------------------- */

/*
 * A vCPU's access that has found the BAR waits for the big lock, and may get it
 * when another vCPU has removed the device.
 */
static bool is_access_to_nothing(const LanecallEngine *engine)
{
    return !lanecall_present(engine);
}

static LanecallChannel *channel_of_block(LanecallEngine *engine, hwaddr offset)
{
    hwaddr n = (offset - CHANNEL_OFFSET) / CHANNEL_STRIDE;

    return n < engine->channels ? &engine->channel[n] : NULL;
}

static uint64_t bar_read(void *opaque, hwaddr offset, unsigned size)
{
    LanecallEngine *engine = opaque;
    LanecallChannel *ch;

    if (is_access_to_nothing(engine) || !is_valid_access(offset, size) ||
        offset >= DOORBELL_OFFSET) {
        return 0;
    }
    if (offset < CHANNEL_OFFSET) {
        return device_says(engine, offset);
    }
    ch = channel_of_block(engine, offset);
    return ch ? block_read(ch, (offset - CHANNEL_OFFSET) % CHANNEL_STRIDE) : 0;
}

static void doorbell_write(LanecallEngine *engine, hwaddr offset)
{
    hwaddr n = offset / DOORBELL_STRIDE;

    if (offset % DOORBELL_STRIDE || !is_enabled(engine)) {
        return;
    }
    n = lanecall_hostile_value(engine->hostile, LANECALL_HOSTILE_DOORBELL, n);
    if (n < engine->channels) {
        lanecall_channel_doorbell(&engine->channel[n]);
    }
}

static void bar_write(void *opaque, hwaddr offset, uint64_t value,
                      unsigned size)
{
    LanecallEngine *engine = opaque;
    LanecallChannel *ch;
    bool entered;

    if (is_access_to_nothing(engine) || !is_valid_access(offset, size)) {
        return;
    }
    entered = lanecall_enter(engine);
    if (offset >= DOORBELL_OFFSET) {
        doorbell_write(engine, offset - DOORBELL_OFFSET);
    } else if (offset < CHANNEL_OFFSET) {
        device_write(engine, offset, value);
    } else {
        ch = channel_of_block(engine, offset);
        if (ch) {
            block_write(ch, (offset - CHANNEL_OFFSET) % CHANNEL_STRIDE, value);
        }
    }
    lanecall_leave(engine, entered);
}

/* Every width and alignment is let through, to be ignored as specified. */
static const MemoryRegionOps bar_ops = {
    .read = bar_read,
    .write = bar_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

void lanecall_registers_init(LanecallEngine *engine)
{
    uint64_t bytes = DOORBELL_OFFSET + engine->channels * DOORBELL_STRIDE;

    memory_region_init_io(&engine->bar, OBJECT(engine->pdev), &bar_ops, engine,
                          "lanecall", pow2ceil(bytes));
    pci_register_bar(engine->pdev, LANECALL_BAR_REGS,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &engine->bar);
}
