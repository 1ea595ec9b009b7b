/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Says who opened a channel: the header of the PROXY protocol that a device
 * with proxy=on sends before anything else.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "lanecall/proxy.h"
#include "engine.h"

typedef struct Header {
    struct lanecall_proxy_header head;
    uint8_t fields[3 * sizeof(struct lanecall_proxy_field) +
                   LANECALL_PROXY_DEVICE_MAX + 2 * sizeof(uint32_t)];
    size_t bytes; /* of fields */
} Header;

static void add(Header *header, uint8_t type, const void *value, size_t bytes)
{
    struct lanecall_proxy_field field = { .type = type };

    stw_be_p(field.bytes, bytes);
    memcpy(header->fields + header->bytes, &field, sizeof(field));
    memcpy(header->fields + header->bytes + sizeof(field), value, bytes);
    header->bytes += sizeof(field) + bytes;
}

static void add_number(Header *header, uint8_t type, uint32_t number)
{
    uint32_t value = cpu_to_be32(number);

    add(header, type, &value, sizeof(value));
}

static void describe(const LanecallChannel *ch, Header *header)
{
    const char *device = ch->engine->name;

    add(header, LANECALL_PROXY_DEVICE, device,
        strnlen(device, LANECALL_PROXY_DEVICE_MAX));
    add_number(header, LANECALL_PROXY_CHANNEL, ch->number);
    if (ch->has_user) {
        add_number(header, LANECALL_PROXY_USER, ch->user);
    }
}

/* A socket that has sent nothing yet has room for it, or will never do. */
int lanecall_proxy_send(LanecallChannel *ch)
{
    Header header = {
        .head = {
            .signature = LANECALL_PROXY_SIGNATURE,
            .command = LANECALL_PROXY_COMMAND,
            .family = LANECALL_PROXY_FAMILY,
        },
    };
    size_t bytes;
    ssize_t n;

    describe(ch, &header);
    stw_be_p(header.head.bytes, header.bytes);
    bytes = sizeof(header.head) + header.bytes;
    do {
        n = send(ch->connection.fd, &header, bytes,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN ? ENOBUFS : errno;
    }
    return n == bytes ? 0 : ENOBUFS;
}
