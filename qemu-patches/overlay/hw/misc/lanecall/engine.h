/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine's files share. One file per idea:
 *
 *   engine.c      life cycle, resets, interrupts, breaches by the guest
 *   pcie.c        PCI capabilities
 *   registers.c   BAR 2: decodes accesses
 *   channel.c     a channel's state machine
 *   stream.c      moves bytes between rings and socket
 *   connection.c  one socket: connects, watches
 *   server.c      where to connect to
 *   dma.c         guest memory
 *
 * Re-entrancy: raising an interrupt writes to an address of the guest's choice.
 * That can come back to this device as a register access, a reset, even as its
 * removal. So interrupts are only noted while code is at work and raised by
 * lanecall_leave(), after which nothing may be touched; and every way in, a
 * register access, an event of a socket, a timer, lies between enter and leave,
 * which hold the device's re-entrancy guard.
 *
 * An IOMMU with a fault to tell of writes to such addresses too: its report, an
 * interrupt. Translating any address can come back like that, in the middle of
 * the work. The guard stops register accesses; a reset and the freeing of the
 * channels wait for lanecall_leave(). The device outlives the work: the address
 * space of its own DMA refers to it until an RCU callback, which needs the big
 * lock.
 */
#ifndef HW_MISC_LANECALL_ENGINE_H
#define HW_MISC_LANECALL_ENGINE_H

#include "lanecall.h"
#include "lanecall/ring.h"

/* ---- engine.c ---------------------------------------------------------- */

/* Returns what lanecall_leave() wants to have back. */
bool lanecall_enter(LanecallEngine *engine);
void lanecall_leave(LanecallEngine *engine, bool entered);

/* Notes an interrupt; a vector the device does not have is ignored. */
void lanecall_interrupt(LanecallEngine *engine, uint32_t vector);

/* Counts what the guest did against the specification, and logs some of it. */
void lanecall_breach(LanecallEngine *engine, const char *what, uint64_t value);

/* The reset that clearing ENABLE makes. */
void lanecall_engine_reset(LanecallEngine *engine);

/* ---- pcie.c ------------------------------------------------------------ */

/* Express capabilities if the bus has them, else a conventional device. */
bool lanecall_pcie_init(PCIDevice *pdev, Error **errp);
void lanecall_pcie_exit(PCIDevice *pdev);
void lanecall_pcie_reset(PCIDevice *pdev);
void lanecall_pcie_write_config(PCIDevice *pdev, uint32_t address,
                                uint32_t value, int len);

/* ---- registers.c ------------------------------------------------------- */

void lanecall_registers_init(LanecallEngine *engine);

/* ---- server.c ---------------------------------------------------------- */

/*
 * Parses unix:/path or tcp:host:port and resolves the name, which may block: at
 * realize only. NULL with @errp set on failure.
 */
LanecallServer *lanecall_server_new(const char *uri, Error **errp);
void lanecall_server_free(LanecallServer *server);

const char *lanecall_server_uri(const LanecallServer *server);
unsigned lanecall_server_addresses(const LanecallServer *server);
const struct sockaddr *lanecall_server_address(const LanecallServer *server,
                                               unsigned n, socklen_t *len);

/* ---- connection.c ------------------------------------------------------ */

/* One socket. Owned by a channel; @fd is -1 when there is none. */
typedef struct LanecallConnection {
    int fd;
    int epoll; /* holds only @fd, for its EPOLLOUT; -1 until it is needed */
    IOHandler *readable; /* what is watched for; see below */
    IOHandler *writable;
    const LanecallServer *server;
    unsigned address; /* which of the server's is being tried */
    QEMUTimer *retry;
    unsigned retry_ms;
    void (*connected)(void *opaque, int error);
    void *opaque;
} LanecallConnection;

/* @connected is called from the main loop, with 0 or an errno value. */
void lanecall_connection_init(LanecallConnection *conn,
                              const LanecallServer *server,
                              void (*connected)(void *opaque, int error),
                              void *opaque);
void lanecall_connection_destroy(LanecallConnection *conn);

/* 0: connected; -EINPROGRESS: @connected will tell; else -errno. */
int lanecall_connection_start(LanecallConnection *conn);

