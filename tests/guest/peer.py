# SPDX-License-Identifier: Apache-2.0
"""The servers that the driver tests talk to: one that does as its client says,
one that never answers a connection, and an address where nobody listens.

The first line that a client sends says what its connection is for:

    echo            send back whatever comes, until the end
    mute            read nothing more, until `release` or the end
    send N          send N bytes of pattern(), then close
    hangup          read one byte, then close
    reset           read one byte, then break the connection
    collect TOKEN   read to the end, keep count and checksum under TOKEN
    report TOKEN    wait for that and send "COUNT CHECKSUM\\n"
    release         let every mute connection read again (and discard)

With a card's firmware (firmware.py) also these, about bytes of a region (KEY)
from OFFSET on, answered with "ERROR MOVED\n":

    dma write KEY OFFSET COUNT      put pattern() there
    dma read KEY OFFSET COUNT       and what was moved follows
    dma fill KEY OFFSET COUNT BYTE
    drop                            end the session with the device, as a server
                                    that dies; "dropped\n"
    storm KEY COUNT BYTE            fill the first COUNT bytes again and again;
                                    "started\n" after the first time, and the
                                    answer after the first error
"""

import os
import socket
import struct
import threading
import zlib

import firmware


def pattern(start, count):
    """The bytes of the endless test stream from position start on."""
    first = start - start % 256
    block = bytes(range(256)) * (count // 256 + 2)
    return block[start - first:start - first + count]


class Peer:
    """Listens at a Unix socket in folder and at a loopback TCP port."""

    def __init__(self, folder, card=None):
        path = os.path.join(folder, "peer.sock")
        self._card = card
        self._one_move = threading.Lock()  # has card memory for itself
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(path)
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unix_path = path
        self.unix_uri = "unix:" + path
        self.tcp_uri = "tcp:127.0.0.1:%d" % self._tcp.getsockname()[1]
        self.refused_uri = "unix:" + os.path.join(folder, "nobody.sock")
        self._collected = {}
        self._changed = threading.Condition()
        self._releases = 0
        self._full = FullListener()
        self.full_uri = self._full.uri
        for listener in (self._unix, self._tcp):
            listener.listen(256)
            threading.Thread(target=self._accept, args=[listener],
                             daemon=True).start()

    def _accept(self, listener):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=[connection],
                             daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb", buffering=0) as stream:
            try:
                words = read_line(stream).split()
                name = words[0].decode(errors="replace") if words else ""
                order = getattr(self, "do_" + name, None)
                if order:  # else noise, from a test that makes some
                    order(connection, stream, *words[1:])
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client went first

    def do_echo(self, connection, stream):
        while data := stream.read(1 << 18):
            connection.sendall(data)

    def do_mute(self, connection, stream):
        with self._changed:
            releases = self._releases
            self._changed.wait_for(lambda: self._releases > releases)
        while stream.read(1 << 18):
            pass

    def do_release(self, connection, stream):
        with self._changed:
            self._releases += 1
            self._changed.notify_all()
        connection.sendall(b"released\n")

    def do_send(self, connection, stream, count):
        connection.sendall(pattern(0, int(count)))

    def do_hangup(self, connection, stream):
        stream.read(1)

    def do_reset(self, connection, stream):
        stream.read(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              struct.pack("ii", 1, 0))

    def do_collect(self, connection, stream, token):
        count, checksum = 0, 0
        try:
            while data := stream.read(1 << 18):
                count += len(data)
                checksum = zlib.crc32(data, checksum)
        finally:
            with self._changed:
                self._collected[token] = count, checksum
                self._changed.notify_all()

    def do_report(self, connection, stream, token):
        with self._changed:
            self._changed.wait_for(lambda: token in self._collected)
            connection.sendall(b"%d %d\n" % self._collected[token])

    def do_dma(self, connection, stream, kind, key, offset, count, byte=b"0"):
        kind, count = firmware.TYPES[kind], int(count)
        card = self._card
        with self._one_move:
            if kind == firmware.WRITE:
                card.memory[:count] = pattern(0, count)
            outcome = card.move(kind, int(key), int(offset), count, int(byte))
            moved = (card.memory[:outcome.moved] if kind == firmware.READ
                     else b"")
        connection.sendall(b"%d %d\n" % (outcome.error, outcome.moved) + moved)

    def do_drop(self, connection, stream):
        self._card.end_session()
        connection.sendall(b"dropped\n")

    def do_storm(self, connection, stream, key, count, byte):
        operation = firmware.FILL, int(key), 0, int(count), int(byte)
        sessions = self._card.sessions
        under_way = [self._card.start(*operation) for _ in range(4)]
        outcome = self._card.wait(under_way.pop(0))
        connection.sendall(b"started\n")
        while not outcome.error:
            under_way.append(self._card.start(*operation))
            outcome = self._card.wait(under_way.pop(0))
            # All of the last session's may have been done when it ended.
            if self._card.sessions != sessions:
                outcome = firmware.LOST
        for number in under_way:
            self._card.wait(number)
        connection.sendall(b"%d %d\n" % (outcome.error, outcome.moved))


class FullListener:
    """An address where a connection is neither accepted nor refused: the queue
    of connections is full and stays so."""

    def __init__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.uri = "tcp:127.0.0.1:%d" % self._listener.getsockname()[1]
        self._fillers = []
        while True:  # until one does not get through
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)
            filler.settimeout(0.2)
            try:
                filler.connect(self._listener.getsockname())
            except (TimeoutError, BlockingIOError):
                return
            except OSError:
                pass  # already connected: one place taken


def read_line(stream):
    line = b""
    while not line.endswith(b"\n"):
        byte = stream.read(1)
        if not byte:
            break
        line += byte
    return line
