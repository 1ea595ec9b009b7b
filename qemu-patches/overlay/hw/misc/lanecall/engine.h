/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the engine's files share. One file per idea:
 *
 *   engine.c      life cycle, resets, interrupts, breaches by the guest
 *   pcie.c        PCI capabilities
 *   registers.c   BAR 2: decodes accesses
 *   channel.c     a channel's state machine
 *   stream.c      moves bytes between rings and socket
 *   moderation.c  holds interrupts back
 *   connection.c  one socket: connects, watches
 *   server.c      where to connect to
 *   proxy.c       says there who opened the channel
 *   dma.c         guest memory
 *
 * and for rings in card memory:
 *
 *   card.c        the session with the card's server
 *   direct.c      a channel in that session
 *   bells.c       its eventfds
 *   card_memory.c BAR 4, and whose is what in it
 *
 * and for bulk data, which the card's server has moved by reference:
 *
 *   regions.c     guest memory that the driver has lent
 *   batch.c       DMA and DONE packets, and the operations in them
 *   mover.c       moves their bytes, outside the big lock
 *   copy.c        copies them, past the caches if there are many
 *
 * and for tests of what an IOMMU stops:
 *
 *   rogue.c       writes where it may not
 *
 * and for tests of what a driver believes:
 *
 *   hostile.c     lies
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
#include "lanecall/card.h"
#include "lanecall/region.h"
#include "lanecall/ring.h"

/* ---- engine.c ---------------------------------------------------------- */

/* Returns what lanecall_leave() wants to have back. */
bool lanecall_enter(LanecallEngine *engine);
void lanecall_leave(LanecallEngine *engine, bool entered);

/* Notes an interrupt; a vector the device does not have is ignored. */
void lanecall_interrupt(LanecallEngine *engine, uint32_t vector);

/* The same, of that vector, even for a device that lies. */
void lanecall_interrupt_now(LanecallEngine *engine, uint32_t vector);

/* Counts what the guest did against the specification, and logs some of it. */
void lanecall_breach(LanecallEngine *engine, const char *what, uint64_t value);

/* May one more message be written in this second? */
bool lanecall_may_log(LanecallLog *log);

/* The reset that clearing ENABLE makes. */
void lanecall_engine_reset(LanecallEngine *engine);

/* Shows that it is over, if it is. With card only. */
void lanecall_engine_rest(LanecallEngine *engine);

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
 * Parses unix:/path or, for @type SOCK_STREAM, tcp:host:port, and resolves the
 * name, which may block: at realize only. NULL with @errp set on failure, which
 * names @property, a literal.
 */
LanecallServer *lanecall_server_new(const char *property, const char *uri,
                                    int type, Error **errp);
void lanecall_server_free(LanecallServer *server); /* NULL is allowed */

const char *lanecall_server_uri(const LanecallServer *server);
int lanecall_server_type(const LanecallServer *server);
unsigned lanecall_server_addresses(const LanecallServer *server);
const struct sockaddr *lanecall_server_address(const LanecallServer *server,
                                               unsigned n, socklen_t *len);

/* ---- connection.c ------------------------------------------------------ */

/* One socket. Owned by a channel, or by the card; @fd is -1 for none. */
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

/*
 * One piece from @address on, and in @len how far it reaches, at most as far as
 * it did. NULL if it is not memory. For as long as the caller likes, until the
 * other.
 */
void *lanecall_dma_map_piece(PCIDevice *pdev, uint64_t address, uint64_t *len,
                             bool write);

/* @wrote: how many bytes from the start. */
void lanecall_dma_unmap_piece(PCIDevice *pdev, void *piece, uint64_t len,
                              uint64_t wrote);

/* An aligned word, stored after everything before. False: it is not memory. */
bool lanecall_dma_put32(PCIDevice *pdev, uint64_t address, uint32_t value);

/* ---- Card memory and direct.c's part of a channel ------------------------ */

