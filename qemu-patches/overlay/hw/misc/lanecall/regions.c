/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions: guest memory that the driver has lent, by slot for the driver and by
 * key for the card's server. lanecall/region.h specifies them.
 *
 * ADD copies everything, since a guest can change its tables at any time: the
 * descriptor and some pages of extents at once, the rest a few pages at a time,
 * by turns if several slots are being added. Whether an extent is memory shows
 * when its bytes are moved, by mover.c: until then it may come and go.
 */
#include "qemu/osdep.h"
#include "qemu/guest-random.h"
#include "qemu/main-loop.h"
#include "qemu/xxhash.h"
#include "qapi/error.h"
#include "lanecall/hostile.h"
#include "engine.h"
#include "trace.h"

#define PAGES_PER_TURN 16

typedef enum State {
    SLOT_FREE,
    SLOT_ADDING,
    SLOT_ACTIVE,
    SLOT_REMOVING, /* until nothing is on its way any more */
} State;

typedef struct Extent {
    uint64_t begin; /* offset in the region */
    uint64_t address;
} Extent;

struct LanecallRegion {
    State state;
    uint32_t vector;
    uint64_t descriptor; /* its bus address */
    uint64_t key;
    uint64_t bytes;
    uint32_t access;
    uint32_t announced; /* extents that the descriptor tells of */
    uint32_t taken; /* of them, so far */
    uint64_t taken_bytes;
    uint64_t next_page; /* bus address of those that follow */
    Extent *extent; /* sorted; neighbours in memory are one */
    uint32_t extents;
    bool disowned; /* the driver was told that it is FREE, and it is not */
    unsigned in_flight; /* pieces of it that mover.c has mapped */
    QLIST_ENTRY(LanecallRegion) same_hash; /* unless FREE or REMOVING */
    QTAILQ_ENTRY(LanecallRegion) next; /* that is ADDING */
};

typedef QLIST_HEAD(, LanecallRegion) Bucket;

struct LanecallRegions {
    LanecallEngine *engine;
    LanecallRegion *slot;
    Bucket *bucket;
    uint32_t buckets; /* a power of two */
    uint64_t salt; /* so that no guest can choose what shares a bucket */
    uint32_t extents; /* of all slots */
    QTAILQ_HEAD(, LanecallRegion) adding;
    QEMUBH *add;

    /* Registers. */
    uint32_t chosen_slot;
    uint32_t vector;
    uint64_t address;
};

/* ---- By key -------------------------------------------------------------- */

static Bucket *bucket_of(LanecallRegions *regions, uint64_t key)
{
    uint32_t hash = qemu_xxhash4(key, regions->salt);

    return &regions->bucket[hash & (regions->buckets - 1)];
}

static LanecallRegion *find(LanecallRegions *regions, uint64_t key)
{
    LanecallRegion *region;

    QLIST_FOREACH(region, bucket_of(regions, key), same_hash) {
        if (region->key == key) {
            return region;
        }
    }
    return NULL;
}

LanecallRegion *lanecall_region_find(LanecallRegions *regions, uint64_t key)
{
    LanecallRegion *region = find(regions, key);

    return region && region->state == SLOT_ACTIVE ? region : NULL;
}

bool lanecall_region_allows(const LanecallRegion *region, uint32_t access)
{
    return region->access & access;
}

uint64_t lanecall_region_bytes(const LanecallRegion *region)
{
    return region->bytes;
}

