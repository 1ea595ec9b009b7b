/* SPDX-License-Identifier: Apache-2.0
 *
 * What the machine code of virtines' functions (functions.S) and the program
 * around them agree on. Read by the assembler, too: numbers only.
 */
#ifndef LANECALL_VIRTINE_FUNCTION_ABI_H
#define LANECALL_VIRTINE_FUNCTION_ABI_H

#define LANECALL_PAGE_SHIFT 12
#define LANECALL_PAGE_BYTES (1 << LANECALL_PAGE_SHIFT)

/* The stack grows down from here: the end of the smallest memory. */
#define LANECALL_VIRTINE_STACK 0x10000

/* What secret_hunter looks for at every multiple of 8, low half first, and
 * where it leaves it: from a place in page 1 on in such steps, and at the end.
 */
#define LANECALL_SECRET_LOW 0x5ec2e701
#define LANECALL_SECRET_HIGH 0x9d1e70ff
#define LANECALL_SECRET_STEP 0x8000

#endif
