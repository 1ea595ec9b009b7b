/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine as a whole: life cycle, resets, interrupts, and the account of
 * what the guest did wrong.
 */
#include "qemu/osdep.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "migration/blocker.h"
#include "engine.h"
#include "trace.h"

#define LOGGED_PER_SECOND 10

bool lanecall_wanted(const LanecallEngine *engine)
{
    return engine->rpc || engine->card_uri;
}

bool lanecall_present(const LanecallEngine *engine)
{
    return engine->channel != NULL;
}

/* ---- Ways in and out --------------------------------------------------- */

bool lanecall_enter(LanecallEngine *engine)
{
    MemReentrancyGuard *guard = &DEVICE(engine->pdev)->mem_reentrancy_guard;
    bool entered = guard->engaged_in_io;

    guard->engaged_in_io = true;
    engine->at_work = true;
    return entered;
}

static void free_servers(LanecallEngine *engine)
{
    if (engine->card) {
        lanecall_card_free(engine->card);
        engine->card = NULL;
    }
    lanecall_server_free(engine->server);
    engine->server = NULL;
}

static void free_regions(LanecallEngine *engine)
{
    if (engine->regions) {
        lanecall_regions_free(engine->regions);
        engine->regions = NULL;
    }
}

static void free_rogue(LanecallEngine *engine)
{
    if (engine->rogue) {
        lanecall_rogue_free(engine->rogue);
        engine->rogue = NULL;
    }
}

static void free_hostile(LanecallEngine *engine)
{
    if (engine->hostile) {
        lanecall_hostile_free(engine->hostile);
        engine->hostile = NULL;
    }
}

static void free_channels(LanecallEngine *engine)
{
    unsigned i;

    for (i = 0; i < engine->channels; i++) {
        lanecall_channel_destroy(&engine->channel[i]);
    }
    g_free(engine->channel);
    engine->channel = NULL;
    engine->any_pending = false;
    engine->free_due = false;
    free_servers(engine);
    free_regions(engine);
    free_rogue(engine);
    free_hostile(engine);
    g_free(engine->name);
    engine->name = NULL;
}

/* What came in the middle of the work and had to wait for its end. */
static void catch_up(LanecallEngine *engine)
{
    engine->at_work = false;
    if (engine->free_due) {
        free_channels(engine);
    } else if (engine->reset_due) {
        lanecall_engine_reset(engine);
    }
}

static void raise_vector(PCIDevice *pdev, unsigned vector)
{
    if (msix_enabled(pdev)) {
        msix_notify(pdev, vector);
    } else if (msi_enabled(pdev)) {
        msi_notify(pdev, 0);
    }
}

/* The guest may reset or remove the device with any of these interrupts. */
static void raise_pending(LanecallEngine *engine)
{
    DECLARE_BITMAP(pending, LANECALL_MAX_VECTORS);
    uint32_t generation = engine->generation;
    unsigned vector;

    bitmap_copy(pending, engine->pending, LANECALL_MAX_VECTORS);
    bitmap_zero(engine->pending, LANECALL_MAX_VECTORS);
    engine->any_pending = false;

    for (vector = find_first_bit(pending, LANECALL_MAX_VECTORS);
         vector < LANECALL_MAX_VECTORS && lanecall_present(engine) &&
         engine->generation == generation;
         vector = find_next_bit(pending, LANECALL_MAX_VECTORS, vector + 1)) {
        trace_lanecall_interrupt(engine->name, vector);
        raise_vector(engine->pdev, vector);
    }
}

void lanecall_leave(LanecallEngine *engine, bool entered)
{
    PCIDevice *pdev = engine->pdev;

    catch_up(engine);
    if (engine->any_pending) {
        raise_pending(engine);
    }
    DEVICE(pdev)->mem_reentrancy_guard.engaged_in_io = entered;
}

void lanecall_interrupt_now(LanecallEngine *engine, uint32_t vector)
{
    if (vector < engine->vectors) {
        set_bit(vector, engine->pending);
        engine->any_pending = true;
    }
}

void lanecall_interrupt(LanecallEngine *engine, uint32_t vector)
{
    lanecall_interrupt_now(engine,
                           lanecall_hostile_vector(engine->hostile, vector));
}

/* ---- Breaches ---------------------------------------------------------- */

bool lanecall_may_log(LanecallLog *log)
{
    int64_t second = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) / 1000;

    if (second != log->second) {
        log->second = second;
        log->count = 0;
    }
    return log->count++ < LOGGED_PER_SECOND;
}

void lanecall_breach(LanecallEngine *engine, const char *what, uint64_t value)
{
    engine->guest_errors++;
    trace_lanecall_breach(engine->name, what, value);
    if (lanecall_may_log(&engine->log)) {
        qemu_log_mask(LOG_GUEST_ERROR, "lanecall %s: %s: 0x%" PRIx64 "\n",
                      engine->name, what, value);
    }
}

/* ---- Life cycle -------------------------------------------------------- */

void lanecall_engine_rest(LanecallEngine *engine)
{
    if (!engine->restless_reads && !lanecall_mover_busy(engine->card->mover)) {
        engine->status &= ~LANECALL_STATUS_RESETTING;
    }
}

static void reset_card(LanecallEngine *engine)
{
    lanecall_mover_reset(engine->card->mover);
    if (lanecall_regions_reset(engine->regions)) {
        engine->restless_reads = engine->rest_reads;
    }
    engine->status = LANECALL_STATUS_RESETTING;
    lanecall_engine_rest(engine);
}

