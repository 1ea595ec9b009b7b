#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/run measures in which order, and what it makes of the answers."""

import sys

sys.dont_write_bytecode = True

import dataclasses
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
            "calls_per_s": calls_per_s or 1e6 / p50, "mb_per_s": 2.0,
            "busy_us": p50 / 2,
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
            if plan.CALLS in channel.measures:
                for test in plan.CALL_TESTS:
                    self.assertIn(Cell(channel.name, test), cells)

    def test_every_test_is_some_channels(self):
        self.assertEqual({cell.test for cell in self.cells()},
                         set(plan.TESTS) | {"ping_cob"})

    def test_no_batch_is_larger_than_the_guest(self):
        for cell in self.cells():
            if cell.test.startswith("clean_"):
                size = plan.CLEAN_SIZES[cell.test.split("_")[1]]
                self.assertLessEqual(cell.outstanding * size, 256 << 20)

    def test_cleans_are_compared_with_the_same_by_memcpy(self):
        cells = self.cells()
        for cell in cells:
            if cell.test.startswith("clean_"):
                self.assertIn(dataclasses.replace(
                    cell, channel="guest-memcpy"), cells)

    def test_what_is_dirty_is_at_least_a_page(self):
        self.assertIn("clean_64k_10", plan.CLEAN_TESTS)
        self.assertIn("clean_512k_1", plan.CLEAN_TESTS)
        self.assertNotIn("clean_64k_1", plan.CLEAN_TESTS)
        self.assertNotIn("clean_4k_50", plan.CLEAN_TESTS)

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
             "calls_per_s": 1e6 / 30, "mb_per_s": 2.0, "cpu_us": None,
             "busy_us": 15.0, "overlap": None, "rounds": 3}])

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


class Work(unittest.TestCase):
    """DMA, cleans, and virtines that run."""

    BATCH = {"outstanding": plan.GOAL_BATCH}

    def test_a_clean_may_take_a_tenth_of_memcpys_time(self):
        results = report.Results()
        results.add(Cell("guest-memcpy", "clean_512k", **self.BATCH), "",
                    answer(300.0, busy_us=300.0))
        results.add(Cell("pcie-direct", "clean_512k", **self.BATCH), "",
                    answer(100.0, busy_us=30.0))
        cpu = goal(results, "CPU as a share")
        self.assertEqual((cpu.value, cpu.reached), (0.1, True))
        results.add(Cell("pcie-direct", "clean_512k_10", **self.BATCH), "",
                    answer(26.0))
        self.assertFalse(goal(results, "10 % dirty").reached)

    def test_the_pool_is_compared_with_both_ways_of_memcpy(self):
        results = report.Results()
        results.add(Cell("pcie-direct", "virtine_1m",
                         outstanding=plan.VIRTINE_BATCH), "", answer(100.0))
        results.add(Cell("guest-memcpy", "virtine_1m"), "", answer(250.0))
        results.add(Cell("guest-memcpy", "virtine_1m_dirty"), "", answer(80.0))
        self.assertTrue(goal(results, "virtine_1m: runs/s of the pool to "
                                      "memcpy's of all").reached)
        self.assertFalse(goal(results, "memcpy's of what is dirty").reached)

    def test_what_cleans_overlap_with(self):
        results = report.Results()
        pool = Cell("pcie-direct", "virtine_1m", outstanding=plan.VIRTINE_BATCH)
        results.add(pool, "", answer(110.0, overlap=0.75))
        text = report.tables(results)
        self.assertRegex(text, r"functions ran +75 %\n")

    def test_bandwidth_is_compared_with_reflects(self):
        results = report.Results()
        results.add(Cell("dma", "dma_write_1m"), "", answer(100.0,
                                                            mb_per_s=7000.0))
        results.add(Cell("pcie-direct", "reflect_1m"), "",
                    answer(1000.0, mb_per_s=1000.0))
        self.assertEqual([each.value for each in report.dma_goals(results)],
                         [7.0, 7.0])

    def test_tables(self):
        results = report.Results()
        results.add(Cell("dma", "dma_read_64k_x16"), "",
                    answer(10.0, mb_per_s=6553.6))
        results.add(Cell("tcp-inline", "clean_1m_10"), "",
                    answer(1234.5, busy_us=99.94))
        results.add(Cell("guest-memcpy", "virtine_4m_dirty"), "", answer(200.0))
        text = report.tables(results)
        self.assertRegex(text, r"read, 16 extents +6\.55\n")
        self.assertRegex(text, r"10 % dirty.*\n +1m\n"
                               r"tcp-inline, 1 +1,23[45] / 99\.9\n")
        self.assertRegex(text, r"memcpy, dirty only +5,000\n")


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
