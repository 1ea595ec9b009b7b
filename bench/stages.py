# SPDX-License-Identifier: Apache-2.0
"""A ping's stages, found in what its threads did on the host: system calls and
switches, on one clock (tracing.py)."""

import collections
import os
import statistics

# A mark is the role of a thread, the kind of event and the call. A ping's marks
# begin with the doorbell, which is the last of its kind before the server has
# heard of it; each stage ends with its mark.
DOORBELL = {"socket": "sendmsg", "direct": "io_submit"}
HEARD = {"socket": "poll", "direct": "epoll_wait"}
STAGES = {
    "socket": [
        ("the server's thread is woken", ("server", "exit", "poll")),
        ("it reads the request", ("server", "exit", "recvfrom")),
        ("decode, handler, its log line, encode", ("server", "enter",
                                                   "sendto")),
        ("it writes the answer", ("server", "exit", "sendto")),
        ("QEMU's main loop is woken", ("main", "exit", "ppoll")),
        ("it reads the answer into the ring", ("main", "exit", "recvmsg")),
    ],
    "direct": [
        ("the server's thread is woken", ("server", "exit", "epoll_wait")),
        ("it finds the request, decode, handler, its log line, encode",
         ("server", "enter", "io_submit")),
        ("it raises the interrupt's eventfd", ("server", "exit", "io_submit")),
        ("QEMU's main loop is woken", ("main", "exit", "ppoll")),
    ],
}
WOKEN = ("interrupt; the virtual CPU's thread is woken", ("vcpu", "runs", ""))
GUEST_AWAKE = "in the guest, until the next doorbell's system call"


class Roles:
    """Whose a thread is. Those that none had when it began are the server's:
    it has one for each connection."""

    def __init__(self, qemu):
        self._roles = {}
        for thread in os.listdir(f"/proc/{qemu}/task"):
            with open(f"/proc/{qemu}/task/{thread}/comm",
                      encoding="utf-8") as comm:
                is_cpu = comm.read().startswith("CPU ")
            self._roles[int(thread)] = "vcpu" if is_cpu else "other"
        self._roles[qemu] = "main"

    def of(self, event):
        # Of strangers only switches are seen, when they take turns with ours.
        if event.kind in ("runs", "stops") and event.thread not in self._roles:
            return None
        return self._roles.get(event.thread, "server")


def is_mark(event, role, mark):
    return (role, event.kind, event.call) == mark


def cycles(events, roles, plane, stages):
    """For each ping that went through all stages in order, the time of each
    mark: the doorbell's, each stage's, and the next doorbell's."""
    known = [(event, roles.of(event)) for event in events]
    doorbell = ("vcpu", "enter", DOORBELL[plane])
    heard = ("server", "exit", HEARD[plane])
    starts = []
    last = None
    for i, (event, role) in enumerate(known):
        if is_mark(event, role, doorbell):
            last = i
        elif is_mark(event, role, heard) and last is not None:
            starts.append(last)
            last = None
    for start, end in zip(starts, starts[1:]):
        marks = [known[start][0].at]
        left = list(stages)
        for event, role in known[start + 1:end]:
            if left and is_mark(event, role, left[0][1]):
                marks.append(event.at)
                left.pop(0)
        if not left:
            yield marks + [known[end][0].at]


def host_stages(events, roles, plane, sleeps):
    """Pairs of a stage and its median in us."""
    stages = STAGES[plane] + ([WOKEN] if sleeps else [])
    spans = collections.defaultdict(list)
    names = [name for name, _ in stages] + [GUEST_AWAKE]
    for marks in cycles(events, roles, plane, stages):
        for name, begin, end in zip(names, marks, marks[1:]):
            spans[name].append(end - begin)
    if not spans:
        raise LookupError("no ping was seen to go through all stages: "
                          + ", ".join(name for name, _ in stages))
    return [(name, statistics.median(spans[name])) for name in names]
