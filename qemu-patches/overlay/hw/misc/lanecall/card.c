/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The card port: one session at a time with a server that plays the card's
 * firmware. lanecall/card.h specifies what is said; here it is sent, received
 * and checked, and the session begun and ended. What a frame means to a channel
 * is direct.c's.
 *
 * What the server has not read yet lies in the socket's buffer. When that is
 * full, no channel is offered any more: else a program of the guest that opens
 * and closes one, again and again, while the server is slow or stopped, would
 * leave no room for what others have to say. Their frames wait in a queue here,
 * in which each channel has its share.
 *
 * The session ends for whatever the server does against the specification.
 * Channels are told by a bottom half, because this can happen in the middle of
 * the work on one of them.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "engine.h"
#include "trace.h"

#define GREETING_MS 5000
#define FRAMES_PER_TURN 64
#define FRAMES_FOR_A_BATCH 8 /* as long as so many take */
#define SEND_BUFFER (256 * KiB) /* some 500 frames; the host may give less */
#define MOST_DESCRIPTORS 2

/*
 * A channel's frames behind its OFFER, all unread: PLACE, START or BUSY, DRAIN,
 * CLOSE. It is not offered again until the queue is empty. One BUSY answers one
 * PLACED, which a server sends when it has read the BUSY before. So only a
 * server that does not do that finds the queue full.
 */
#define UNSENT_PER_CHANNEL 4

static void on_readable(void *opaque);
static void on_writable(void *opaque);

/* ---- The end ------------------------------------------------------------- */

/* @why: what the server did wrong, or NULL if it just went. */
static void drop_session(LanecallCard *card, const char *why)
{
    LanecallEngine *engine = card->engine;

    trace_lanecall_card_dropped(engine->name, why ? why : "the server's end");
    if (why && lanecall_may_log(&card->log)) {
        warn_report("lanecall %s: dropped the server at card=%s, because it "
                    "%s; the next open connects to it again", engine->name,
                    lanecall_server_uri(card->server), why);
    }
    timer_del(card->greeting);
    lanecall_connection_close(&card->connection);
    card->session = LANECALL_SESSION_NONE;
    card->unsent_count = 0;
    card->moves = false;
    lanecall_mover_lose(card->mover);
    lanecall_direct_lose(card);
    qemu_bh_schedule(card->lost);
}

static void drop_session_for(LanecallCard *card, int error)
{
    g_autofree char *why = g_strdup_printf("cannot be talked to: %s",
                                           strerror(error));

    drop_session(card, why);
}

static void on_lost(void *opaque)
{
    LanecallCard *card = opaque;
    LanecallEngine *engine = card->engine;
    bool entered = lanecall_enter(engine);
    unsigned i;

    for (i = 0; i < engine->channels; i++) {
        if (engine->channel[i].direct.lost) {
            lanecall_channel_lost(&engine->channel[i]);
        }
    }
    lanecall_leave(engine, entered);
}

static void on_clear(void *opaque)
{
    LanecallCard *card = opaque;
    LanecallEngine *engine = card->engine;
    bool entered = lanecall_enter(engine);

    if (lanecall_direct_clear(card)) {
        lanecall_card_clear_soon(card);
    }
    lanecall_leave(engine, entered);
}

void lanecall_card_clear_soon(LanecallCard *card)
{
    timer_mod(card->clear, MAX(get_clock(), card->alone_until));
}

static void on_greeting_timeout(void *opaque)
{
    LanecallCard *card = opaque;
    bool entered = lanecall_enter(card->engine);

    drop_session(card, "did not greet within 5 s");
    lanecall_leave(card->engine, entered);
}

/* ---- Sending ------------------------------------------------------------- */

typedef union Control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
} Control;

static void attach_descriptors(struct msghdr *message, Control *control,
                               const int *fds, unsigned count)
{
    struct cmsghdr *header = &control->header;

    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
}

