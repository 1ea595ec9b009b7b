/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * Lies: registers of a device that lies for a test, as x-hostile has QEMU's do,
 * so that a test can see what a driver believes. Only then do these registers
 * exist; no driver uses them, and no other device has them. docs/device.md,
 * "Test properties".
 *
 * The test says where the device may lie (places), what it says instead of the
 * truth (kind), and how often. At each place it has a chance whenever it is
 * asked or tells there, and from time to time by itself. A lie is counted if it
 * differs from the truth.
 *
 * One thing is never a lie: that memory is the driver's again. A device that
 * says so has let go of it, even if nobody had asked; only an IOMMU would help
 * against the other (rogue.h).
 */
#ifndef LANECALL_HOSTILE_H
#define LANECALL_HOSTILE_H

#include "platform.h"

/* BAR 2, 32 bits wide. Kept by resets; 0 at power-on, but for SEED. */
#define LANECALL_REG_HOSTILE_PLACES_LO 0xe00 /* RW: a bit for each place */
#define LANECALL_REG_HOSTILE_PLACES_HI 0xe04
#define LANECALL_REG_HOSTILE_KIND 0xe08 /* RW: LANECALL_LIE_*; 0: any */
#define LANECALL_REG_HOSTILE_ONE_IN 0xe0c /* RW: of so many chances; 0: none */
#define LANECALL_REG_HOSTILE_SEED 0xe10 /* RW: begins a series of lies */
#define LANECALL_REG_HOSTILE_TOLD 0xe14 /* RO: lies since power-on */

/* ---- Places, as numbers of bits ----------------------------------------- */

/* A device register, when it is read. Any below 0x80. */
#define LANECALL_HOSTILE_REGISTER(reg) ((reg) / 4)

#define LANECALL_HOSTILE_CH_STATUS 32 /* that register of a channel */

/* Words of the index page. IN_CARD those of the rings are in card memory. */
#define LANECALL_HOSTILE_STATUS 33
#define LANECALL_HOSTILE_TX_TAIL 34
#define LANECALL_HOSTILE_TX_WANT_HEAD 35
#define LANECALL_HOSTILE_RX_HEAD 36
#define LANECALL_HOSTILE_RX_WANT_TAIL 37
#define LANECALL_HOSTILE_TX_HEAD 38 /* from here: the driver's own */
#define LANECALL_HOSTILE_TX_WANT_TAIL 39
#define LANECALL_HOSTILE_RX_TAIL 40
#define LANECALL_HOSTILE_RX_WANT_HEAD 41
#define LANECALL_HOSTILE_GONE 42
#define LANECALL_HOSTILE_COUNTER 43 /* to here */
#define LANECALL_HOSTILE_CARD_INDEX 44
#define LANECALL_HOSTILE_CARD_TX 45
#define LANECALL_HOSTILE_CARD_RX 46

#define LANECALL_HOSTILE_REGION 47 /* the status word of a region */

/* What the device makes of what it is told, or tells by no word. */
#define LANECALL_HOSTILE_COMMAND 48 /* of a channel */
#define LANECALL_HOSTILE_REGION_COMMAND 49
#define LANECALL_HOSTILE_DOORBELL 50 /* whose it is */
#define LANECALL_HOSTILE_INTERRUPT 51 /* its vector */
#define LANECALL_HOSTILE_REPEATS 52 /* how often it comes again */

#define LANECALL_HOSTILE_PLACES 53

/* ---- What it says -------------------------------------------------------- */

#define LANECALL_LIE_ZERO 1
#define LANECALL_LIE_ONE 2
#define LANECALL_LIE_ALL_ONES 3
#define LANECALL_LIE_ONE_MORE 4
#define LANECALL_LIE_ONE_LESS 5
#define LANECALL_LIE_HIGHEST_BIT 6 /* that alone */
#define LANECALL_LIE_OTHER_BIT 7 /* one of them is wrong */
#define LANECALL_LIE_RANDOM 8
#define LANECALL_LIE_OLD 9 /* what was true there before */
#define LANECALL_LIE_LATE 10 /* likewise, and the truth after a while */
#define LANECALL_LIES 10

#endif
