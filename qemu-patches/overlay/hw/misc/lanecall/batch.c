/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Batches: what the card's server wants to have moved, as DMA packets tell, and
 * what has become of it, as DONE packets tell. lanecall/card.h specifies both.
 *
 * An operation is checked whole when it comes; after that only its region can
 * go, or turn out not to be memory. It is done when nothing of it is queued and
 * nothing in flight, and told with all others that were done in the same turn.
 *
 * Nothing is allocated for an operation: they come from an array that has room
 * for all that a server may have under way, and for those of lost sessions that
 * are still in flight. Their extents stay in the packet they came in.
 */
#include "qemu/osdep.h"
#include "engine.h"
#include "trace.h"

#define SPARE_PACKETS 16

/* ---- Packets ------------------------------------------------------------- */

LanecallPacket *lanecall_packet_new(LanecallMover *mover)
{
    LanecallPacket *packet = QSLIST_FIRST(&mover->spare);

    if (packet) {
        QSLIST_REMOVE_HEAD(&mover->spare, next);
        mover->spare_count--;
    } else {
        packet = g_new(LanecallPacket, 1);
    }
    packet->users = 0;
    return packet;
}

void lanecall_packet_free(LanecallMover *mover, LanecallPacket *packet)
{
    if (mover->spare_count < SPARE_PACKETS) {
        QSLIST_INSERT_HEAD(&mover->spare, packet, next);
        mover->spare_count++;
    } else {
        g_free(packet);
    }
}

static const struct lanecall_dma_operation *
operations_of(const LanecallPacket *packet)
{
    return (const void *)(packet->bytes + sizeof(packet->frame));
}

/* ---- From the server ----------------------------------------------------- */

static bool is_valid_type(uint32_t type)
{
    return type >= LANECALL_DMA_READ && type <= LANECALL_DMA_FILL;
}

static bool is_valid_length(const LanecallPacket *packet, size_t bytes)
{
    uint64_t operations = le32_to_cpu(packet->frame.batch.operations);
    uint64_t extents = le32_to_cpu(packet->frame.batch.extents);

    return operations &&
           bytes == sizeof(packet->frame) +
                    operations * sizeof(struct lanecall_dma_operation) +
                    extents * sizeof(struct lanecall_dma_extent);
}

/* The counts add up, so that everything can be looked at. */
static const char *check_batch(const LanecallPacket *packet)
{
    const struct lanecall_dma_operation *operation = operations_of(packet);
    uint32_t count = le32_to_cpu(packet->frame.batch.operations);
    uint64_t extents = 0;
    uint32_t i;

    for (i = 0; i < count; i++) {
        if (!is_valid_type(le32_to_cpu(operation[i].type))) {
            return "sent DMA of unknown type";
        }
        if (!operation[i].extents) {
            return "sent DMA without extents";
        }
        extents += le32_to_cpu(operation[i].extents);
    }
    return extents == le32_to_cpu(packet->frame.batch.extents)
        ? NULL : "sent DMA whose extents do not add up";
}

static bool is_valid_place(const LanecallOperation *op,
                           const struct lanecall_dma_extent *extent,
                           uint64_t card_bytes)
{
    uint64_t card = le64_to_cpu(extent->card);

    return op->type == LANECALL_DMA_FILL
        ? card <= UINT8_MAX
        : lanecall_is_valid_span(card, le64_to_cpu(extent->bytes), card_bytes);
}

static bool is_in_range(LanecallMover *mover, const LanecallOperation *op)
{
    uint64_t region_bytes = lanecall_region_bytes(op->region);
    uint32_t i;

    for (i = 0; i < op->extents; i++) {
        const struct lanecall_dma_extent *extent = &op->extent[i];

        if (!extent->bytes ||
            !lanecall_is_valid_span(le64_to_cpu(extent->offset),
                                    le64_to_cpu(extent->bytes),
                                    region_bytes) ||
            !is_valid_place(op, extent, mover->engine->card_bytes)) {
            return false;
        }
    }
    return true;
}

