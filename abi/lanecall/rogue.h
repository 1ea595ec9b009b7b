/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * Rogue DMA: registers of a device that misbehaves for a test, as x-rogue-dma
 * has QEMU's do. It writes where it was never told to, or not any more, so that
 * a test can see what stops it. Only then do these registers exist; no driver
 * uses them, and no other device has them. docs/device.md, "Test properties".
 *
 * Each attempt is a write of LANECALL_ROGUE_WORD, 8 bytes as they are in
 * memory. It is blocked if the bus does not let the device write there: the
 * address is not translated, bus mastering is off, or it is not RAM.
 */
#ifndef LANECALL_ROGUE_H
#define LANECALL_ROGUE_H

#include "platform.h"

#define LANECALL_ROGUE_WORD 0x414d446575676f72ULL /* "rogueDMA" */

/* BAR 2, 32 bits wide. No reset changes them; at power-on they are 0. */
#define LANECALL_REG_ROGUE_LO 0xf00 /* RW: the address for CHOSEN */
#define LANECALL_REG_ROGUE_HI 0xf04
#define LANECALL_REG_ROGUE_SEED 0xf08 /* RW: begins a series of addresses */
#define LANECALL_REG_ROGUE_COMMAND 0xf0c /* WO: LANECALL_ROGUE_*, and a count */
#define LANECALL_REG_ROGUE_TRIED 0xf10 /* RO: attempts since power-on */
#define LANECALL_REG_ROGUE_BLOCKED 0xf14 /* RO: of them */
#define LANECALL_REG_ROGUE_REMEMBERED 0xf18 /* RO: addresses given back */

/* Commands: all attempts are made before the register write completes. */
#define LANECALL_ROGUE_CHOSEN 1 /* count words, from the address on */
#define LANECALL_ROGUE_RANDOM 2 /* count words of RAM below 2 GiB */
#define LANECALL_ROGUE_GIVEN_BACK 3 /* every address that is remembered */
#define LANECALL_ROGUE_FORGET 4 /* forgets them */
#define LANECALL_ROGUE(command, count) ((command) | (count) << 8)

#define LANECALL_ROGUE_COUNT_MAX 4096 /* a larger one is this one */
#define LANECALL_ROGUE_REMEMBERED_MAX 1024 /* the latest are kept */

#endif
