/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Card memory: a memory file that is BAR 4 and that the card's server maps,
 * too. It is sealed to its size, so that nobody's page of it can go away.
 *
 * The server chooses where in it a channel's parts lie; here is what keeps them
 * apart. A channel holds its places until it is CLOSED, whatever becomes of the
 * server meanwhile: until then a program of the guest may have them mapped.
 *
 * A page fault in card memory may take long: it waits while the server punches
 * a hole in the file, 5 to 200 ms for each of its pages where 64 MiB go, and
 * then perhaps for the next hole. So what is done there under the big lock is
 * little, 64 KiB at most, and it is timed: after work that was held up the main
 * loop leaves card memory alone for PAUSE times as long. Thus a server can stop
 * it for a small part of the time; beyond that it delays only its own channels
 * and DMA.
 */
#include "qemu/osdep.h"
#include "qemu/memfd.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "engine.h"

#define CARD_BYTES_MIN (1 * MiB)
#define CLEARED_PER_TURN (64 * KiB)
#define HELD_UP_NS SCALE_MS /* 64 KiB take a fiftieth of it */
#define PAUSE 20

static bool is_valid_size(uint64_t bytes)
{
    return bytes >= CARD_BYTES_MIN && is_power_of_2(bytes);
}

bool lanecall_card_memory_init(LanecallEngine *engine, Error **errp)
{
    ERRP_GUARD();
    MemoryRegion *mr = &engine->card_memory;
    int fd;

    if (!is_valid_size(engine->card_bytes)) {
        error_setg(errp, "card-memory=%" PRIu64 ": must be a power of two, "
                   "at least 1 MiB", engine->card_bytes);
        return false;
    }
    fd = qemu_memfd_create("lanecall-card", engine->card_bytes, false, 0,
                           F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL, errp);
    if (fd < 0) {
        error_prepend(errp, "card-memory=%" PRIu64 ": ", engine->card_bytes);
        return false;
    }
    /* The region owns the file, and lives as long as the device. */
    memory_region_init_ram_from_fd(mr, OBJECT(engine->pdev), "lanecall-card",
                                   engine->card_bytes, RAM_SHARED, fd, 0,
                                   errp);
    if (*errp) {
        error_prepend(errp, "card-memory=%" PRIu64 ": ", engine->card_bytes);
        close(fd);
        return false;
    }
    pci_register_bar(engine->pdev, LANECALL_BAR_CARD,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, mr);
    return true;
}

int lanecall_card_memory_fd(LanecallEngine *engine)
{
    return memory_region_get_fd(&engine->card_memory);
}

uint8_t *lanecall_card_pointer(LanecallEngine *engine)
{
    return memory_region_get_ram_ptr(&engine->card_memory);
}

void lanecall_card_touched(LanecallCard *card, int64_t begun)
{
    int64_t now = get_clock();

    if (now - begun > HELD_UP_NS) {
        card->alone_until = now + PAUSE * (now - begun);
    }
}

bool lanecall_card_alone(const LanecallCard *card)
{
    return get_clock() < card->alone_until;
}

static bool overlap(const LanecallPlace *a, const LanecallPlace *b)
{
    return lanecall_card_overlap(a->offset, a->bytes, b->offset, b->bytes);
}

bool lanecall_card_is_valid(const LanecallEngine *engine,
                            const LanecallPlace *places, uint32_t page_bytes)
{
    unsigned i, j;

    for (i = 0; i < LANECALL_PLACES; i++) {
        if (!lanecall_card_fits(places[i].offset, places[i].bytes, page_bytes,
                                engine->card_bytes)) {
            return false;
        }
        for (j = 0; j < i; j++) {
            if (overlap(&places[i], &places[j])) {
                return false;
            }
        }
    }
    return true;
}

static const LanecallPlace *find_overlap(const LanecallPlace *held,
                                         const LanecallPlace *places)
{
    unsigned i, j;

    for (i = 0; i < LANECALL_PLACES; i++) {
        for (j = 0; j < LANECALL_PLACES; j++) {
            if (overlap(&held[i], &places[j])) {
                return &held[i];
            }
        }
    }
    return NULL;
}

const LanecallPlace *lanecall_card_in_use(const LanecallEngine *engine,
                                          const LanecallPlace *places)
{
    const LanecallPlace *found = NULL;
    unsigned i;

    for (i = 0; i < engine->channels && !found; i++) {
        const LanecallDirect *other = &engine->channel[i].direct;

        if (other->holds) {
            found = find_overlap(other->held, places);
        }
    }
    return found;
}

/*
 * By QEMU's own mapping, and not by punching holes in the file. That waits for
 * the inode's lock, which the server can hold for as long as it likes: by a
 * write to the file, from memory whose page faults it answers itself. A page
 * fault of this mapping takes no lock that can be held so; for as long as the
 * server punches one hole it waits all the same.
 */
bool lanecall_card_clear(LanecallEngine *engine, const LanecallPlace *places,
                         uint64_t *cleared)
{
    uint8_t *memory = lanecall_card_pointer(engine);
    uint64_t left = CLEARED_PER_TURN;
    uint64_t from = *cleared; /* counted from the begin of places[i] */
    int64_t begun = get_clock();
    unsigned i;

    for (i = 0; i < LANECALL_PLACES; i++) {
        uint64_t skipped = MIN(from, places[i].bytes);
        uint64_t bytes = MIN(places[i].bytes - skipped, left);

        memset(memory + places[i].offset + skipped, 0, bytes);
        *cleared += bytes;
        left -= bytes;
        from -= skipped;
    }
    lanecall_card_touched(engine->card, begun);
    return left > 0;
}
