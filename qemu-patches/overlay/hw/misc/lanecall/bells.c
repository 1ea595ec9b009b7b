/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a driver and the card's server wake each other on the direct plane: by
 * two eventfds for each channel. A doorbell is written to one; the server
 * writes the other, and the device raises the channel's interrupt.
 *
 * The server has these eventfds too, and may do with them what it likes: fill
 * or empty them at any time, make them blocking. So none is read: one epoll
 * tells, edge triggered, which were written since it was last asked. It also is
 * the one descriptor that the main loop has to look at, however many channels
 * there are. And none is written, which blocks if it is full: the kernel adds
 * to it, which never does, when an asynchronous read of nothing has completed:
 * of an empty file that the server does not have, so that it cannot delay it.
 */
#include "qemu/osdep.h"
#include <linux/aio_abi.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include "qemu/main-loop.h"
#include "qemu/memfd.h"
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
    int error;

    card->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (card->epoll < 0) {
        return false;
    }
    card->nothing = memfd_create("lanecall-nothing", MFD_CLOEXEC);
    if (card->nothing < 0) {
        goto fail_epoll;
    }
    card->aio = 0;
    if (syscall(SYS_io_setup, 1, &card->aio) < 0) {
        goto fail_nothing;
    }
    qemu_set_fd_handler(card->epoll, on_interrupts, NULL, card);
    return true;

fail_nothing:
    error = errno;
    close(card->nothing);
    errno = error;
fail_epoll:
    error = errno;
    close(card->epoll);
    errno = error;
    return false;
}

void lanecall_bells_destroy(LanecallCard *card)
{
    qemu_set_fd_handler(card->epoll, NULL, NULL, NULL);
    close(card->epoll);
    syscall(SYS_io_destroy, card->aio);
    close(card->nothing);
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

bool lanecall_bells_ring(LanecallCard *card, const LanecallDirect *direct)
{
    struct iocb read_of_nothing = {
        .aio_fildes = card->nothing,
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = direct->doorbell,
    };
    struct iocb *list[] = { &read_of_nothing };
    struct timespec at_once = { };
    struct io_event done;

    /* It completes in the call, and makes room for the next one. */
    if (syscall(SYS_io_submit, card->aio, 1, list) != 1) {
        return false;
    }
    syscall(SYS_io_getevents, card->aio, 1, 1, &done, &at_once);
    return true;
}
