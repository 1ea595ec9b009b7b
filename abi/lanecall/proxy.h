/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause */
/*
 * What a device with proxy=on says first on each connection to its server: who
 * opened the channel. It is a header of the PROXY protocol, version 2, as load
 * balancers send it, without addresses and with these fields of its own.
 * docs/device.md explains it. Everything is in bytes; numbers in them are
 * big-endian, unlike in all the rest.
 */
#ifndef LANECALL_PROXY_H
#define LANECALL_PROXY_H

#include "platform.h"

/* 12 bytes, one of them NUL: no text, and no Thrift message, begins so. */
#define LANECALL_PROXY_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define LANECALL_PROXY_SIGNATURE_BYTES 12
#define LANECALL_PROXY_COMMAND 0x21 /* version 2, PROXY */
#define LANECALL_PROXY_FAMILY 0x00 /* no addresses */

struct lanecall_proxy_header {
	__u8 signature[LANECALL_PROXY_SIGNATURE_BYTES];
	__u8 command;
	__u8 family;
	__u8 bytes[2]; /* of the fields behind it */
};

/* A field: type, bytes of its value, value. Each at most once, in any order. */
struct lanecall_proxy_field {
	__u8 type;
	__u8 bytes[2];
};

#define LANECALL_PROXY_DEVICE 0xe0 /* 1 to 15 bytes: as in the card's HELLO */
#define LANECALL_PROXY_CHANNEL 0xe1 /* 4 bytes: its number */
#define LANECALL_PROXY_USER 0xe2 /* 4 bytes: CH_USER; only if it was given */

#define LANECALL_PROXY_DEVICE_MAX 15

LANECALL_ASSERT(sizeof(struct lanecall_proxy_header) == 16, "proxy header");
LANECALL_ASSERT(sizeof(struct lanecall_proxy_field) == 3, "proxy field");

#endif