typedef struct LanecallPlace {
    uint64_t offset;
    uint64_t bytes;
} LanecallPlace;

enum {
    LANECALL_PLACE_INDEX,
    LANECALL_PLACE_TX,
    LANECALL_PLACE_RX,
    LANECALL_PLACES
};

typedef struct LanecallDirect {
    uint64_t id; /* in the session; 0: nothing is to be told the server */
    bool waiting; /* for the session's greeting, to be offered */
    bool lost; /* with its session; the channel does not know yet */
    bool placing; /* PLACE was sent, START was not */
    bool clearing; /* the places, which are good */
    uint64_t cleared; /* bytes of them */
    bool ended; /* by the server's END */
    bool holds; /* until CLOSED, the places: */
    LanecallPlace held[LANECALL_PLACES];
    uint32_t page_bytes;
    unsigned busy; /* how often BUSY was sent */
    int doorbell; /* eventfds, -1: none */
    int interrupt;
} LanecallDirect;

/* ---- channel.c --------------------------------------------------------- */

typedef struct LanecallRing {
    struct lanecall_ring core; /* its pointers: valid while index is mapped */
    uint64_t *pages; /* the page table, copied at ATTACH */
    uint32_t count; /* of pages that are found to be good: all or none */
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
        uint32_t moderate_bytes;
        uint32_t moderate_us;
        uint32_t user;
    } block;
    uint32_t status;

    /* Taken at OPEN. */
    uint32_t vector;
    uint64_t index_address;
    bool has_user; /* the driver has told: */
    uint32_t user;

    /* The index page, mapped only while code is at work on the channel. */
    LanecallExtents index_extents;
    struct lanecall_index_page *index;

    bool in_card; /* the plane: direct if true, decided when it connects */
    LanecallDirect direct;

    LanecallConnection connection;
    LanecallRing tx; /* consumer */
    LanecallRing rx; /* producer */
    bool want_read; /* RX has room */
    bool want_write; /* TX has bytes that the socket did not take, or may */
    bool unanswered; /* bytes were sent, and none received since */
    int send_error; /* errno of the send that failed, 0 if none did */
    QEMUBH *salvage; /* moves what is still to be received after that */
    unsigned salvage_left; /* how many receives at most */

    struct {
        uint32_t bytes; /* as taken at ATTACH */
        uint32_t us; /* 0: no moderation */
        bool holding; /* an interrupt, for so many bytes: */
        uint32_t held;
        QEMUTimer *timer;
    } moderation;
};

void lanecall_channel_init(LanecallChannel *ch, LanecallEngine *engine,
                           unsigned number);
void lanecall_channel_destroy(LanecallChannel *ch);

/* Back to the reset state; says nothing to the guest. */
void lanecall_channel_reset(LanecallChannel *ch);

/* Is this address in the channel's index page or rings? */
bool lanecall_channel_has(const LanecallChannel *ch, uint64_t address);

/* To be called between lanecall_enter() and lanecall_leave(). */
void lanecall_channel_command(LanecallChannel *ch, uint32_t command);
void lanecall_channel_doorbell(LanecallChannel *ch);

/*
 * What came over the card port; direct.c has found it to be in order. @error is
 * one of LANECALL_ERR_*.
 */
void lanecall_channel_accepted(LanecallChannel *ch);
void lanecall_channel_declined(LanecallChannel *ch, uint32_t error);
void lanecall_channel_placed(LanecallChannel *ch);
void lanecall_channel_misplaced(LanecallChannel *ch);
void lanecall_channel_direct_ended(LanecallChannel *ch, uint32_t error);
void lanecall_channel_released(LanecallChannel *ch);
void lanecall_channel_lost(LanecallChannel *ch);

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

/* ---- proxy.c ----------------------------------------------------------- */

/* On a fresh connection of the channel: 0 or an errno value. */
int lanecall_proxy_send(LanecallChannel *ch);

