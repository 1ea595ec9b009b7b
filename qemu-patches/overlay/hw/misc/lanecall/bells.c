/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a driver and the card's server wake each other on the direct plane: by
 * two eventfds for each channel. A doorbell is written to one; the server
 * writes the other, and the device raises the channel's interrupt.
 *
 * The server has these eventfds too, and may do with them what it likes. So
 * nothing is ever read of them: one epoll tells, edge triggered, which were
 * written since it was last asked. It also is the one descriptor that the main
 * loop has to look at, however many channels there are.
 */
#include "qemu/osdep.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "qemu/main-loop.h"
#include "engine.h"
#include "trace.h"

#define BELLS_PER_TURN 64

static void on_interrupts(void *opaque)
{
    LanecallCard *card = opaque;
    LanecallEngine *engine = card->engine;
    bool entered = lanecall_enter(engine);
    struct epoll_event event[BELLS_PER_TURN];
    int i, count;

    count = epoll_wait(card->epoll, event, BELLS_PER_TURN, 0);
    for (i = 0; i < count; i++) {
        LanecallChannel *ch = &engine->channel[event[i].data.u32];

        /* Of a channel that has left since, it is one without need. */
        lanecall_interrupt(engine, ch->vector);
    }
    lanecall_leave(engine, entered);
}

bool lanecall_bells_init(LanecallCard *card)
{
    card->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (card->epoll < 0) {
        return false;
    }
    qemu_set_fd_handler(card->epoll, on_interrupts, NULL, card);
    return true;
}

void lanecall_bells_destroy(LanecallCard *card)
{
    qemu_set_fd_handler(card->epoll, NULL, NULL, NULL);
    close(card->epoll);
}

static int make_eventfd(void)
{
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

int lanecall_bells_make(LanecallDirect *direct)
{
    int error;

    direct->doorbell = make_eventfd();
    direct->interrupt = make_eventfd();
    if (direct->doorbell < 0 || direct->interrupt < 0) {
        error = errno;
        lanecall_bells_close(direct);
        return -error;
    }
    return 0;
}

bool lanecall_bells_watch(LanecallCard *card, LanecallChannel *ch)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLET,
        .data.u32 = ch->number,
    };

    return epoll_ctl(card->epoll, EPOLL_CTL_ADD, ch->direct.interrupt,
                     &event) == 0;
}

/* The epoll would not forget one that the server holds on to by itself. */
void lanecall_bells_unwatch(LanecallCard *card, LanecallChannel *ch)
{
    if (ch->direct.interrupt >= 0) {
        epoll_ctl(card->epoll, EPOLL_CTL_DEL, ch->direct.interrupt, NULL);
    }
}

void lanecall_bells_close(LanecallDirect *direct)
{
    if (direct->doorbell >= 0) {
        close(direct->doorbell);
    }
    if (direct->interrupt >= 0) {
        close(direct->interrupt);
    }
    direct->doorbell = -1;
    direct->interrupt = -1;
}

void lanecall_bells_ring(const LanecallDirect *direct)
{
    uint64_t one = 1;
    ssize_t n;

    /* EAGAIN: it was rung 2^64 - 2 times, and the server has not looked. */
    n = write(direct->doorbell, &one, sizeof(one));
    (void)n;
}