/* The last extent that begins at @offset or before. */
static uint32_t extent_at(const LanecallRegion *region, uint64_t offset)
{
    uint32_t low = 0, high = region->extents;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (region->extent[middle].begin <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t lanecall_region_address(const LanecallRegion *region, uint64_t offset,
                                 uint64_t *bytes)
{
    uint32_t n = extent_at(region, offset);
    const Extent *extent = &region->extent[n];
    uint64_t end = n + 1 < region->extents ? extent[1].begin : region->bytes;

    *bytes = MIN(*bytes, end - offset);
    return extent->address + (offset - extent->begin);
}

static uint64_t extent_bytes(const LanecallRegion *region, uint32_t n)
{
    uint64_t end = n + 1 < region->extents ? region->extent[n + 1].begin
                                           : region->taken_bytes;

    return end - region->extent[n].begin;
}

static bool region_has(const LanecallRegion *region, uint64_t address)
{
    uint32_t i;

    for (i = 0; i < region->extents; i++) {
        if (address - region->extent[i].address < extent_bytes(region, i)) {
            return true;
        }
    }
    return false;
}

bool lanecall_regions_have(const LanecallRegions *regions, uint64_t address)
{
    uint32_t i;

    for (i = 0; i < regions->engine->region_slots; i++) {
        if (region_has(&regions->slot[i], address)) {
            return true;
        }
    }
    return false;
}

/* ---- The driver is told -------------------------------------------------- */

/* If it cannot be written, the driver has taken its own descriptor away. */
static bool tell(LanecallRegions *regions, LanecallRegion *region,
                 uint32_t state, uint32_t error)
{
    LanecallEngine *engine = regions->engine;
    uint64_t address = region->descriptor +
                       offsetof(struct lanecall_region, status);
    uint32_t word = LANECALL_REGION_WORD(state, error);
    bool told = !lanecall_hostile_says(engine->hostile, address,
                                       region->vector, &word) ||
                lanecall_dma_put32(engine->pdev, address, word);

    region->disowned = LANECALL_REGION_STATE(word) == LANECALL_REGION_FREE;
    trace_lanecall_region(engine->name, region - regions->slot, state, error);
    lanecall_interrupt(engine, region->vector);
    return told;
}

/* Gives back all that the slot holds. */
static void clear_slot(LanecallRegions *regions, LanecallRegion *region)
{
    uint32_t i;

    for (i = 0; regions->engine->rogue && i < region->extents; i++) {
        lanecall_rogue_note(regions->engine->rogue, region->extent[i].address,
                            extent_bytes(region, i));
    }
    if (region->state == SLOT_ADDING) {
        QTAILQ_REMOVE(&regions->adding, region, next);
    }
    if (region->state == SLOT_ADDING || region->state == SLOT_ACTIVE) {
        QLIST_REMOVE(region, same_hash);
    }
    regions->extents -= region->announced;
    g_free(region->extent);
    memset(region, 0, sizeof(*region));
}

static void free_slot(LanecallRegions *regions, LanecallRegion *region,
                      uint32_t error)
{
    if (error == LANECALL_ERR_PROTOCOL || error == LANECALL_ERR_DMA) {
        lanecall_breach(regions->engine, "ADD of a bad region, slot",
                        region - regions->slot);
    }
    tell(regions, region, LANECALL_REGION_FREE, error);
    clear_slot(regions, region);
}

/* ---- ADD ----------------------------------------------------------------- */

static bool is_valid_descriptor_address(uint64_t address)
{
    return address % LANECALL_REGION_BYTES == 0;
}

static bool is_valid_page_address(uint64_t address)
{
    return address % sizeof(struct lanecall_extent_page) == 0;
}

static bool is_valid_access(uint32_t access)
{
    return access &&
           !(access & ~(LANECALL_REGION_MAY_READ | LANECALL_REGION_MAY_WRITE));
}

static bool is_valid_extent(uint64_t address, uint64_t bytes)
{
    return bytes && address + bytes > address;
}

static bool is_valid_region(const LanecallEngine *engine,
                            const LanecallRegion *region, uint32_t announced)
{
    return region->vector < engine->vectors && region->key &&
           region->bytes && is_valid_access(region->access) && announced;
}

/* What is wrong with a descriptor? If nothing is, the slot is ADDING. */
static uint32_t take_descriptor(LanecallRegions *regions,
                                LanecallRegion *region,
                                const struct lanecall_region *descriptor)
{
    uint32_t announced = le32_to_cpu(descriptor->extents);

    region->key = le64_to_cpu(descriptor->key);
    region->bytes = le64_to_cpu(descriptor->bytes);
    region->access = le32_to_cpu(descriptor->access);
    region->next_page = le64_to_cpu(descriptor->first);
    if (!is_valid_region(regions->engine, region, announced) ||
        find(regions, region->key)) {
        return LANECALL_ERR_PROTOCOL;
    }
    if (announced > regions->engine->region_extents - regions->extents) {
        return LANECALL_ERR_RESOURCES;
    }
    region->extent = g_try_new(Extent, announced);
    if (!region->extent) {
        return LANECALL_ERR_RESOURCES;
    }
    region->announced = announced;
    regions->extents += announced;
    region->state = SLOT_ADDING;
    QLIST_INSERT_HEAD(bucket_of(regions, region->key), region, same_hash);
    QTAILQ_INSERT_TAIL(&regions->adding, region, next);
    return LANECALL_ERR_NONE;
}

static void append_extent(LanecallRegion *region, uint64_t address)
{
    const Extent *last;

    if (region->extents) {
        last = &region->extent[region->extents - 1];
        if (last->address + (region->taken_bytes - last->begin) == address) {
            return;
        }
    }
    region->extent[region->extents++] = (Extent) {
        .begin = region->taken_bytes,
        .address = address,
    };
}

static uint32_t take_page(LanecallRegions *regions, LanecallRegion *region)
{
    struct lanecall_extent_page page;
    uint32_t count = MIN(region->announced - region->taken,
                         LANECALL_EXTENTS_PER_PAGE);
    uint32_t i;

    if (!is_valid_page_address(region->next_page)) {
        return LANECALL_ERR_PROTOCOL;
    }
    if (!lanecall_dma_read(regions->engine->pdev, region->next_page, &page,
                           sizeof(page))) {
        return LANECALL_ERR_DMA;
    }
    for (i = 0; i < count; i++) {
        uint64_t address = le64_to_cpu(page.extent[i].address);
        uint64_t bytes = le64_to_cpu(page.extent[i].bytes);

        if (!is_valid_extent(address, bytes) ||
            bytes > region->bytes - region->taken_bytes) {
            return LANECALL_ERR_PROTOCOL;
        }
        append_extent(region, address);
        region->taken_bytes += bytes;
    }
    region->taken += count;
    region->next_page = le64_to_cpu(page.next);
    return LANECALL_ERR_NONE;
}

static void tell_active(LanecallRegions *regions, LanecallRegion *region)
{
    if (!tell(regions, region, LANECALL_REGION_ACTIVE, LANECALL_ERR_NONE)) {
        free_slot(regions, region, LANECALL_ERR_DMA);
    } else if (region->disowned) {
        clear_slot(regions, region);
    }
}

static void activate(LanecallRegions *regions, LanecallRegion *region)
{
    if (region->taken_bytes != region->bytes) {
        free_slot(regions, region, LANECALL_ERR_PROTOCOL);
        return;
    }
    QTAILQ_REMOVE(&regions->adding, region, next);
    region->state = SLOT_ACTIVE;
    region->extent = g_renew(Extent, region->extent, region->extents);
    tell_active(regions, region);
}

void lanecall_regions_say_again(LanecallRegions *regions, uint32_t slot)
{
    LanecallRegion *region = &regions->slot[slot];

    if (slot < regions->engine->region_slots &&
        region->state == SLOT_ACTIVE && !region->in_flight) {
        tell_active(regions, region);
    }
}

/* Some of what is left, as it becomes the slot's turn. */
static void add_some(LanecallRegions *regions, LanecallRegion *region)
{
    uint32_t error = LANECALL_ERR_NONE;
    unsigned i;

    for (i = 0; i < PAGES_PER_TURN && region->taken < region->announced &&
         !error; i++) {
        error = take_page(regions, region);
    }
    if (error) {
        free_slot(regions, region, error);
    } else if (region->taken == region->announced) {
        activate(regions, region);
    } else {
        QTAILQ_REMOVE(&regions->adding, region, next);
        QTAILQ_INSERT_TAIL(&regions->adding, region, next);
        qemu_bh_schedule(regions->add);
    }
}

static void on_add(void *opaque)
{
    LanecallRegions *regions = opaque;
    LanecallEngine *engine = regions->engine;
    bool entered = lanecall_enter(engine);
    LanecallRegion *region = QTAILQ_FIRST(&regions->adding);

    if (region) {
        add_some(regions, region);
    }
    if (!QTAILQ_EMPTY(&regions->adding)) {
        qemu_bh_schedule(regions->add);
    }
    lanecall_leave(engine, entered);
}

static void command_add(LanecallRegions *regions, LanecallRegion *region)
{
    LanecallEngine *engine = regions->engine;
    struct lanecall_region descriptor;
    uint64_t address = regions->address;
    uint32_t error;

    if (!is_valid_descriptor_address(address) ||
        !lanecall_dma_read(engine->pdev, address, &descriptor,
                           offsetof(struct lanecall_region, status))) {
        lanecall_breach(engine, "ADD of a region without a descriptor",
                        address);
        return;
    }
    region->vector = regions->vector;
    region->descriptor = address;
    error = take_descriptor(regions, region, &descriptor);
    if (error) {
        free_slot(regions, region, error);
    } else {
        add_some(regions, region);
    }
}

/* ---- REMOVE -------------------------------------------------------------- */

void lanecall_region_hold(LanecallRegion *region)
{
    region->in_flight++;
}

void lanecall_region_release(LanecallRegions *regions, LanecallRegion *region)
{
    region->in_flight--;
    if (!region->in_flight && region->state == SLOT_REMOVING) {
        free_slot(regions, region, LANECALL_ERR_NONE);
    }
}

static void command_remove(LanecallRegions *regions, LanecallRegion *region)
{
    if (region->state == SLOT_ACTIVE && region->in_flight) {
        QLIST_REMOVE(region, same_hash);
        region->state = SLOT_REMOVING;
    }
    lanecall_mover_revoke(regions->engine->card->mover, region);
    if (region->state != SLOT_REMOVING) {
        free_slot(regions, region, LANECALL_ERR_NONE);
    }
}

/* ---- Registers ----------------------------------------------------------- */

static bool is_valid_command(const LanecallRegion *region, uint32_t command)
{
    switch (command) {
    case LANECALL_REGION_ADD:
        return region->state == SLOT_FREE;
    case LANECALL_REGION_REMOVE:
        return region->state == SLOT_ADDING || region->state == SLOT_ACTIVE;
    default:
        return false;
    }
}

static void run_command(LanecallRegions *regions, uint32_t command)
{
    LanecallEngine *engine = regions->engine;
    LanecallRegion *region;

    if (regions->chosen_slot >= engine->region_slots) {
        lanecall_breach(engine, "region command for a slot beyond the last",
                        regions->chosen_slot);
        return;
    }
    region = &regions->slot[regions->chosen_slot];
    if (!is_valid_command(region, command)) {
        lanecall_breach(engine, "bad region command", command);
    } else if (command == LANECALL_REGION_ADD) {
        command_add(regions, region);
    } else {
        command_remove(regions, region);
    }
}

uint32_t lanecall_regions_read(const LanecallRegions *regions, hwaddr offset)
{
    switch (offset) {
    case LANECALL_REG_REGIONS:
        return regions->engine->region_slots;
    case LANECALL_REG_REGION_EXTENTS:
        return regions->engine->region_extents;
    case LANECALL_REG_REGION_VECTOR:
        return regions->vector;
    case LANECALL_REG_REGION_SLOT:
        return regions->chosen_slot;
    case LANECALL_REG_REGION_LO:
        return extract64(regions->address, 0, 32);
    case LANECALL_REG_REGION_HI:
        return extract64(regions->address, 32, 32);
    default:
        return 0;
    }
}

static bool takes_commands(const LanecallEngine *engine)
{
    return engine->status & LANECALL_STATUS_ENABLED &&
           engine->accepted[0] & LANECALL_FEATURE_REGIONS;
}

void lanecall_regions_write(LanecallRegions *regions, hwaddr offset,
                            uint32_t value)
{
    switch (offset) {
    case LANECALL_REG_REGION_VECTOR:
        regions->vector = value;
        break;
    case LANECALL_REG_REGION_SLOT:
        regions->chosen_slot = value;
        break;
    case LANECALL_REG_REGION_LO:
        regions->address = deposit64(regions->address, 0, 32, value);
        break;
    case LANECALL_REG_REGION_HI:
        regions->address = deposit64(regions->address, 32, 32, value);
        break;
    case LANECALL_REG_REGION_COMMAND:
        if (takes_commands(regions->engine)) {
            run_command(regions,
                lanecall_hostile_command(regions->engine->hostile,
                                         LANECALL_HOSTILE_REGION_COMMAND,
                                         value, LANECALL_REGION_ADD));
        }
        break;
    }
}

/* ---- Life cycle ---------------------------------------------------------- */

bool lanecall_regions_check(const LanecallEngine *engine, Error **errp)
{
    if (engine->region_slots < 1 ||
        engine->region_slots > LANECALL_MAX_REGIONS) {
        error_setg(errp, "regions=%u: must be 1 to %u", engine->region_slots,
                   LANECALL_MAX_REGIONS);
        return false;
    }
    if (engine->region_extents < 1 ||
        engine->region_extents > LANECALL_REGION_EXTENTS_MAX) {
        error_setg(errp, "region-extents=%u: must be 1 to %u",
                   engine->region_extents, LANECALL_REGION_EXTENTS_MAX);
        return false;
    }
    return true;
}

LanecallRegions *lanecall_regions_new(LanecallEngine *engine)
{
    LanecallRegions *regions = g_new0(LanecallRegions, 1);

    regions->engine = engine;
    regions->slot = g_new0(LanecallRegion, engine->region_slots);
    regions->buckets = pow2ceil(engine->region_slots);
    regions->bucket = g_new0(Bucket, regions->buckets);
    qemu_guest_getrandom_nofail(&regions->salt, sizeof(regions->salt));
    QTAILQ_INIT(&regions->adding);
    regions->add = qemu_bh_new_guarded(on_add, regions,
                               &DEVICE(engine->pdev)->mem_reentrancy_guard);
    return regions;
}

bool lanecall_regions_reset(LanecallRegions *regions)
{
    bool any = false;
    uint32_t i;

    for (i = 0; i < regions->engine->region_slots; i++) {
        if (regions->slot[i].state != SLOT_FREE) {
            clear_slot(regions, &regions->slot[i]);
            any = true;
        }
    }
    regions->chosen_slot = 0;
    regions->vector = 0;
    regions->address = 0;
    return any;
}

void lanecall_regions_free(LanecallRegions *regions)
{
    lanecall_regions_reset(regions);
    qemu_bh_delete(regions->add);
    g_free(regions->bucket);
    g_free(regions->slot);
    g_free(regions);
}
