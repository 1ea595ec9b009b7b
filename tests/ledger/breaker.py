# SPDX-License-Identifier: Apache-2.0
"""Between a device and its server: passes bytes on, and resets each connection,
on both sides, after a random number of them."""

import contextlib
import random
import socket
import struct
import threading

MOST_BYTES = 300_000
PIECE = 1 << 14


class Connection:
    """Two sockets, and how many bytes may still pass."""

    def __init__(self, device, server, count):
        self._ends = device, server
        self._left = count
        self._counting = threading.Lock()

    def start(self):
        device, server = self._ends
        for source, target in ((device, server), (server, device)):
            threading.Thread(target=self._pass_on, args=[source, target],
                             daemon=True).start()

    def _pass_on(self, source, target):
        with contextlib.suppress(OSError):  # the other direction was first
            while data := source.recv(PIECE):
                with self._counting:
                    part = data[:self._left]
                    self._left -= len(part)
                target.sendall(part)
                if len(part) < len(data):
                    return self._reset()
            target.shutdown(socket.SHUT_WR)

    def _reset(self):
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # the other thread is to let go
            end.close()


def accept(listener, path, choices):
    while True:
        device, _ = listener.accept()
        device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(path)
        except OSError:
            device.close()
            continue
        Connection(device, server, choices.randrange(MOST_BYTES)).start()


def start(path, seed):
    """Leads to the server at a Unix socket; returns where to connect to."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True,
                     args=[listener, path, random.Random(seed)]).start()
    return "tcp:127.0.0.1:%d" % listener.getsockname()[1]
