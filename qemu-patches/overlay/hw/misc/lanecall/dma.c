/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory. Every address comes from the guest and is translated anew, by
 * the IOMMU if there is one, each time it is used.
 *
 * Only RAM is touched. dma_memory_map() would, for anything else, take the one
 * global bounce buffer or read a device's registers, and to ask first and map
 * then would leave a guest time to change the translation in between. So one
 * translation serves for the check and for the pointer.
 */
#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "sysemu/dma.h"
#include "engine.h"

static bool is_valid_range(uint64_t address, uint64_t len)
{
    return len > 0 && address + (len - 1) >= address;
}

/*
 * The host's address of guest memory, and in @len how far it reaches. NULL if
 * the guest's address is not RAM. The pointer lives while the big lock is held;
 * for longer its region must be referenced.
 */
static void *translate(PCIDevice *pdev, uint64_t address, hwaddr *len,
                       bool write, MemoryRegion **region)
{
    MemoryRegion *mr;
    hwaddr offset;

    RCU_READ_LOCK_GUARD();
    mr = address_space_translate(pci_get_address_space(pdev), address, &offset,
                                 len, write, MEMTXATTRS_UNSPECIFIED);
    if (!memory_access_is_direct(mr, write) || !*len) {
        return NULL;
    }
    *region = mr;
    return memory_region_get_ram_ptr(mr) + offset;
}

/* Does the piece follow the last extent in the host's memory too? */
static bool extends_last(const LanecallExtents *extents, const void *piece,
                         const MemoryRegion *region)
{
    const struct iovec *last;

    if (!extents->count) {
        return false;
    }
    last = &extents->iov[extents->count - 1];
    return extents->region[extents->count - 1] == region &&
           last->iov_base + last->iov_len == piece;
}

bool lanecall_dma_map(PCIDevice *pdev, LanecallExtents *extents,
                      uint64_t address, uint64_t len)
{
    if (!is_valid_range(address, len)) {
        return false;
    }
    while (len) {
        MemoryRegion *region;
        hwaddr n = len;
        void *piece = translate(pdev, address, &n, extents->write, &region);

        if (!piece) {
            return false;
        }
        if (extends_last(extents, piece, region)) {
            extents->iov[extents->count - 1].iov_len += n;
        } else if (extents->count < LANECALL_MAX_EXTENTS) {
            memory_region_ref(region);
            extents->region[extents->count] = region;
            extents->iov[extents->count].iov_base = piece;
            extents->iov[extents->count].iov_len = n;
            extents->count++;
        } else {
            return true;
        }
        extents->bytes += n;
        address += n;
        len -= n;
    }
    return true;
}

void *lanecall_dma_map_piece(PCIDevice *pdev, uint64_t address, uint64_t *len,
                             bool write)
{
    MemoryRegion *region;
    void *piece;

    if (!is_valid_range(address, *len)) {
        return NULL;
    }
    piece = translate(pdev, address, len, write, &region);
    if (piece) {
        memory_region_ref(region);
    }
    return piece;
}

/* Gives the reference back, and tells of pages that changed. */
void lanecall_dma_unmap_piece(PCIDevice *pdev, void *piece, uint64_t len,
                              uint64_t wrote)
{
    dma_memory_unmap(pci_get_address_space(pdev), piece, len,
                     wrote ? DMA_DIRECTION_FROM_DEVICE
                           : DMA_DIRECTION_TO_DEVICE, wrote);
}

bool lanecall_dma_put32(PCIDevice *pdev, uint64_t address, uint32_t value)
{
    uint64_t len = sizeof(value);
    void *word = lanecall_dma_map_piece(pdev, address, &len, true);
    bool whole = word && len == sizeof(value);

    if (whole) {
        lanecall_wmb(); /* after all it announces; pairs with the driver's */
        lanecall_put32(word, value);
    }
    if (word) {
        lanecall_dma_unmap_piece(pdev, word, len, whole ? len : 0);
    }
    return whole;
}

void lanecall_dma_unmap(PCIDevice *pdev, LanecallExtents *extents,
                        size_t moved)
{
    unsigned i;

    for (i = 0; i < extents->count; i++) {
        struct iovec *iov = &extents->iov[i];
        size_t n = MIN(moved, iov->iov_len);

        lanecall_dma_unmap_piece(pdev, iov->iov_base, iov->iov_len,
                                 extents->write ? n : 0);
        moved -= n;
    }
    extents->count = 0;
    extents->bytes = 0;
}

bool lanecall_dma_usable(PCIDevice *pdev, uint64_t address, uint64_t len,
                         bool write)
{
    if (!is_valid_range(address, len)) {
        return false;
    }
    while (len) {
        MemoryRegion *region;
        hwaddr n = len;

        if (!translate(pdev, address, &n, write, &region)) {
            return false;
        }
        address += n;
        len -= n;
    }
    return true;
}

bool lanecall_dma_read(PCIDevice *pdev, uint64_t address, void *buffer,
                       uint64_t len)
{
    if (!is_valid_range(address, len)) {
        return false;
    }
    while (len) {
        MemoryRegion *region;
        hwaddr n = len;
        const void *piece = translate(pdev, address, &n, false, &region);

        if (!piece) {
            return false;
        }
        memcpy(buffer, piece, n);
        buffer += n;
        address += n;
        len -= n;
    }
    return true;
}