/* ---- moderation.c -------------------------------------------------------- */

void lanecall_moderation_init(LanecallChannel *ch);
void lanecall_moderation_destroy(LanecallChannel *ch);

/* @bytes were put into RX; does that pass what the driver waits for? */
void lanecall_moderate(LanecallChannel *ch, uint32_t bytes, bool wanted,
                       bool full);

/* Forgets an interrupt that is held back. */
void lanecall_moderation_stop(LanecallChannel *ch);

/* ---- card.c -------------------------------------------------------------- */

typedef enum LanecallSession {
    LANECALL_SESSION_NONE,
    LANECALL_SESSION_GREETING, /* connecting, or waiting for WELCOME */
    LANECALL_SESSION_LIVE,
} LanecallSession;

struct LanecallCard {
    LanecallEngine *engine;
    LanecallMover *mover;
    LanecallServer *server;
    LanecallConnection connection;
    LanecallSession session;
    QEMUTimer *greeting; /* bounds that state */
    QEMUBH *lost; /* tells channels of a session's end */
    QEMUTimer *clear; /* clears places, some at a time */
    unsigned clear_next; /* the channel whose turn it is */
    int64_t alone_until; /* see card_memory.c */
    bool moves; /* the server may have bytes moved in this session */
    uint64_t first_id; /* of this session */
    uint64_t next_id;
    LanecallPacket *packet; /* to be received into */
    struct lanecall_card_frame *unsent; /* the queue behind the socket's */
    unsigned unsent_count;
    int epoll; /* of running channels' interrupt eventfds */
    unsigned long aio; /* context in which doorbells are rung */
    int nothing; /* an empty file, to be read for that */
    LanecallLog log;
};

/* NULL with @errp set on failure. Connects later. */
LanecallCard *lanecall_card_new(LanecallEngine *engine, Error **errp);

/* After the channels. */
void lanecall_card_free(LanecallCard *card);

/* 0 if there is a session, or one that is still greeting, else -errno. */
int lanecall_card_connect(LanecallCard *card);

/* Has places cleared that wait for it. */
void lanecall_card_clear_soon(LanecallCard *card);

/* About a channel offered. May drop the session: its channels are lost. */
void lanecall_card_send(LanecallCard *card,
                        const struct lanecall_card_frame *frame);

/* OFFER, with its eventfds. -ENOBUFS: the server has too much to read. */
int lanecall_card_offer(LanecallCard *card,
                        const struct lanecall_card_frame *frame,
                        const int fds[2]);

/* DONE: @count of what the mover has done. False: try again when told to. */
bool lanecall_card_send_done(LanecallCard *card,
                             const struct lanecall_dma_done *done,
                             unsigned count);

/* ---- direct.c ------------------------------------------------------------ */

void lanecall_direct_init(LanecallChannel *ch);

/* 0: lanecall_channel_accepted() or another will tell; else -errno. */
int lanecall_direct_open(LanecallChannel *ch);

/* lanecall_channel_placed() or another will tell. */
void lanecall_direct_place(LanecallChannel *ch, uint32_t tx_bytes,
                           uint32_t rx_bytes, uint32_t page_bytes);

/* Tells the server that it may begin. False if the host has no resources. */
bool lanecall_direct_start(LanecallChannel *ch);

/* lanecall_channel_released() will tell. */
void lanecall_direct_drain(LanecallChannel *ch);

/* Tells the server, if it knows of the channel, that it is no more. */
void lanecall_direct_release(LanecallChannel *ch);

/* Gives the channel's places back: once it is CLOSED. */
void lanecall_direct_vacate(LanecallChannel *ch);

/* What is wrong with a frame of the server, or NULL. */
const char *lanecall_direct_frame(LanecallCard *card,
                                  const struct lanecall_card_frame *frame);

