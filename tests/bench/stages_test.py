#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How a ping's stages are found in a trace of the host's kernel."""

import sys

sys.dont_write_bytecode = True

import os
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../bench"))
import stages
import tracing

VCPU, MAIN, SERVER = 101, 100, 500
NUMBERS = {call: number for number, call in tracing.CALLS.items()}
ROLES = {VCPU: "vcpu", MAIN: "main"}

# Thread, what it does, and microseconds until then.
PING = [
    (VCPU, "enter", "sendmsg", 100),
    (VCPU, "exit", "sendmsg", 9),
    (SERVER, "exit", "poll", 21),
    (SERVER, "exit", "recvfrom", 5),
    (SERVER, "enter", "write", 4),
    (SERVER, "exit", "write", 1),
    (SERVER, "enter", "sendto", 2),
    (SERVER, "exit", "sendto", 3),
    (MAIN, "exit", "ppoll", 8),
    (MAIN, "exit", "recvmsg", 6),
]
HOST = [30, 5, 7, 3, 8, 6]


class FakeRoles:
    def of(self, event):
        return ROLES.get(event.thread, "server")


def trace_of(steps):
    """As tracefs has it."""
    lines = ["# tracer: nop", "#"]
    at = 12.0
    for thread, kind, call, after in steps:
        at += after * 1e-6
        number = NUMBERS[call]
        rest = (f"NR {number} (3, 7f00, 0, 0, 0, 0)" if kind == "enter"
                else f"NR {number} = 17")
        lines.append(f" CPU 0/TCG-{thread}  [001] ..... {at:.6f}: "
                     f"sys_{kind}: {rest}")
    return "\n".join(lines) + "\n"


def found(steps):
    events = list(tracing.parse(trace_of(steps)))
    return [round(us) for _, us in
            stages.host_stages(events, FakeRoles(), "socket", False)]


class Parse(unittest.TestCase):
    def test_calls_have_names(self):
        event, = tracing.parse(trace_of([(VCPU, "enter", "sendmsg", 1)]))
        self.assertEqual((event.thread, event.kind, event.call),
                         (VCPU, "enter", "sendmsg"))
        self.assertAlmostEqual(event.at, 12000001, places=2)

    def test_a_switch_is_two_events(self):
        line = (" x-1 [000] d..2. 5.000001: sched_switch: prev_comm=a b "
                "prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=c "
                "next_pid=9 next_prio=120\n")
        self.assertEqual([(event.thread, event.kind)
                          for event in tracing.parse(line)],
                         [(7, "stops"), (9, "runs")])


class Stages(unittest.TestCase):
    def test_each_ends_with_its_mark(self):
        self.assertEqual(found(PING * 3), HOST + [100])

    def test_a_ping_that_went_another_way_does_not_count(self):
        strange = [step for step in PING if step[:3] != (MAIN, "exit",
                                                         "recvmsg")]
        self.assertEqual(found(PING * 2 + strange + PING * 2), HOST + [100])

    def test_what_the_doorbell_is_not(self):
        other = [(VCPU, "enter", "sendmsg", 40)]  # the one after it counts
        self.assertEqual(found(PING * 3 + other + PING), HOST + [100])

    def test_nothing_found(self):
        with self.assertRaisesRegex(LookupError, "no ping was seen"):
            found(PING)


if __name__ == "__main__":
    unittest.main()
