# SPDX-License-Identifier: Apache-2.0
"""cpio archives in the "newc" format, as the kernel unpacks them.

Written here rather than by cpio(1) so that files go in under any name, without
a copied tree and without being root. Archives made from the same files are
identical. Modification times are kept: Python checks its compiled files by them.
"""

import os
import stat


class Writer:
    """Writes one archive to a binary file; close() ends it."""

    def __init__(self, out):
        self._out = out
        self._inode = 0
        self._names = set()

    def _entry(self, name, mode, mtime, data):
        encoded = name.encode() + b"\0"
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, int(mtime), len(data),
                  0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._out.write(_padded(header + encoded))
        self._out.write(_padded(data))

    def _parents(self, name):
        parent = os.path.dirname(name)
        if parent and parent not in self._names:
            self._parents(parent)
            self._names.add(parent)
            self._entry(parent, stat.S_IFDIR | 0o755, 0, b"")

    def data(self, name, data, mode=0o644, mtime=0):
        """A file with these bytes at /name. The first of a name counts."""
        name = os.path.normpath(name).lstrip("/")
        if name in self._names:
            return
        self._parents(name)
        self._names.add(name)
        self._entry(name, stat.S_IFREG | mode, mtime, data)

    def texts(self, folder, texts):
        """Files in a folder, by name."""
        for name, text in texts.items():
            self.data(os.path.join(folder, name), text.encode())

    def link(self, name, target):
        name = os.path.normpath(name).lstrip("/")
        if name in self._names:
            return
        self._parents(name)
        self._names.add(name)
        self._entry(name, stat.S_IFLNK | 0o777, 0, target.encode())

    def file(self, name, path, mode=None):
        """A copy of the file (or what a link leads to) at /name."""
        status = os.stat(path)
        with open(path, "rb") as source:
            self.data(name, source.read(),
                      stat.S_IMODE(status.st_mode) if mode is None else mode,
                      status.st_mtime)

    def tree(self, name, path):
        """A file, or a folder with all that is in it."""
        if not os.path.isdir(path):
            self.file(name, path)
            return
        for folder, _, files in os.walk(path):
            inside = os.path.join(name, os.path.relpath(folder, path))
            for each in sorted(files):
                self.file(os.path.join(inside, each), os.path.join(folder, each))

    def close(self):
        self._entry("TRAILER!!!", 0, 0, b"")


def _padded(data):
    return data + b"\0" * (-len(data) % 4)