/* Clears some of what one channel waits for. Is there more to be done? */
bool lanecall_direct_clear(LanecallCard *card);

/* The session is there: offers the channels that wait for it. */
void lanecall_direct_offer_waiting(LanecallCard *card);

/* The session is over: marks its channels as lost. */
void lanecall_direct_lose(LanecallCard *card);

/* ---- bells.c ------------------------------------------------------------- */

bool lanecall_bells_init(LanecallCard *card);
void lanecall_bells_destroy(LanecallCard *card);

/* 0 or -errno. */
int lanecall_bells_make(LanecallDirect *direct);
void lanecall_bells_close(LanecallDirect *direct); /* any number of times */

/* From now on the server's writes are the channel's interrupts. */
bool lanecall_bells_watch(LanecallCard *card, LanecallChannel *ch);
void lanecall_bells_unwatch(LanecallCard *card, LanecallChannel *ch);

/* The driver's doorbell. False if the host has no resources: it is lost. */
bool lanecall_bells_ring(LanecallCard *card, const LanecallDirect *direct);

/* ---- card_memory.c ------------------------------------------------------- */

/* The memory file, and BAR 4. */
bool lanecall_card_memory_init(LanecallEngine *engine, Error **errp);
int lanecall_card_memory_fd(LanecallEngine *engine);
uint8_t *lanecall_card_pointer(LanecallEngine *engine);

/* All these are about LANECALL_PLACES places. */

/* Do they lie in card memory, aligned, and apart from each other? */
bool lanecall_card_is_valid(const LanecallEngine *engine,
                            const LanecallPlace *places, uint32_t page_bytes);

/* One that a channel holds and that overlaps them, or NULL. */
const LanecallPlace *lanecall_card_in_use(const LanecallEngine *engine,
                                          const LanecallPlace *places);

/* Card memory was touched under the big lock, from @begun (get_clock()) on. */
void lanecall_card_touched(LanecallCard *card, int64_t begun);

/* Was that held up, so that it is to be left alone now? */
bool lanecall_card_alone(const LanecallCard *card);

/*
 * Clears some of what is left of them and adds it to @cleared, which begins at
 * 0. True: that was all.
 */
bool lanecall_card_clear(LanecallEngine *engine, const LanecallPlace *places,
                         uint64_t *cleared);

/* ---- regions.c ----------------------------------------------------------- */

#define LANECALL_REGION_EXTENTS_MAX (16u << 20)

/* The properties. */
bool lanecall_regions_check(const LanecallEngine *engine, Error **errp);

LanecallRegions *lanecall_regions_new(LanecallEngine *engine);
void lanecall_regions_free(LanecallRegions *regions);

/* Forgets them all; after the mover's reset. Were there any? */
bool lanecall_regions_reset(LanecallRegions *regions);

/* Tells the driver once more that the region in @slot is active, if it is. */
void lanecall_regions_say_again(LanecallRegions *regions, uint32_t slot);

uint32_t lanecall_regions_read(const LanecallRegions *regions, hwaddr offset);

/* To be called between lanecall_enter() and lanecall_leave(). */
void lanecall_regions_write(LanecallRegions *regions, hwaddr offset,
                            uint32_t value);

/* The active region with that key, or NULL. */
LanecallRegion *lanecall_region_find(LanecallRegions *regions, uint64_t key);

uint64_t lanecall_region_bytes(const LanecallRegion *region);

/* Is this address in any region that is not FREE? */
bool lanecall_regions_have(const LanecallRegions *regions, uint64_t address);

/* @access: one of LANECALL_REGION_MAY_*. */
bool lanecall_region_allows(const LanecallRegion *region, uint32_t access);

/*
 * The bus address of @offset, which is in the region, and in @bytes how far
 * they go on behind it, at most as far as they did.
 */
uint64_t lanecall_region_address(const LanecallRegion *region, uint64_t offset,
                                 uint64_t *bytes);

