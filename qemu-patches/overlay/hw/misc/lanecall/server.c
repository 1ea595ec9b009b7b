/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server to connect to: unix:/path or tcp:host:port, turned once into socket
 * addresses, so that opening a channel needs no name service.
 */
#include "qemu/osdep.h"
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "engine.h"

#define MAX_ADDRESSES 8

typedef struct Address {
    struct sockaddr_storage storage;
    socklen_t len;
} Address;

struct LanecallServer {
    const char *property;
    char *uri;
    int type;
    Address address[MAX_ADDRESSES];
    unsigned count;
};

static bool add_unix(LanecallServer *server, const char *path, Error **errp)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&server->address[0].storage;

    if (!path[0] || strlen(path) >= sizeof(un->sun_path)) {
        error_setg(errp, "%s=%s: a socket's path has 1 to %zu bytes",
                   server->property, server->uri, sizeof(un->sun_path) - 1);
        return false;
    }
    un->sun_family = AF_UNIX;
    pstrcpy(un->sun_path, sizeof(un->sun_path), path);
    server->address[0].len = sizeof(*un);
    server->count = 1;
    return true;
}

/* "host:port" or "[host]:port" into its parts. */
static bool split_host_port(const char *text, char **host, char **port)
{
    const char *colon = strrchr(text, ':');
    size_t len;

    if (!colon || colon == text || !colon[1]) {
        return false;
    }
    len = colon - text;
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        len -= 2;
    }
    *host = g_strndup(text, len);
    *port = g_strdup(colon + 1);
    return true;
}

/* getaddrinfo() would take 65536 for 0. */
static bool is_valid_port(const char *port)
{
    unsigned number;

    return qemu_strtoui(port, NULL, 10, &number) == 0 && number >= 1 &&
           number <= UINT16_MAX;
}

static bool add_tcp(LanecallServer *server, const char *text, Error **errp)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
    };
    g_autofree char *host = NULL;
    g_autofree char *port = NULL;
    struct addrinfo *list, *info;
    int error;

    if (!split_host_port(text, &host, &port)) {
        error_setg(errp, "%s=%s: expected tcp:host:port", server->property,
                   server->uri);
        return false;
    }
    if (!is_valid_port(port)) {
        error_setg(errp, "%s=%s: a port is a number from 1 to 65535",
                   server->property, server->uri);
        return false;
    }
    error = getaddrinfo(host, port, &hints, &list);
    if (error) {
        error_setg(errp, "%s=%s: %s", server->property, server->uri,
                   gai_strerror(error));
        return false;
    }
    for (info = list; info && server->count < MAX_ADDRESSES;
         info = info->ai_next) {
        Address *address = &server->address[server->count];

        if (info->ai_addrlen <= sizeof(address->storage)) {
            memcpy(&address->storage, info->ai_addr, info->ai_addrlen);
            address->len = info->ai_addrlen;
            server->count++;
        }
    }
    freeaddrinfo(list);
    if (!server->count) {
        error_setg(errp, "%s=%s: the name has no usable address",
                   server->property, server->uri);
    }
    return server->count > 0;
}

LanecallServer *lanecall_server_new(const char *property, const char *uri,
                                    int type, Error **errp)
{
    LanecallServer *server = g_new0(LanecallServer, 1);
    bool is_stream = type == SOCK_STREAM;
    const char *rest;
    bool ok = false;

    server->property = property;
    server->uri = g_strdup(uri);
    server->type = type;
    if (strstart(uri, "unix:", &rest)) {
        ok = add_unix(server, rest, errp);
    } else if (is_stream && strstart(uri, "tcp:", &rest)) {
        ok = add_tcp(server, rest, errp);
    } else {
        error_setg(errp, "%s=%s: expected unix:/path%s", property, uri,
                   is_stream ? " or tcp:host:port" : "");
    }
    if (!ok) {
        lanecall_server_free(server);
        return NULL;
    }
    return server;
}

void lanecall_server_free(LanecallServer *server)
{
    if (server) {
        g_free(server->uri);
        g_free(server);
    }
}

const char *lanecall_server_uri(const LanecallServer *server)
{
    return server->uri;
}

int lanecall_server_type(const LanecallServer *server)
{
    return server->type;
}

unsigned lanecall_server_addresses(const LanecallServer *server)
{
    return server->count;
}

const struct sockaddr *lanecall_server_address(const LanecallServer *server,
                                               unsigned n, socklen_t *len)
{
    *len = server->address[n].len;
    return (const struct sockaddr *)&server->address[n].storage;
}
