#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/run measures in which order, and what it makes of the answers."""

import sys

sys.dont_write_bytecode = True

import os
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../bench"))
import plan
import report
import worker
from plan import Cell

BY_NAME = {each.name: each for each in plan.CHANNELS}


def answer(p50, calls_per_s=None, **more):
    return {"p50_us": p50, "p99_us": 2 * p50, "calls": 100,
            "calls_per_s": calls_per_s or 1e6 / p50, "mb_per_s": 0.0,
            "percentiles_us": {each: p50 for each in report.PERCENTILES},
            **more}


def results_of(figures):
    results = report.Results()
    for cell, p50 in figures.items():
        results.add(cell, "", answer(p50))
    return results


def goal(results, text):
    found = [each for each in report.goals(results) if text in each.what]
    assert len(found) == 1, found
    return found[0]


class Plans(unittest.TestCase):
    def cells(self, of=plan.FULL, vcpus=1):
        return plan.cells(of, plan.CHANNELS, vcpus)

    def test_every_channel_has_every_test(self):
        cells = self.cells()
        self.assertEqual(len(cells), len(set(cells)))
        for channel in plan.CHANNELS:
            for test in plan.TESTS:
                self.assertIn(Cell(channel.name, test), cells)

    def test_clients_are_as_many_as_there_are_ports(self):
        clients = {cell.clients for cell in self.cells()
                   if cell.channel == "virtio-serial"}
        self.assertEqual(clients, {1, 4})
        clients = {cell.clients for cell in self.cells()
                   if cell.channel == "pcie-direct"}
        self.assertEqual(clients, {1, 4, 16, 64})

    def test_two_vcpus_are_for_ping_in_the_guest(self):
        for cell in self.cells(vcpus=2):
            self.assertEqual((cell.test, cell.vcpus), ("ping", 2))
            self.assertEqual(BY_NAME[cell.channel].place, plan.GUEST)

    def test_all_goals_have_their_cells(self):
        results = results_of({cell: 10.0 for cell in self.cells()})
        for each in report.goals(results):
            if "a call" not in each.what:  # which the driver has to count
                self.assertIsNotNone(each.value, each.what)

    def test_quick_is_a_part_of_full(self):
        quick = self.cells(plan.QUICK)
        self.assertLessEqual(set(quick), set(self.cells()))
        self.assertLess(len(quick), len(self.cells()))

    def test_every_other_round_goes_backwards(self):
        self.assertEqual(plan.in_order_of_round([1, 2, 3], 0), [1, 2, 3])
        self.assertEqual(plan.in_order_of_round([1, 2, 3], 1), [3, 2, 1])

    def test_variants_of_streams_are_both_framings(self):
        self.assertEqual(BY_NAME["tcp-tap"].variants, plan.FRAMINGS)
        self.assertEqual(BY_NAME["pcie-direct"].variants, [""])


class Figures(unittest.TestCase):
    PING = Cell("tcp-tap", "ping")

    def test_a_figure_is_the_median_of_the_rounds(self):
        results = report.Results()
        for p50 in (30.0, 10.0, 1000.0):
            results.add(self.PING, "", answer(p50))
        self.assertEqual(results.get("p50_us", self.PING), 30.0)
        self.assertEqual(results.rows(), [
            {"channel": "tcp-tap", "test": "ping", "clients": 1,
             "outstanding": 1, "vcpus": 1, "p50_us": 30.0, "p99_us": 60.0,
             "calls_per_s": 1e6 / 30, "mb_per_s": 0.0, "rounds": 3}])

    def test_the_better_variant_is_taken_whole(self):
        results = report.Results()
        results.add(self.PING, "buffered", answer(10.0, calls_per_s=500.0))
        results.add(self.PING, "framed", answer(11.0, calls_per_s=900.0))
        self.assertEqual(results.best(self.PING), "framed")
        self.assertEqual(results.get("p50_us", self.PING), 11.0)
        self.assertEqual(results.details()[0]["taken"], "framed")

    def test_spreads_are_kept(self):
        results = report.Results()
        for p50 in (3.0, 1.0, 2.0):
            results.add(self.PING, "", answer(p50))
        spread = results.details()[0]["variants"][""]["p50_us"]
        self.assertEqual(spread, {"median": 2.0, "least": 1.0, "most": 3.0,
                                  "rounds": [3.0, 1.0, 2.0]})

    def test_counts_are_for_each_call(self):
        results = report.Results()
        results.add(self.PING, "", answer(1.0, doorbells=20))
        self.assertEqual(results.a_call("doorbells", self.PING), 0.2)
        self.assertIsNone(results.a_call("interrupts", self.PING))


class Goals(unittest.TestCase):
    WHAT = "ping: pcie-direct faster than tcp-tap"

    def test_reached_and_not(self):
        peer = Cell("tcp-tap", "ping")
        ours = Cell("pcie-direct", "ping")
        self.assertTrue(goal(results_of({peer: 180, ours: 3}),
                             self.WHAT).reached)
        missed = goal(results_of({peer: 179, ours: 3}), self.WHAT)
        self.assertFalse(missed.reached)
        self.assertIn("NOT REACHED", str(missed))

    def test_what_was_not_measured_is_not_reached(self):
        none = goal(results_of({}), self.WHAT)
        self.assertIsNone(none.reached)
        self.assertIn("not measured", str(none))

    def test_a_share_must_not_be_exceeded(self):
        what = "reflect_1m: pcie-direct as a share of guest-memory"
        ours = Cell("pcie-direct", "reflect_1m")
        floor = Cell("guest-memory", "reflect_1m")
        self.assertTrue(goal(results_of({ours: 85, floor: 100}), what).reached)
        self.assertFalse(goal(results_of({ours: 86, floor: 100}), what).reached)


class Tables(unittest.TestCase):
    def test_what_was_measured_and_nothing_else(self):
        text = report.tables(results_of({Cell("tcp-tap", "ping"): 123.4,
                                         Cell("pcie-direct", "ping"): 2.84}))
        self.assertRegex(text, r"tcp-tap +123 ")
        self.assertRegex(text, r"pcie-direct +2\.8 ")
        self.assertNotIn("virtio-serial", text)
        self.assertNotIn("8m", text)


class Clocks(unittest.TestCase):
    def test_how_much_faster_it_runs(self):
        check = worker.clock_check([(5_000, 0), (1_005_100, 1_000_000)])
        self.assertAlmostEqual(check["faster"], 1e-4)
        self.assertEqual(check["seconds"], 1e-3)


if __name__ == "__main__":
    unittest.main()