/* A removed region is the driver's again when all holds are released. */
void lanecall_region_hold(LanecallRegion *region);
void lanecall_region_release(LanecallRegions *regions, LanecallRegion *region);

/* ---- batch.c ------------------------------------------------------------- */

/* How many operations a server may have under way. */
#define LANECALL_OPERATIONS 1024

/* With those of lost sessions that are in flight. */
#define LANECALL_OPERATIONS_MAX \
    (LANECALL_OPERATIONS + LANECALL_SLICES * LANECALL_MAX_EXTENTS)

/* What was received at once. The extents of its operations stay in it. */
struct LanecallPacket {
    QSLIST_ENTRY(LanecallPacket) next; /* that is spare */
    unsigned users; /* operations that are not done */
    union {
        struct lanecall_card_frame frame;
        uint8_t bytes[LANECALL_CARD_PACKET_MAX];
    };
};

typedef struct LanecallOperation {
    QTAILQ_ENTRY(LanecallOperation) next; /* of those queued, or unused */
    bool queued; /* not all of it is in flight, or has been */
    bool lost; /* with its session: nobody is to be told */
    LanecallPacket *packet;
    LanecallRegion *region; /* NULL: there is none any more */
    uint64_t id;
    uint32_t type; /* LANECALL_DMA_* */
    uint32_t error;
    const struct lanecall_dma_extent *extent; /* the next in line */
    uint32_t extents; /* how many are left, it included */
    uint64_t begun; /* bytes of it that are in flight, or have been */
    uint64_t moved;
    unsigned in_flight; /* pieces */
} LanecallOperation;

typedef QTAILQ_HEAD(, LanecallOperation) LanecallOperations;

LanecallPacket *lanecall_packet_new(LanecallMover *mover);
void lanecall_packet_free(LanecallMover *mover, LanecallPacket *packet);

/*
 * A DMA packet of @bytes; its frame is there. What is wrong with it, or NULL:
 * then it belongs to its operations if users is not 0.
 */
const char *lanecall_batch_take(LanecallMover *mover, LanecallPacket *packet,
                                size_t bytes);

/* There is nothing more to be put into flight. Done once all has landed. */
void lanecall_operation_end(LanecallMover *mover, LanecallOperation *op,
                            uint32_t error);

/* A piece of it has landed, with all these bytes or less. */
void lanecall_operation_landed(LanecallMover *mover, LanecallOperation *op,
                               uint64_t bytes);

/* Tells the server what is done. False: some of it has to wait. */
bool lanecall_batch_tell(LanecallMover *mover);

/* ---- copy.c -------------------------------------------------------------- */

/*
 * To memory of the guest's. With streams, call lanecall_streamed() before
 * anybody is told that it is there.
 */
void lanecall_copy_to_guest(uint8_t *guest, const uint8_t *card, size_t bytes,
                            bool streams);
void lanecall_fill_guest(uint8_t *guest, uint8_t value, size_t bytes,
                         bool streams);
void lanecall_streamed(void);

/* ---- mover.c ------------------------------------------------------------- */

typedef struct LanecallPiece {
    LanecallOperation *op;
    void *guest;
    uint8_t *card;
    uint64_t bytes;
    uint32_t type;
    uint8_t fill;
} LanecallPiece;

/* What is mapped, copied and unmapped in one go. */
typedef struct LanecallSlice {
    LanecallPiece piece[LANECALL_MAX_EXTENTS];
    unsigned count;
    uint64_t bytes;
    uint64_t moved; /* of them; the worker's until it is copied */
} LanecallSlice;

#define LANECALL_SLICES 4

struct LanecallMover {
    LanecallEngine *engine; /* NULL: it has gone */
    PCIDevice *pdev;
    QEMUBH *turn;

