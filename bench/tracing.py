# SPDX-License-Identifier: Apache-2.0
"""The kernel's own record of what some threads do: system calls and switches,
by its tracefs, in an instance of our own. Needs root."""

import contextlib
import os
import re
import subprocess

FOLDER = "/sys/kernel/tracing"
EVENTS = ["raw_syscalls/sys_enter", "raw_syscalls/sys_exit",
          "sched/sched_switch"]
BUFFER_KIB = 32768  # for each CPU

# x86-64's numbers of the calls that move bytes or wait.
CALLS = {0: "read", 1: "write", 7: "poll", 20: "writev", 44: "sendto",
         45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 202: "futex",
         208: "io_getevents", 209: "io_submit", 232: "epoll_wait",
         271: "ppoll", 281: "epoll_pwait"}

_LINE = re.compile(r".*-(\d+) +\[(\d+)\] .* (\d+\.\d+): (\w+): (.*)")
_SWITCH = re.compile(r".*prev_pid=(\d+) .* next_pid=(\d+)")


class Event:
    """at: microseconds of CLOCK_MONOTONIC. kind: "enter" and "exit", of call;
    "runs" and "stops"."""

    def __init__(self, at, thread, kind, call=""):
        self.at = at
        self.thread = thread
        self.kind = kind
        self.call = call


class Trace:
    """Records in a `with` block; events() after it."""

    def __init__(self, threads):
        self._threads = threads
        self._path = os.path.join(FOLDER, f"instances/lanecall-{os.getpid()}")
        self._text = ""

    def _write(self, name, value):
        with open(os.path.join(self._path, name), "w",
                  encoding="utf-8") as out:
            out.write(value)

    def __enter__(self):
        os.mkdir(self._path)
        try:
            self._write("tracing_on", "0")
            self._write("trace_clock", "mono")
            self._write("buffer_size_kb", str(BUFFER_KIB))
            # Threads that these make are followed, too.
            self._write("options/event-fork", "1")
            self._write("set_event_pid", " ".join(map(str, self._threads)))
            for event in EVENTS:
                self._write(f"events/{event}/enable", "1")
            self._write("tracing_on", "1")
        except BaseException:
            os.rmdir(self._path)
            raise
        return self

    def __exit__(self, *_):
        self._write("tracing_on", "0")
        with open(os.path.join(self._path, "trace"), encoding="utf-8",
                  errors="replace") as text:
            self._text = text.read()
        os.rmdir(self._path)

    def events(self):
        return list(parse(self._text))


def parse(text):
    """The events in lines of tracefs' `trace`."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if not match:
            continue
        thread, _, seconds, name, rest = match.groups()
        at = float(seconds) * 1e6
        if name == "sched_switch":
            prev, after = _SWITCH.match(rest).groups()
            yield Event(at, int(prev), "stops")
            yield Event(at, int(after), "runs")
        else:
            number = int(rest.split()[1])
            yield Event(at, int(thread), name.removeprefix("sys_"),
                        CALLS.get(number, str(number)))


@contextlib.contextmanager
def mounted():
    """tracefs is there while in the `with` block."""
    if os.path.isdir(os.path.join(FOLDER, "instances")):
        yield
        return
    done = subprocess.run(["mount", "-t", "tracefs", "none", FOLDER],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"cannot trace: {done.stderr.strip()}: run it as root, "
                      "on a kernel with tracefs")
    try:
        yield
    finally:
        subprocess.run(["umount", FOLDER], check=False)
