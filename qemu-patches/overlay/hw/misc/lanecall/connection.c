/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection to the server. No call here blocks: connect() is started and
 * its outcome awaited in the main loop. A name with several addresses is tried
 * address by address; the error of the last one counts.
 *
 * A Unix socket whose server is slow to accept says EAGAIN and gives no event
 * to wait for, so connecting to it is tried again after a while, for as long as
 * the channel is not closed.
 */
#include "qemu/osdep.h"
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "engine.h"
#include "trace.h"

#define RETRY_MS_FIRST 2
#define RETRY_MS_LAST 100

static void on_connect_event(void *opaque);

/* Small requests must not wait for each other's acknowledgement. */
static void set_nodelay(const LanecallConnection *conn)
{
    int one = 1;

    /* On a Unix socket this fails, and does not matter. */
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void drop_epoll(LanecallConnection *conn)
{
    if (conn->epoll >= 0) {
        qemu_set_fd_handler(conn->epoll, NULL, NULL, NULL);
        close(conn->epoll);
        conn->epoll = -1;
    }
}

static void drop_socket(LanecallConnection *conn)
{
    drop_epoll(conn);
    if (conn->fd >= 0) {
        qemu_set_fd_handler(conn->fd, NULL, NULL, NULL);
        close(conn->fd);
        conn->fd = -1;
        conn->readable = NULL;
        conn->writable = NULL;
    }
}

/* Tries the current address: 0, -EINPROGRESS, or -errno without a socket. */
static int try_address(LanecallConnection *conn)
{
    const struct sockaddr *address;
    socklen_t len;
    int error;

    address = lanecall_server_address(conn->server, conn->address, &len);
    conn->fd = socket(address->sa_family,
                      lanecall_server_type(conn->server) | SOCK_NONBLOCK |
                      SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        return -errno;
    }
    if (connect(conn->fd, address, len) == 0) {
        return 0;
    }
    error = errno;
    if (error == EINPROGRESS || error == EINTR) {
        qemu_set_fd_handler(conn->fd, NULL, on_connect_event, conn);
        return -EINPROGRESS;
    }
    drop_socket(conn);
    if (error == EAGAIN && address->sa_family == AF_UNIX) {
        timer_mod(conn->retry, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  conn->retry_ms);
        conn->retry_ms = MIN(conn->retry_ms * 2, RETRY_MS_LAST);
        return -EINPROGRESS;
    }
    return -error;
}

/* From the current address on, until one connects or may still. */
static int try_addresses(LanecallConnection *conn)
{
    int result = try_address(conn);

    while (result < 0 && result != -EINPROGRESS &&
           conn->address + 1 < lanecall_server_addresses(conn->server)) {
        conn->address++;
        result = try_address(conn);
    }
    if (result == 0) {
        set_nodelay(conn);
    }
    if (result != -EINPROGRESS) {
        trace_lanecall_connect(lanecall_server_uri(conn->server), -result);
    }
    return result;
}

static void report(LanecallConnection *conn, int result)
{
    if (result != -EINPROGRESS) {
        conn->connected(conn->opaque, -result);
    }
}

static void on_connect_event(void *opaque)
{
    LanecallConnection *conn = opaque;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    if (!error) {
        qemu_set_fd_handler(conn->fd, NULL, NULL, NULL);
        set_nodelay(conn);
        trace_lanecall_connect(lanecall_server_uri(conn->server), 0);
        report(conn, 0);
        return;
    }
    drop_socket(conn);
    if (conn->address + 1 < lanecall_server_addresses(conn->server)) {
        conn->address++;
        report(conn, try_addresses(conn));
        return;
    }
    trace_lanecall_connect(lanecall_server_uri(conn->server), error);
    report(conn, -error);
}

static void on_retry(void *opaque)
{
    LanecallConnection *conn = opaque;

    report(conn, try_addresses(conn));
}

void lanecall_connection_init(LanecallConnection *conn,
                              const LanecallServer *server,
                              void (*connected)(void *opaque, int error),
                              void *opaque)
{
    conn->fd = -1;
    conn->epoll = -1;
    conn->server = server;
    conn->retry = timer_new_ms(QEMU_CLOCK_REALTIME, on_retry, conn);
    conn->connected = connected;
    conn->opaque = opaque;
}

void lanecall_connection_destroy(LanecallConnection *conn)
{
    lanecall_connection_close(conn);
    timer_free(conn->retry);
}

int lanecall_connection_start(LanecallConnection *conn)
{
    conn->address = 0;
    conn->retry_ms = RETRY_MS_FIRST;
    return try_addresses(conn);
}

/*
 * A Unix socket that the server has shut down, with its queue full, is hung up
 * but not writable. The main loop wakes up for that at once and calls nobody
 * who waits for writable alone, again and again. An epoll of the socket is
 * readable then, and a send finds out the rest. Without one, it is as above.
 */
static bool watch_by_epoll(LanecallConnection *conn, IOHandler *writable)
{
    struct epoll_event event = { .events = EPOLLOUT };

    conn->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (conn->epoll < 0) {
        return false;
    }
    if (epoll_ctl(conn->epoll, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        drop_epoll(conn);
        return false;
    }
    qemu_set_fd_handler(conn->fd, NULL, NULL, NULL);
    qemu_set_fd_handler(conn->epoll, writable, NULL, conn->opaque);
    return true;
}

void lanecall_connection_watch(LanecallConnection *conn, IOHandler *readable,
                               IOHandler *writable)
{
    if (readable == conn->readable && writable == conn->writable) {
        return;
    }
    conn->readable = readable;
    conn->writable = writable;
    drop_epoll(conn);
    if (readable || !writable || !watch_by_epoll(conn, writable)) {
        qemu_set_fd_handler(conn->fd, readable, writable, conn->opaque);
    }
}

void lanecall_connection_close(LanecallConnection *conn)
{
    timer_del(conn->retry);
    drop_socket(conn);
}