    LanecallOperation *operation; /* all there are */
    LanecallOperations unused;
    LanecallOperations queue;
    unsigned outstanding; /* of this session, not told yet */
    struct lanecall_dma_done *done; /* to be told */
    unsigned done_count;
    QSLIST_HEAD(, LanecallPacket) spare;
    unsigned spare_count;

    /*
     * Slices number filled - 1 and below have been filled, copied - 1 and below
     * copied, retired - 1 and below unmapped. The worker writes only copied.
     */
    LanecallSlice slice[LANECALL_SLICES];
    unsigned filled;
    unsigned copied;
    unsigned retired;
    bool working; /* the worker has not come home */
    bool stop; /* asks it to copy no more */
};

LanecallMover *lanecall_mover_new(LanecallEngine *engine);
void lanecall_mover_free(LanecallMover *mover);

/* There is something to do; it will be done soon. */
void lanecall_mover_wake(LanecallMover *mover);

/* Begins no more access to that region: what is queued is REVOKED. */
void lanecall_mover_revoke(LanecallMover *mover, const LanecallRegion *region);

/* There are no regions any more. */
void lanecall_mover_reset(LanecallMover *mover);

/* May memory still be touched? */
bool lanecall_mover_busy(const LanecallMover *mover);

/* The session is over: drops everything. */
void lanecall_mover_lose(LanecallMover *mover);

/* ---- rogue.c ------------------------------------------------------------- */

LanecallRogue *lanecall_rogue_new(LanecallEngine *engine);
void lanecall_rogue_free(LanecallRogue *rogue);

/* Guest memory that the device must not touch any more. NULL: does nothing. */
void lanecall_rogue_note(LanecallRogue *rogue, uint64_t address,
                         uint64_t bytes);

uint32_t lanecall_rogue_read(const LanecallRogue *rogue, hwaddr offset);

/* To be called between lanecall_enter() and lanecall_leave(). */
void lanecall_rogue_write(LanecallRogue *rogue, hwaddr offset, uint32_t value);

/* ---- hostile.c ----------------------------------------------------------- */

/* All that take @hostile take NULL for a device that does not lie. */

LanecallHostile *lanecall_hostile_new(LanecallEngine *engine);
void lanecall_hostile_free(LanecallHostile *hostile);

/* Forgets what it still had to tell. */
void lanecall_hostile_reset(LanecallHostile *hostile);

/* The truth, or what is said instead at that place (lanecall/hostile.h). */
uint32_t lanecall_hostile_value(LanecallHostile *hostile, unsigned place,
                                uint32_t truth);

/*
 * What a command is taken for. Those up to @last_that_takes have the device use
 * memory that the driver names: no other is taken for one of them.
 */
uint32_t lanecall_hostile_command(LanecallHostile *hostile, unsigned place,
                                  uint32_t truth, uint32_t last_that_takes);

/* The vector to be raised for that one, now; one there is not: none. */
uint32_t lanecall_hostile_vector(LanecallHostile *hostile, uint32_t vector);

/*
 * A channel's status has changed: if this is true, do not write it to its page.
 * lanecall_hostile_page() does, at the end of the work on the channel, with
 * whatever else is to be said there. After that it may be CLOSED.
 */
bool lanecall_hostile_tells(LanecallHostile *hostile,
                            const LanecallChannel *ch);
void lanecall_hostile_page(LanecallHostile *hostile, LanecallChannel *ch);

/* What its register says. After that it may be CLOSED. */
uint32_t lanecall_hostile_status(LanecallHostile *hostile, LanecallChannel *ch);

/* @word is about to be written to @address, a region's. False: not now. */
bool lanecall_hostile_says(LanecallHostile *hostile, uint64_t address,
                           uint32_t vector, uint32_t *word);

uint32_t lanecall_hostile_read(const LanecallHostile *hostile, hwaddr offset);

/* To be called between lanecall_enter() and lanecall_leave(). */
void lanecall_hostile_write(LanecallHostile *hostile, hwaddr offset,
                            uint32_t value);

#endif
