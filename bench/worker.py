# SPDX-License-Identifier: Apache-2.0
"""lanecall-bench, in the guest or here: a command and its answer, as lines of
JSON (bench/control.h), and its clock beside ours."""

import json
import os
import select
import time

READY_SECONDS = 120  # to boot a guest on a busy machine
SLICE_SECONDS = 120  # more than any slice takes


class BenchError(Exception):
    """The bench cannot go on; the message says what, to what."""


class SliceFailed(BenchError):
    """One slice has no figures; the next command is as good as any."""


def now_ns():
    """The clock that nobody adjusts, as lanecall-bench reads it."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class Worker:
    """commands and answers are descriptors; the same one for a socket. They
    belong to the caller. has_ended() gives why it cannot answer any more, or
    None."""

    def __init__(self, name, commands, answers, has_ended):
        self._name = name
        self._commands = commands
        self._answers = answers
        self._has_ended = has_ended
        self._ahead = b""
        self._id = 0
        self.facts = {}
        # (its clock when it answered, ours when the answer was there), in ns
        self.clocks = []

    def await_ready(self):
        self.facts = self._answer(READY_SECONDS)
        if not self.facts.get("ready"):
            raise BenchError(f"{self._name}: lanecall-bench did not begin with "
                             f"its ready line, but with {self.facts}")

    def run(self, **command):
        """The answer to a command. SliceFailed if that is an error, BenchError
        if there is none."""
        self._id += 1
        line = json.dumps({"id": self._id, **command}) + "\n"
        try:
            write_all(self._commands, line.encode())
        except OSError as error:
            self._fail(str(error))
        answer = self._answer(SLICE_SECONDS)
        if answer.get("id") != self._id:
            raise BenchError(f"{self._name}: answer {answer} is not to command "
                             f"{self._id}")
        if "error" in answer:
            raise SliceFailed(f"in the {self._name}: {answer['error']}")
        return answer

    def quit(self):
        write_all(self._commands, b'{"quit": true}\n')

    def _answer(self, seconds):
        line = self._line(time.monotonic() + seconds)
        came = now_ns()
        try:
            answer = json.loads(line)
        except ValueError:
            raise BenchError(f"{self._name}: no JSON: {line!r}") from None
        self.clocks.append((answer["clock_ns"], came))
        return answer

    def _line(self, deadline):
        while b"\n" not in self._ahead:
            left = deadline - time.monotonic()
            # Now and then, whether there is anybody who could answer.
            ready, _, _ = select.select([self._answers], [], [],
                                        max(0, min(left, 1)))
            if ready:
                data = read_some(self._answers)
                if not data:
                    self._fail("it ended without an answer")
                self._ahead += data
            elif self._has_ended():
                self._fail("it has ended")
            elif left <= 0:
                raise BenchError(f"{self._name}: no answer in time; the slice "
                                 "hangs")
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line

    def _fail(self, what):
        raise BenchError(f"{self._name}: {self._has_ended() or what}")


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


def read_some(descriptor):
    try:
        return os.read(descriptor, 1 << 16)
    except ConnectionResetError:
        return b""


def clock_check(clocks):
    """How much faster its clock runs than ours, as a share, and over how many
    of our seconds. What a line takes from there to here is in it."""
    (its_first, our_first), (its_last, our_last) = clocks[0], clocks[-1]
    ours = our_last - our_first
    return {"faster": (its_last - its_first) / ours - 1, "seconds": ours / 1e9}
