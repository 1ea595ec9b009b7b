# SPDX-License-Identifier: Apache-2.0
"""A card's firmware that takes no channels, so that they go to the device's
socket, but moves bytes between regions and card memory: the card port's DMA, as
abi/lanecall/card.h has it."""

import collections
import itertools
import mmap
import os
import socket
import struct
import threading

MAGIC = 0x44524143
VERSION = 1 << 16
FEATURE_DMA = 0x1
HELLO, OFFER, DONE = 1, 2, 8
WELCOME, DECLINE, DMA = 0x81, 0x83, 0x87
READ, WRITE, FILL = 1, 2, 3
TYPES = {b"read": READ, b"write": WRITE, b"fill": FILL}
PACKET_MAX = 65536

FRAME = struct.Struct("<IIQ48s")
GREETING = struct.Struct("<IIQQII16s")
BATCH = struct.Struct("<II40x")
OPERATION = struct.Struct("<QQIIQ")
EXTENT = struct.Struct("<QQQ")
OUTCOME = struct.Struct("<QQII")

Outcome = collections.namedtuple("Outcome", "moved error")
LOST = Outcome(0, 255)  # the session has ended, as at a reset of the device


class Card:
    """Listens at a Unix socket in folder; serves one device at a time."""

    def __init__(self, folder):
        path = os.path.join(folder, "firmware.sock")
        self.uri = "unix:" + path
        self.memory = None  # the card's, once a device has come
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen()
        self._session = None
        self.sessions = 0  # so far
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._outcomes = {}  # by id; None while under way
        threading.Thread(target=self._accept, daemon=True).start()

    def start(self, kind, key, offset, count, card):
        """An operation of one extent; returns its id."""
        with self._changed:
            self._changed.wait_for(lambda: self._session)
            number = next(self._ids)
            self._outcomes[number] = None
            packet = FRAME.pack(DMA, 0, 0, BATCH.pack(1, 1))
            packet += OPERATION.pack(number, key, kind, 1, 0)
            packet += EXTENT.pack(offset, card, count)
            try:
                self._session.send(packet)
            except OSError:  # it has just ended
                self._outcomes[number] = LOST
        return number

    def wait(self, number):
        """The operation's Outcome, its only one."""
        with self._changed:
            self._changed.wait_for(lambda: self._outcomes[number])
            return self._outcomes.pop(number)

    def move(self, *operation):
        return self.wait(self.start(*operation))

    def end_session(self):
        """What was asked for is lost. Returns when the device knows: a channel
        that is opened from then on makes it come again."""
        with self._changed:
            self._changed.wait_for(lambda: self._session)
            session = self._session
            session.shutdown(socket.SHUT_WR)
            self._changed.wait_for(lambda: self._session is not session)

    def _accept(self):
        while True:
            session, _ = self._listener.accept()
            with session:
                self._serve(session)
            self._lose()

    def _serve(self, session):
        while True:
            packet, descriptors, _, _ = socket.recv_fds(session, PACKET_MAX, 2)
            if not packet:
                return
            kind, _, channel, payload = FRAME.unpack_from(packet)
            if kind == HELLO:
                self._welcome(session, payload, descriptors[0])
            elif kind == OFFER:
                session.send(FRAME.pack(DECLINE, 0, channel, b""))
            elif kind == DONE:
                self._finish(payload, packet[FRAME.size:])
            for descriptor in descriptors:
                os.close(descriptor)

    def _welcome(self, session, payload, memory):
        magic, _, features, size, _, _, _ = GREETING.unpack(payload)
        if magic != MAGIC or not features & FEATURE_DMA:
            raise ValueError("this device does no DMA for its card's server")
        greeting = GREETING.pack(MAGIC, VERSION, FEATURE_DMA, 0, 0, 0, b"")
        session.send(FRAME.pack(WELCOME, 0, 0, greeting))
        with self._changed:
            self.memory = mmap.mmap(memory, size)
            self._session = session
            self.sessions += 1
            self._changed.notify_all()

    def _lose(self):
        with self._changed:
            self._session = None
            for number, outcome in self._outcomes.items():
                self._outcomes[number] = outcome or LOST
            self._changed.notify_all()

    def _finish(self, payload, packet):
        count, _ = BATCH.unpack(payload)
        with self._changed:
            for at in range(count):
                number, moved, error, _ = OUTCOME.unpack_from(
                    packet, at * OUTCOME.size)
                if self._outcomes[number]:
                    raise ValueError(f"operation {number} is done twice")
                self._outcomes[number] = Outcome(moved, error)
            self._changed.notify_all()