static uint32_t check_operation(LanecallMover *mover, LanecallOperation *op,
                                uint64_t key)
{
    uint32_t access = op->type == LANECALL_DMA_READ
        ? LANECALL_REGION_MAY_READ : LANECALL_REGION_MAY_WRITE;

    op->region = lanecall_region_find(mover->engine->regions, key);
    if (!op->region || !lanecall_region_allows(op->region, access)) {
        return LANECALL_ERR_ACCESS;
    }
    return is_in_range(mover, op) ? LANECALL_ERR_NONE : LANECALL_ERR_RANGE;
}

static void take_operation(LanecallMover *mover, LanecallPacket *packet,
                           const struct lanecall_dma_operation *from,
                           const struct lanecall_dma_extent *extent)
{
    LanecallOperation *op = QTAILQ_FIRST(&mover->unused);
    uint64_t key = le64_to_cpu(from->key);
    uint32_t error;

    QTAILQ_REMOVE(&mover->unused, op, next);
    *op = (LanecallOperation) {
        .queued = true,
        .packet = packet,
        .id = le64_to_cpu(from->id),
        .type = le32_to_cpu(from->type),
        .extent = extent,
        .extents = le32_to_cpu(from->extents),
    };
    packet->users++;
    mover->outstanding++;
    trace_lanecall_dma(mover->engine->name, op->id, op->type, key,
                       op->extents);
    QTAILQ_INSERT_TAIL(&mover->queue, op, next);
    error = check_operation(mover, op, key);
    if (error) {
        lanecall_operation_end(mover, op, error);
    }
}

const char *lanecall_batch_take(LanecallMover *mover, LanecallPacket *packet,
                                size_t bytes)
{
    const struct lanecall_dma_operation *operation = operations_of(packet);
    const struct lanecall_dma_extent *extent;
    const char *wrong;
    uint32_t count, i;

    if (!is_valid_length(packet, bytes)) {
        return "sent DMA of another length than it says";
    }
    wrong = check_batch(packet);
    if (wrong) {
        return wrong;
    }
    count = le32_to_cpu(packet->frame.batch.operations);
    if (count > LANECALL_OPERATIONS - mover->outstanding) {
        return "sent more DMA than HELLO allowed";
    }
    extent = (const void *)(operation + count);
    packet->users++; /* the operations may be done at once */
    for (i = 0; i < count; i++) {
        take_operation(mover, packet, &operation[i], extent);
        extent += le32_to_cpu(operation[i].extents);
    }
    packet->users--;
    lanecall_mover_wake(mover);
    return NULL;
}

/* ---- To the server ------------------------------------------------------- */

static void finish(LanecallMover *mover, LanecallOperation *op)
{
    LanecallPacket *packet = op->packet;

    if (!op->lost) {
        trace_lanecall_dma_done(mover->engine->name, op->id, op->moved,
                                op->error);
        mover->done[mover->done_count++] = (struct lanecall_dma_done) {
            .id = cpu_to_le64(op->id),
            .bytes = cpu_to_le64(op->moved),
            .error = cpu_to_le32(op->error),
        };
    }
    packet->users--;
    if (!packet->users) {
        lanecall_packet_free(mover, packet);
    }
    QTAILQ_INSERT_HEAD(&mover->unused, op, next);
}

void lanecall_operation_end(LanecallMover *mover, LanecallOperation *op,
                            uint32_t error)
{
    QTAILQ_REMOVE(&mover->queue, op, next);
    op->queued = false;
    op->error = error;
    if (!op->in_flight) {
        finish(mover, op);
    }
}

void lanecall_operation_landed(LanecallMover *mover, LanecallOperation *op,
                               uint64_t bytes)
{
    op->moved += bytes;
    op->in_flight--;
    if (!op->in_flight && !op->queued) {
        finish(mover, op);
    }
}

bool lanecall_batch_tell(LanecallMover *mover)
{
    LanecallCard *card = mover->engine->card;
    unsigned count = mover->done_count;

    if (!count) {
        return true;
    }
    if (!lanecall_card_send_done(card, mover->done, count)) {
        return false;
    }
    mover->outstanding -= count;
    mover->done_count = 0;
    return true;
}
