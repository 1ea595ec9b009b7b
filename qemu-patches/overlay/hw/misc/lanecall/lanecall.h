/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lanecall: the RPC engine of the edu device, as edu sees it.
 *
 * The engine gives a PCI device BAR 1 (MSI-X), BAR 2 (registers and doorbells)
 * and, on an express bus, the capabilities of a PCIe endpoint. Each of its
 * channels carries one byte stream: between two rings in guest memory and one
 * connection to a server of the host (rpc=), or between rings in card memory,
 * BAR 4, that a server of the host maps itself (card=). That server can also
 * have bytes moved between card memory and memory that the guest has lent.
 * docs/device.md of the Lanecall project specifies it.
 *
 * Everything here runs under the big lock, but for the copying of bulk data,
 * and nothing blocks. The structure is part of the device, so it stays valid
 * for as long as the device's memory regions are referenced.
 */
#ifndef HW_MISC_LANECALL_H
#define HW_MISC_LANECALL_H

#include "hw/pci/pci.h"
#include "lanecall/device.h"

#define LANECALL_MAX_VECTORS (LANECALL_MAX_CHANNELS + 1)

typedef struct LanecallChannel LanecallChannel;
typedef struct LanecallServer LanecallServer;
typedef struct LanecallCard LanecallCard;
typedef struct LanecallRegion LanecallRegion;
typedef struct LanecallRegions LanecallRegions;
typedef struct LanecallPacket LanecallPacket;
typedef struct LanecallMover LanecallMover;
typedef struct LanecallRogue LanecallRogue;
typedef struct LanecallHostile LanecallHostile;

/* Bounds what others can have written to the log: messages in this second. */
typedef struct LanecallLog {
    int64_t second;
    unsigned count;
} LanecallLog;

typedef struct LanecallEngine {
    /* Properties. With neither rpc nor card there is no engine. */
    char *rpc;
    char *card_uri;
    uint64_t card_bytes;
    uint32_t region_slots;
    uint32_t region_extents;
    uint32_t channels;
    uint32_t vectors; /* 0: one per channel and one for edu, at most 65 */
    bool proxy; /* says who opened a channel, first on each connection */
    uint32_t rest_reads; /* for tests of drivers; see read_status() */
    int64_t hostile_seed; /* for tests: see hostile.c; -1: honest */
    int32_t rogue_ms; /* for tests: see rogue.c; 0: no interval, -1: good */

    PCIDevice *pdev;
    char *name; /* of the device, for traces and logs */
    LanecallServer *server; /* NULL without rpc */
    LanecallCard *card; /* NULL without card */
    LanecallRegions *regions; /* NULL without card */
    LanecallRogue *rogue; /* NULL without x-rogue-dma */
    LanecallHostile *hostile; /* NULL without x-hostile */
    LanecallChannel *channel; /* an array of `channels`; NULL if unrealized */
    MemoryRegion bar;
    MemoryRegion card_memory; /* with card only */
    Error *migration_blocker;

    /* Device registers that have a state. */
    uint32_t accepted[2];
    uint32_t control;
    uint32_t status;
    uint32_t generation;
    uint32_t guest_errors;
    uint32_t restless_reads; /* of STATUS, before it may show rest */

    /* Is code at work, and what has it to do at its end? See engine.h. */
    bool at_work;
    bool reset_due;
    bool free_due;

    /* Vectors to be raised when the code at work has come to its end. */
    DECLARE_BITMAP(pending, LANECALL_MAX_VECTORS);
    bool any_pending;

    LanecallLog log; /* of breaches */
} LanecallEngine;

/* Do the properties ask for an engine? Valid before realize. */
bool lanecall_wanted(const LanecallEngine *engine);

/* Is there one? */
bool lanecall_present(const LanecallEngine *engine);

/*
 * Adds the engine to @pdev, whose QEMU_PCI_CAP_EXPRESS was set before the PCI
 * core realized it. Returns false with @errp set and nothing left behind.
 */
bool lanecall_realize(LanecallEngine *engine, PCIDevice *pdev, Error **errp);
void lanecall_unrealize(LanecallEngine *engine);

/* A reset of the device: bus reset, function-level reset, power-on. */
void lanecall_reset(LanecallEngine *engine);

/* After pci_default_write_config(). */
void lanecall_write_config(LanecallEngine *engine, uint32_t address,
                           uint32_t value, int len);

#endif
