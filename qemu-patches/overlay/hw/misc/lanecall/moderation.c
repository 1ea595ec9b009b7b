/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moderation: holds interrupts back that announce bytes in RX, until enough
 * have come or the first has waited long enough. For rings in guest memory; for
 * those in card memory it is the server's to do.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "engine.h"

static void announce(LanecallChannel *ch)
{
    lanecall_moderation_stop(ch);
    lanecall_interrupt(ch->engine, ch->vector);
}

static void on_held_long_enough(void *opaque)
{
    LanecallChannel *ch = opaque;
    LanecallEngine *engine = ch->engine;
    bool entered = lanecall_enter(engine);

    announce(ch);
    lanecall_leave(engine, entered);
}

void lanecall_moderation_init(LanecallChannel *ch)
{
    ch->moderation.timer = timer_new_ns(QEMU_CLOCK_REALTIME,
                                        on_held_long_enough, ch);
}

void lanecall_moderation_destroy(LanecallChannel *ch)
{
    timer_free(ch->moderation.timer);
}

void lanecall_moderation_stop(LanecallChannel *ch)
{
    ch->moderation.holding = false;
    timer_del(ch->moderation.timer);
}

static void hold(LanecallChannel *ch)
{
    ch->moderation.holding = true;
    ch->moderation.held = 0;
    timer_mod_ns(ch->moderation.timer,
                 qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
                 ch->moderation.us * (int64_t)SCALE_US);
}

void lanecall_moderate(LanecallChannel *ch, uint32_t bytes, bool wanted,
                       bool full)
{
    if (!ch->moderation.us) {
        if (wanted) {
            lanecall_interrupt(ch->engine, ch->vector);
        }
        return;
    }
    if (wanted && !ch->moderation.holding) {
        hold(ch);
    }
    if (ch->moderation.holding) {
        ch->moderation.held += bytes;
        /* Nothing can follow what fills the ring. */
        if (full || ch->moderation.held >= ch->moderation.bytes) {
            announce(ch);
        }
    }
}
