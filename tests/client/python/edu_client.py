#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls Edu over a plain file descriptor, with Thrift's own Python library.

usage: edu_client.py /dev/lanecallN | unix:/path | tcp:host:port

Knows nothing of Lanecall: a channel is whatever read() and write() work on. A
device node is opened as any file; a socket is connected and then reduced to its
descriptor. Needs the generated package lanecall_edu on PYTHONPATH. Exits 0 only
if every answer is right.
"""

import os
import socket
import sys

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TBufferedTransport, TFileObjectTransport

from lanecall_edu import Edu
from lanecall_edu.ttypes import OutOfRange, Overflow

SIZES = [0, 1, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20]


def descriptor(to):
    """An open, blocking descriptor of a byte stream to the server."""
    scheme, _, rest = to.partition(":")
    if scheme == "unix":
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.connect(rest)
    elif scheme == "tcp":
        host, _, port = rest.rpartition(":")
        connected = socket.create_connection((host, int(port)))
    else:
        return os.open(to, os.O_RDWR | os.O_CLOEXEC)
    return connected.detach()


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what} gave {str(got)[:80]}, not {str(wanted)[:80]}")


def raised(call, kind):
    try:
        call()
    except kind as error:
        return error
    sys.exit(f"no {kind.__name__} came")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # Unbuffered: Thrift's own buffer is enough.
    stream = os.fdopen(descriptor(sys.argv[1]), "r+b", buffering=0)
    transport = TBufferedTransport(TFileObjectTransport(stream), 65536)
    client = Edu.Client(TBinaryProtocol(transport))

    client.ping()
    expect("echo", client.echo("Hello, wörld!"), "Hello, wörld!")
    first = client.counter()
    expect("counter", client.counter(), first + 1)
    for size in SIZES:
        data = (os.urandom(1024) * (size // 1024 + 1))[:size]
        expect(f"reflect of {size}", client.reflect(data), data)
    expect("factorial", client.factorial(20), 2432902008176640000)
    expect("OutOfRange", raised(lambda: client.factorial(21), OutOfRange).value, 21)
    expect("scale", client.scale([1, -2, 3], -5), [-5, 10, -15])
    overflow = raised(lambda: client.scale([1, 2**31 - 1], 2), Overflow)
    expect("Overflow", overflow.index, 1)
    client.note("from Python")
    client.ping()
    transport.close()
    print(f"Python, Thrift's library and a file descriptor, over {sys.argv[1]}: "
          "all answers right")


main()
