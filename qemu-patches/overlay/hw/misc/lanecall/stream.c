/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moves bytes between a channel's rings and its socket: the socket call works
 * directly on guest memory, which is mapped for that one call. One call moves a
 * bounded number of bytes, so that no channel holds the big lock for long.
 *
 * The ring arithmetic and its barriers are those of lanecall/ring.h. The guest
 * can write anything into the indices at any time; they are believed only after
 * that code has checked them, and bytes are moved only once.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/units.h"
#include "engine.h"
#include "trace.h"

#define BYTES_PER_CALL (256 * KiB)

/* Points the ring's private side to the index page as it is mapped now. */
static struct lanecall_ring *tx_core(LanecallChannel *ch)
{
    ch->tx.core.producer = &ch->index->tx_producer;
    ch->tx.core.consumer = &ch->index->tx_consumer;
    return &ch->tx.core;
}

static struct lanecall_ring *rx_core(LanecallChannel *ch)
{
    ch->rx.core.producer = &ch->index->rx_producer;
    ch->rx.core.consumer = &ch->index->rx_consumer;
    return &ch->rx.core;
}

/* How many bytes from @offset on lie in pages that follow each other. */
static uint32_t contiguous_bytes(const LanecallRing *ring, uint32_t offset,
                                 uint32_t wanted)
{
    uint32_t page_bytes = 1u << ring->page_shift;
    uint32_t page = offset >> ring->page_shift;
    uint32_t n = MIN(page_bytes - (offset & (page_bytes - 1)), wanted);

    while (n < wanted && ring->pages[page + 1] ==
           ring->pages[page] + page_bytes) {
        page++;
        n += MIN(page_bytes, wanted - n);
    }
    return n;
}

/*
 * Maps the next @bytes of the ring, or as many as extents allow. @bytes is at
 * most the ring's size. False if some of it is not memory.
 */
static bool map_ring(LanecallChannel *ch, const LanecallRing *ring,
                     LanecallExtents *extents, uint32_t bytes)
{
    PCIDevice *pdev = ch->engine->pdev;
    uint32_t offset = lanecall_ring_offset(&ring->core, ring->core.own);

    while (bytes && extents->count < LANECALL_MAX_EXTENTS) {
        uint32_t before_end = ring->core.size - offset;
        uint32_t n = contiguous_bytes(ring, offset, MIN(bytes, before_end));
        uint64_t address = ring->pages[offset >> ring->page_shift] +
            (offset & ((1u << ring->page_shift) - 1));

        if (!lanecall_dma_map(pdev, extents, address, n)) {
            lanecall_breach(ch->engine, "a ring's page is not memory",
                            address);
            lanecall_dma_unmap(pdev, extents, 0);
            return false;
        }
        bytes -= n;
        offset = (offset + n) & (ring->core.size - 1);
    }
    return true;
}

static int64_t checked(LanecallChannel *ch, int64_t bytes, const char *what)
{
    if (bytes < 0) {
        lanecall_breach(ch->engine, what, ch->number);
        return -EPROTO;
    }
    return bytes;
}

int64_t lanecall_tx_pending(LanecallChannel *ch)
{
    int64_t bytes = lanecall_ring_look(tx_core(ch));

    if (bytes == 0) {
        bytes = lanecall_ring_arm(&ch->tx.core);
    }
    return checked(ch, bytes, "impossible TX head on channel");
}

ssize_t lanecall_tx_send(LanecallChannel *ch, size_t pending)
{
    PCIDevice *pdev = ch->engine->pdev;
    LanecallExtents extents = { .write = false };
    struct msghdr message = { .msg_iov = extents.iov };
    ssize_t n;

    if (!map_ring(ch, &ch->tx, &extents, MIN(pending, BYTES_PER_CALL))) {
        return -EFAULT;
    }
    message.msg_iovlen = extents.count;
    do {
        n = sendmsg(ch->connection.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    n = n < 0 ? -errno : n;
    trace_lanecall_send(ch->engine->name, ch->number, extents.bytes, n);
    lanecall_dma_unmap(pdev, &extents, MAX(n, 0));

    if (n > 0 && lanecall_ring_release(tx_core(ch), n)) {
        lanecall_interrupt(ch->engine, ch->vector);
    }
    return n;
}

int64_t lanecall_rx_room(LanecallChannel *ch)
{
    int64_t room = lanecall_ring_space(rx_core(ch));

    if (room == 0) {
        room = lanecall_ring_arm_space(&ch->rx.core, ch->rx.core.size / 2);
    }
    return checked(ch, room, "impossible RX tail on channel");
}

ssize_t lanecall_rx_receive(LanecallChannel *ch, size_t room)
{
    PCIDevice *pdev = ch->engine->pdev;
    LanecallExtents extents = { .write = true };
    struct msghdr message = { .msg_iov = extents.iov };
    ssize_t n;

    if (!map_ring(ch, &ch->rx, &extents, MIN(room, BYTES_PER_CALL))) {
        return -EFAULT;
    }
    message.msg_iovlen = extents.count;
    do {
        n = recvmsg(ch->connection.fd, &message, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    n = n < 0 ? -errno : n;
    trace_lanecall_receive(ch->engine->name, ch->number, extents.bytes, n);
    lanecall_dma_unmap(pdev, &extents, MAX(n, 0));

    if (n > 0) {
        bool wanted = lanecall_ring_publish(rx_core(ch), n);

        lanecall_moderate(ch, n, wanted, n == room);
    }
    return n;
}