void lanecall_engine_reset(LanecallEngine *engine)
{
    unsigned i;

    engine->reset_due = false;
    for (i = 0; i < engine->channels; i++) {
        lanecall_channel_reset(&engine->channel[i]);
    }
    bitmap_zero(engine->pending, LANECALL_MAX_VECTORS);
    engine->any_pending = false;
    lanecall_hostile_reset(engine->hostile);
    memset(engine->accepted, 0, sizeof(engine->accepted));
    engine->control = 0;
    engine->status = 0;
    if (engine->card) {
        reset_card(engine);
    }
    engine->generation++;
    trace_lanecall_reset(engine->name, engine->generation);
}

void lanecall_reset(LanecallEngine *engine)
{
    if (lanecall_present(engine)) {
        lanecall_pcie_reset(engine->pdev);
        if (engine->at_work) {
            engine->reset_due = true;
        } else {
            lanecall_engine_reset(engine);
        }
    }
}

void lanecall_write_config(LanecallEngine *engine, uint32_t address,
                           uint32_t value, int len)
{
    if (lanecall_present(engine)) {
        lanecall_pcie_write_config(engine->pdev, address, value, len);
    }
}

static bool check_properties(LanecallEngine *engine, Error **errp)
{
    if (engine->channels < 1 || engine->channels > LANECALL_MAX_CHANNELS) {
        error_setg(errp, "channels=%u: must be 1 to %u", engine->channels,
                   LANECALL_MAX_CHANNELS);
        return false;
    }
    if (engine->vectors > LANECALL_MAX_VECTORS) {
        error_setg(errp, "vectors=%u: must be 1 to %u", engine->vectors,
                   LANECALL_MAX_VECTORS);
        return false;
    }
    if (!engine->vectors) {
        engine->vectors = MIN(engine->channels + 1, 65);
    }
    return lanecall_regions_check(engine, errp);
}

static bool block_migration(LanecallEngine *engine, Error **errp)
{
    error_setg(&engine->migration_blocker,
               "edu with rpc= or card= cannot be migrated: its channels are "
               "connections to servers of this host");
    if (migrate_add_blocker(engine->migration_blocker, errp) < 0) {
        error_free(engine->migration_blocker);
        engine->migration_blocker = NULL;
        return false;
    }
    return true;
}

static void unblock_migration(LanecallEngine *engine)
{
    migrate_del_blocker(engine->migration_blocker);
    error_free(engine->migration_blocker);
    engine->migration_blocker = NULL;
}

static bool init_msix(LanecallEngine *engine, Error **errp)
{
    unsigned i;

    if (msix_init_exclusive_bar(engine->pdev, engine->vectors,
                                LANECALL_BAR_MSIX, errp) < 0) {
        return false;
    }
    for (i = 0; i < engine->vectors; i++) {
        msix_vector_use(engine->pdev, i);
    }
    return true;
}

/* The servers that the properties name. Connects to none. */
static bool init_servers(LanecallEngine *engine, Error **errp)
{
    if (engine->rpc) {
        engine->server = lanecall_server_new("rpc", engine->rpc, SOCK_STREAM,
                                             errp);
        if (!engine->server) {
            return false;
        }
    }
    if (engine->card_uri) {
        engine->card = lanecall_card_new(engine, errp);
        if (!engine->card || !lanecall_card_memory_init(engine, errp)) {
            free_servers(engine);
            return false;
        }
        engine->regions = lanecall_regions_new(engine);
    }
    return true;
}

bool lanecall_realize(LanecallEngine *engine, PCIDevice *pdev, Error **errp)
{
    unsigned i;

    if (!check_properties(engine, errp)) {
        return false;
    }
    engine->pdev = pdev;
    if (!init_servers(engine, errp)) {
        return false;
    }
    if (!block_migration(engine, errp)) {
        goto fail_servers;
    }
    if (!lanecall_pcie_init(pdev, errp)) {
        goto fail_migration;
    }
    if (!init_msix(engine, errp)) {
        goto fail_pcie;
    }

    engine->name = pdev->qdev.id
        ? g_strdup(pdev->qdev.id)
        : g_strdup_printf("edu@%02x.%x", PCI_SLOT(pdev->devfn),
                          PCI_FUNC(pdev->devfn));
    /* The reset that follows every realize makes it 1. */
    engine->generation = 0;
    engine->channel = g_new0(LanecallChannel, engine->channels);
    for (i = 0; i < engine->channels; i++) {
        lanecall_channel_init(&engine->channel[i], engine, i);
    }
    if (engine->rogue_ms >= 0) {
        engine->rogue = lanecall_rogue_new(engine);
    }
    if (engine->hostile_seed >= 0) {
        engine->hostile = lanecall_hostile_new(engine);
    }
    lanecall_registers_init(engine);
    if (engine->card) {
        lanecall_card_connect(engine->card); /* else the next open does */
    }
    return true;

fail_pcie:
    lanecall_pcie_exit(pdev);
fail_migration:
    unblock_migration(engine);
fail_servers:
    free_servers(engine);
    free_regions(engine);
    return false;
}

void lanecall_unrealize(LanecallEngine *engine)
{
    if (!lanecall_present(engine)) {
        return;
    }
    msix_uninit_exclusive_bar(engine->pdev);
    lanecall_pcie_exit(engine->pdev);
    unblock_migration(engine);
    if (engine->at_work) {
        engine->free_due = true;
    } else {
        free_channels(engine);
    }
}