/* 0 or an errno value. */
static int transmit_message(LanecallCard *card,
                            const struct lanecall_card_frame *frame,
                            const struct msghdr *message)
{
    ssize_t n;
    int error;

    do {
        n = sendmsg(card->connection.fd, message,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    error = n < 0 ? errno : 0;
    trace_lanecall_card_sent(card->engine->name, le32_to_cpu(frame->type),
                             le64_to_cpu(frame->channel), error);
    /*
     * A server that has gone is met when what it had said before has been read
     * to its end.
     */
    return error == EPIPE || error == ECONNRESET ? 0 : error;
}

static int transmit(LanecallCard *card,
                    const struct lanecall_card_frame *frame, const int *fds,
                    unsigned count)
{
    Control control = { };
    struct iovec iov = {
        .iov_base = (void *)frame,
        .iov_len = sizeof(*frame),
    };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
    };

    if (count) {
        attach_descriptors(&message, &control, fds, count);
    }
    return transmit_message(card, frame, &message);
}

static void queue_unsent(LanecallCard *card,
                         const struct lanecall_card_frame *frame)
{
    if (card->unsent_count ==
        UNSENT_PER_CHANNEL * card->engine->channels) {
        drop_session(card, "does not read what it is sent");
        return;
    }
    card->unsent[card->unsent_count++] = *frame;
    lanecall_connection_watch(&card->connection, on_readable, on_writable);
}

void lanecall_card_send(LanecallCard *card,
                        const struct lanecall_card_frame *frame)
{
    int error = card->unsent_count ? EAGAIN : transmit(card, frame, NULL, 0);

    if (error == EAGAIN) {
        queue_unsent(card, frame);
    } else if (error) {
        drop_session_for(card, error);
    }
}

bool lanecall_card_send_done(LanecallCard *card,
                             const struct lanecall_dma_done *done,
                             unsigned count)
{
    struct lanecall_card_frame frame = {
        .type = cpu_to_le32(LANECALL_CARD_DONE),
        .batch.operations = cpu_to_le32(count),
    };
    struct iovec iov[] = {
        { .iov_base = &frame, .iov_len = sizeof(frame) },
        { .iov_base = (void *)done, .iov_len = count * sizeof(*done) },
    };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
    int error = transmit_message(card, &frame, &message);

    if (error == EAGAIN) {
        lanecall_connection_watch(&card->connection, on_readable, on_writable);
    } else if (error) {
        drop_session_for(card, error);
    }
    return !error;
}

/* How many frames the socket took; may drop the session. */
static unsigned transmit_unsent(LanecallCard *card)
{
    unsigned n = 0;
    int error = 0;

    while (n < card->unsent_count) {
        error = transmit(card, &card->unsent[n], NULL, 0);
        if (error) {
            break;
        }
        n++;
    }
    if (error && error != EAGAIN) {
        drop_session_for(card, error);
        return 0;
    }
    return n;
}

static void on_writable(void *opaque)
{
    LanecallCard *card = opaque;
    bool entered = lanecall_enter(card->engine);
    unsigned n = transmit_unsent(card);

    card->unsent_count -= n;
    memmove(card->unsent, &card->unsent[n],
            card->unsent_count * sizeof(card->unsent[0]));
    if (!card->unsent_count && lanecall_batch_tell(card->mover) &&
        card->session != LANECALL_SESSION_NONE) {
        lanecall_connection_watch(&card->connection, on_readable, NULL);
    }
    lanecall_leave(card->engine, entered);
}

/*
 * Beside a full buffer, the host bounds how many descriptors may be on their
 * way. Whatever it is, only the newcomer has to do without.
 */
int lanecall_card_offer(LanecallCard *card,
                        const struct lanecall_card_frame *frame,
                        const int fds[2])
{
    if (card->unsent_count || transmit(card, frame, fds, 2)) {
        return -ENOBUFS;
    }
    return 0;
}

/* ---- The greeting -------------------------------------------------------- */

static void greet(LanecallCard *card)
{
    LanecallEngine *engine = card->engine;
    struct lanecall_card_frame hello = {
        .type = cpu_to_le32(LANECALL_CARD_HELLO),
        .greeting = {
            .magic = cpu_to_le32(LANECALL_CARD_MAGIC),
            .version = cpu_to_le32(LANECALL_CARD_VERSION),
            .features = cpu_to_le64(LANECALL_CARD_FEATURE_DMA),
            .card_bytes = cpu_to_le64(engine->card_bytes),
            .channels = cpu_to_le32(engine->channels),
            .dma = cpu_to_le32(LANECALL_OPERATIONS),
        },
    };
    int fd = lanecall_card_memory_fd(engine);
    int bytes = SEND_BUFFER;
    int error;

    setsockopt(card->connection.fd, SOL_SOCKET, SO_SNDBUF, &bytes,
               sizeof(bytes));
    pstrcpy((char *)hello.greeting.device, sizeof(hello.greeting.device),
            engine->name);
    lanecall_connection_watch(&card->connection, on_readable, NULL);
    error = transmit(card, &hello, &fd, 1);
    if (error) {
        drop_session_for(card, error);
    }
}

static void on_connected(void *opaque, int error)
{
    LanecallCard *card = opaque;
    bool entered = lanecall_enter(card->engine);

    if (error) {
        drop_session(card, NULL);
    } else {
        greet(card);
    }
    lanecall_leave(card->engine, entered);
}

int lanecall_card_connect(LanecallCard *card)
{
    int result;

    if (card->session != LANECALL_SESSION_NONE) {
        return 0;
    }
    result = lanecall_connection_start(&card->connection);
    if (result && result != -EINPROGRESS) {
        return result;
    }
    card->session = LANECALL_SESSION_GREETING;
    card->first_id = card->next_id;
    timer_mod(card->greeting,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + GREETING_MS);
    if (!result) {
        greet(card);
    }
    return card->session == LANECALL_SESSION_NONE ? -ECONNREFUSED : 0;
}

/* What is wrong with the server's first frame? */
static const char *check_welcome(const struct lanecall_card_frame *frame)
{
    const struct lanecall_card_greeting *greeting = &frame->greeting;

    if (le32_to_cpu(frame->type) != LANECALL_CARD_WELCOME ||
        le32_to_cpu(greeting->magic) != LANECALL_CARD_MAGIC) {
        return "did not begin with WELCOME";
    }
    if (le32_to_cpu(greeting->version) >> 16 != LANECALL_CARD_VERSION_MAJOR) {
        return "speaks another version of the card protocol than 1";
    }
    if (le64_to_cpu(greeting->features) & ~LANECALL_CARD_FEATURE_DMA) {
        return "asks for features that were not offered";
    }
    return NULL;
}

static const char *welcome(LanecallCard *card,
                           const struct lanecall_card_frame *frame)
{
    const char *wrong = check_welcome(frame);

    if (!wrong) {
        timer_del(card->greeting);
        card->session = LANECALL_SESSION_LIVE;
        card->moves = frame->greeting.features;
        trace_lanecall_card_live(card->engine->name);
        lanecall_direct_offer_waiting(card);
    }
    return wrong;
}

/* ---- Receiving ----------------------------------------------------------- */

/*
 * One packet: its bytes, 0 at the end, or -errno. Descriptors never arrive,
 * since there is no room for them.
 */
static ssize_t receive(LanecallCard *card, int *flags)
{
    LanecallPacket *packet = card->packet;
    struct iovec iov = {
        .iov_base = packet->bytes,
        .iov_len = sizeof(packet->bytes),
    };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    /* A reset is told once, and before what had come until then. */
    do {
        n = recvmsg(card->connection.fd, &message, MSG_DONTWAIT);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    *flags = message.msg_flags;
    return n < 0 ? -errno : n;
}

static bool is_batch(const LanecallCard *card, ssize_t n)
{
    return card->moves && n >= sizeof(struct lanecall_card_frame) &&
           le32_to_cpu(card->packet->frame.type) == LANECALL_CARD_DMA;
}

static const char *check_packet(const LanecallCard *card, ssize_t n, int flags)
{
    if (flags & MSG_CTRUNC) {
        return "sent descriptors";
    }
    if (flags & MSG_TRUNC) {
        return "sent a packet of more than 64 KiB";
    }
    if (n != sizeof(struct lanecall_card_frame) && !is_batch(card, n)) {
        return "sent a packet that is not a frame of 64 bytes";
    }
    return NULL;
}

static const char *take_batch(LanecallCard *card, size_t bytes)
{
    LanecallPacket *packet = card->packet;
    const char *wrong = lanecall_batch_take(card->mover, packet, bytes);

    if (packet->users) {
        card->packet = lanecall_packet_new(card->mover);
    }
    return wrong;
}

static const char *take_packet(LanecallCard *card, size_t bytes)
{
    const struct lanecall_card_frame *frame = &card->packet->frame;

    trace_lanecall_card_received(card->engine->name, le32_to_cpu(frame->type),
                                 le64_to_cpu(frame->channel));
    if (card->session != LANECALL_SESSION_LIVE) {
        return welcome(card, frame);
    }
    if (is_batch(card, bytes)) {
        return take_batch(card, bytes);
    }
    return lanecall_direct_frame(card, frame);
}

/* How much of a turn it took; 0: there is no more to be received. */
static unsigned receive_one(LanecallCard *card)
{
    const char *wrong;
    unsigned frames;
    int flags;
    ssize_t n = receive(card, &flags);

    if (n == -EAGAIN) {
        return 0;
    }
    if (n <= 0) {
        if (n) {
            drop_session_for(card, -n);
        } else {
            drop_session(card, NULL);
        }
        return 0;
    }
    frames = is_batch(card, n) ? FRAMES_FOR_A_BATCH : 1;
    wrong = check_packet(card, n, flags);
    if (!wrong) {
        wrong = take_packet(card, n);
    }
    if (wrong) {
        drop_session(card, wrong);
    }
    return card->session == LANECALL_SESSION_NONE ? 0 : frames;
}

static void on_readable(void *opaque)
{
    LanecallCard *card = opaque;
    LanecallEngine *engine = card->engine;
    bool entered = lanecall_enter(engine);
    unsigned left = FRAMES_PER_TURN;
    unsigned frames;

    do {
        frames = receive_one(card);
        left -= MIN(left, frames);
    } while (frames && left);
    lanecall_leave(engine, entered);
}

/* ---- Life cycle ---------------------------------------------------------- */

LanecallCard *lanecall_card_new(LanecallEngine *engine, Error **errp)
{
    LanecallServer *server;
    LanecallCard *card;

    server = lanecall_server_new("card", engine->card_uri, SOCK_SEQPACKET,
                                 errp);
    if (!server) {
        return NULL;
    }
    card = g_new0(LanecallCard, 1);
    card->engine = engine;
    card->server = server;
    card->next_id = 1;
    card->unsent = g_new(struct lanecall_card_frame,
                         UNSENT_PER_CHANNEL * engine->channels);
    if (!lanecall_bells_init(card)) {
        error_setg_errno(errp, errno, "card=%s: the host has no epoll, "
                         "memory file or asynchronous I/O to spare "
                         "(fs.aio-max-nr)",
                         engine->card_uri);
        lanecall_server_free(server);
        g_free(card->unsent);
        g_free(card);
        return NULL;
    }
    card->mover = lanecall_mover_new(engine);
    card->packet = lanecall_packet_new(card->mover);
    card->greeting = timer_new_ms(QEMU_CLOCK_REALTIME, on_greeting_timeout,
                                  card);
    card->lost = qemu_bh_new_guarded(on_lost, card,
                             &DEVICE(engine->pdev)->mem_reentrancy_guard);
    card->clear = timer_new_ns(QEMU_CLOCK_REALTIME, on_clear, card);
    lanecall_connection_init(&card->connection, server, on_connected, card);
    return card;
}

void lanecall_card_free(LanecallCard *card)
{
    lanecall_connection_destroy(&card->connection);
    timer_free(card->greeting);
    timer_free(card->clear);
    qemu_bh_delete(card->lost);
    lanecall_bells_destroy(card);
    lanecall_packet_free(card->mover, card->packet);
    lanecall_mover_free(card->mover);
    lanecall_server_free(card->server);
    g_free(card->unsent);
    g_free(card);
}
