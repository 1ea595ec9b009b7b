/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints, in /sys/kernel/tracing/events/lanecall: a channel's life (open,
 * attach, drain, close, closed, gone) and what crosses between driver and device
 * meanwhile. Each names device and channel by number.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM lanecall

#if !defined(LANECALL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LANECALL_TRACE_H

#include <linux/tracepoint.h>

#include "lanecall.h"

DECLARE_EVENT_CLASS(lanecall_slot,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot),
	TP_STRUCT__entry(
		__field(unsigned int, device)
		__field(unsigned int, channel)
	),
	TP_fast_assign(
		__entry->device = slot->ldev->minor;
		__entry->channel = slot->number;
	),
	TP_printk("lanecall%u channel=%u", __entry->device, __entry->channel)
);

/* The device is told to connect. */
DEFINE_EVENT(lanecall_slot, lanecall_open,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* The driver rings; a program that has mapped its channel does so unseen. */
DEFINE_EVENT(lanecall_slot, lanecall_doorbell,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* Of the channel's vector: for each channel that shares it. */
DEFINE_EVENT(lanecall_slot, lanecall_interrupt,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* The file is closed: the device is told to send what is left. */
DEFINE_EVENT(lanecall_slot, lanecall_drain,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* The device is told to close at once. */
DEFINE_EVENT(lanecall_slot, lanecall_close,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* The device has confirmed: the channel is free. */
DEFINE_EVENT(lanecall_slot, lanecall_closed,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* Lost: the device was stopped, or said something impossible. */
DEFINE_EVENT(lanecall_slot, lanecall_gone,
	TP_PROTO(const struct lanecall_slot *slot),
	TP_ARGS(slot));

/* The device is given rings, or told to place them. */
TRACE_EVENT(lanecall_attach,
	TP_PROTO(const struct lanecall_channel *ch),
	TP_ARGS(ch),
	TP_STRUCT__entry(
		__field(unsigned int, device)
		__field(unsigned int, channel)
		__field(u32, tx_bytes)
		__field(u32, rx_bytes)
		__field(bool, in_card)
	),
	TP_fast_assign(
		__entry->device = ch->ldev->minor;
		__entry->channel = ch->slot->number;
		__entry->tx_bytes = ch->tx_bytes;
		__entry->rx_bytes = ch->rx_bytes;
		__entry->in_card = ch->in_card;
	),
	TP_printk("lanecall%u channel=%u tx_bytes=%u rx_bytes=%u plane=%s",
		  __entry->device, __entry->channel, __entry->tx_bytes,
		  __entry->rx_bytes, __entry->in_card ? "direct" : "socket")
);

/* A read or a write has nothing to do and goes to sleep. */
TRACE_EVENT(lanecall_sleep,
	TP_PROTO(const struct lanecall_slot *slot, bool for_room),
	TP_ARGS(slot, for_room),
	TP_STRUCT__entry(
		__field(unsigned int, device)
		__field(unsigned int, channel)
		__field(bool, for_room)
	),
	TP_fast_assign(
		__entry->device = slot->ldev->minor;
		__entry->channel = slot->number;
		__entry->for_room = for_room;
	),
	TP_printk("lanecall%u channel=%u for=%s", __entry->device,
		  __entry->channel, __entry->for_room ? "room" : "bytes")
);

/* It is awake again; err is not 0 after a signal. */
TRACE_EVENT(lanecall_wake,
	TP_PROTO(const struct lanecall_slot *slot, int err),
	TP_ARGS(slot, err),
	TP_STRUCT__entry(
		__field(unsigned int, device)
		__field(unsigned int, channel)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->device = slot->ldev->minor;
		__entry->channel = slot->number;
		__entry->err = err;
	),
	TP_printk("lanecall%u channel=%u err=%d", __entry->device,
		  __entry->channel, __entry->err)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