/*
 * Calls these, with @connected's opaque, while the socket is readable or
 * writable; NULL: do not watch. Costs nothing if nothing changes.
 */
void lanecall_connection_watch(LanecallConnection *conn, IOHandler *readable,
                               IOHandler *writable);

/* Any number of times. */
void lanecall_connection_close(LanecallConnection *conn);

/* ---- dma.c ------------------------------------------------------------- */

#define LANECALL_MAX_EXTENTS 64

/* Guest memory mapped for one operation, in the order of the stream. */
typedef struct LanecallExtents {
    struct iovec iov[LANECALL_MAX_EXTENTS];
    const MemoryRegion *region[LANECALL_MAX_EXTENTS];
    unsigned count;
    size_t bytes;
    bool write; /* is the device going to write? */
} LanecallExtents;

/*
 * Appends the bus addresses [@address, @address + @len). Appends less, as
 * @extents->bytes tells, when it is full. False if some of it is not memory.
 */
bool lanecall_dma_map(PCIDevice *pdev, LanecallExtents *extents,
                      uint64_t address, uint64_t len);

/* @moved: how many bytes from the start were read or written. */
void lanecall_dma_unmap(PCIDevice *pdev, LanecallExtents *extents,
                        size_t moved);

/* Is all of it memory that the device may read (or write)? */
bool lanecall_dma_usable(PCIDevice *pdev, uint64_t address, uint64_t len,
                         bool write);

bool lanecall_dma_read(PCIDevice *pdev, uint64_t address, void *buffer,
                       uint64_t len);

/* ---- channel.c --------------------------------------------------------- */

typedef struct LanecallRing {
    struct lanecall_ring core; /* its pointers: valid while index is mapped */
    uint64_t *pages; /* the page table, copied at ATTACH */
    uint32_t page_shift;
} LanecallRing;

struct LanecallChannel {
    LanecallEngine *engine;
    unsigned number;

    /* The control block, as the driver last wrote it. */
    struct {
        uint32_t vector;
        uint32_t flags;
        uint64_t index;
        uint64_t tx_table;
        uint64_t rx_table;
        uint32_t tx_shift;
        uint32_t rx_shift;
        uint32_t page_shift;
    } block;
    uint32_t status;

    /* Taken at OPEN. */
    uint32_t vector;
    uint64_t index_address;

    /* The index page, mapped only while code is at work on the channel. */
    LanecallExtents index_extents;
    struct lanecall_index_page *index;

    LanecallConnection connection;
    LanecallRing tx; /* consumer */
    LanecallRing rx; /* producer */
    bool want_read; /* RX has room */
    bool want_write; /* TX has bytes that the socket did not take yet */
    int send_error; /* errno of the send that failed, 0 if none did */
    QEMUBH *salvage; /* moves what is still to be received after that */
    unsigned salvage_left; /* how many receives at most */
};

void lanecall_channel_init(LanecallChannel *ch, LanecallEngine *engine,
                           unsigned number);
void lanecall_channel_destroy(LanecallChannel *ch);

/* Back to the reset state; says nothing to the guest. */
void lanecall_channel_reset(LanecallChannel *ch);

/* To be called between lanecall_enter() and lanecall_leave(). */
void lanecall_channel_command(LanecallChannel *ch, uint32_t command);
void lanecall_channel_doorbell(LanecallChannel *ch);

/* ---- stream.c ---------------------------------------------------------- */

/*
 * All with the index page mapped. -EPROTO: an impossible index; -EFAULT: a ring
 * page is not memory; these two are already counted as breaches.
 */

/* Bytes in TX. If it is 0 the driver has been asked to ring the doorbell. */
int64_t lanecall_tx_pending(LanecallChannel *ch);

/* One send, of at most @pending bytes: bytes taken from TX, or -errno. */
ssize_t lanecall_tx_send(LanecallChannel *ch, size_t pending);

/* Free bytes in RX; 0 as above. */
int64_t lanecall_rx_room(LanecallChannel *ch);

/* One receive: bytes put into RX, 0 at the end of the stream, or -errno. */
ssize_t lanecall_rx_receive(LanecallChannel *ch, size_t room);

#endif
