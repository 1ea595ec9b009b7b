# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor for tests in its guest, by TCP: a connection is one command, a
line of QEMU's human monitor, and its answer, to the end. `memory` is one more: the
bytes that QEMU has resident, but for the guest's memory and translated code.
"""

import json
import os
import socket
import threading


class Relay:
    """Connects to QEMU's monitor (QMP) at a Unix socket when it is needed."""

    def __init__(self, path):
        self._path = path
        self._lines = None
        self._one_command = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=[connection],
                             daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("r", encoding="utf-8") as lines:
            command = lines.readline().strip()
            with self._one_command:
                answer = self._answer(command)
            connection.sendall(answer.encode())

    def _answer(self, command):
        try:
            self._connect()
            if command == "memory":
                return str(memory(self._pid))
            return self._execute("human-monitor-command",
                                 {"command-line": command})
        except OSError as error:
            return f"no monitor: {error}"

    def _connect(self):
        if self._lines:
            return
        qemu = socket.socket(socket.AF_UNIX)
        qemu.connect(self._path)
        peer = qemu.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self._pid = int.from_bytes(peer[:4], "little")
        self._lines = qemu.makefile("rw", encoding="utf-8")
        self._execute("qmp_capabilities", {})

    def _execute(self, name, arguments):
        request = {"execute": name, "arguments": arguments}
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        for line in self._lines:
            answer = json.loads(line)  # or a greeting, or an event
            if "return" in answer:
                return answer["return"] or ""
            if "error" in answer:
                return answer["error"]["desc"]
        raise OSError("QEMU has ended")


def memory(pid):
    """The guest's memory is by far the largest mapping that is no code."""
    sizes = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):
                is_translated = words[1].startswith("rwx")
                start, _, end = words[0].partition("-")
                whole = int(end, 16) - int(start, 16)
            elif words[0] == "Rss:" and not is_translated:
                sizes.append((whole, int(words[1]) << 10))
    sizes.remove(max(sizes))
    return sum(resident for _, resident in sizes)


def start(path):
    """Serves QEMU's monitor at a Unix socket; returns the TCP port."""
    return Relay(path).port
