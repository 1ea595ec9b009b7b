# SPDX-License-Identifier: Apache-2.0
"""From slices to figures: medians over rounds, the better of two settings, the
tables, and what the figures must reach."""

import dataclasses
import statistics

from worker import BenchError
import plan

PERCENTILES = ["50", "90", "99", "99.9"]
COUNTERS = ["doorbells", "interrupts"]


class Results:
    """Takes lanecall-bench's answers; gives medians of the rounds."""

    def __init__(self):
        self._answers = {}  # cell -> variant -> a round's answer each

    def add(self, cell, variant, answer):
        self._answers.setdefault(cell, {}).setdefault(variant, []).append(
            answer)

    def drop(self, cells):
        for cell in cells:
            self._answers.pop(cell, None)

    def __contains__(self, cell):
        return cell in self._answers

    def cells(self):
        return list(self._answers)

    def variants(self, cell):
        return self._answers[cell]

    def best(self, cell):
        """The variant with most calls a second."""
        variants = self._answers[cell]
        return max(variants, key=lambda each: median(variants[each],
                                                     "calls_per_s"))

    def get(self, key, cell):
        """The median of the better variant; None if it was not measured, or
        has no such figure."""
        if cell not in self._answers:
            return None
        answers = self._answers[cell][self.best(cell)]
        if not all(key in answer for answer in answers):
            return None
        return median(answers, key)

    def percentile(self, percent, cell):
        return statistics.median(
            answer["percentiles_us"][percent]
            for answer in self._answers[cell][self.best(cell)])

    def a_call(self, counter, cell):
        """What is counted, for each call; None where nobody counts."""
        if cell not in self._answers:
            return None
        answers = self._answers[cell][self.best(cell)]
        if not all(counter in answer for answer in answers):
            return None
        return statistics.median(answer[counter] / answer["calls"]
                                 for answer in answers)

    def rows(self):
        """results.json."""
        return [{**dataclasses.asdict(cell),
                 **{key: self.get(key, cell) for key in
                    ("p50_us", "p99_us", "calls_per_s", "mb_per_s", "cpu_us",
                     "busy_us", "overlap")},
                 "rounds": len(self._answers[cell][self.best(cell)])}
                for cell in self._answers]

    def details(self):
        return [{**dataclasses.asdict(cell),
                 "taken": self.best(cell),
                 "variants": {name: self._variant(answers)
                              for name, answers in variants.items()},
                 **{f"{counter}_a_call": self.a_call(counter, cell)
                    for counter in COUNTERS}}
                for cell, variants in self._answers.items()]

    @staticmethod
    def _variant(answers):
        p50s = [answer["p50_us"] for answer in answers]
        return {
            "p50_us": {"median": statistics.median(p50s), "least": min(p50s),
                       "most": max(p50s), "rounds": p50s},
            "percentiles_us": {
                percent: statistics.median(answer["percentiles_us"][percent]
                                           for answer in answers)
                for percent in answers[0]["percentiles_us"]},
            "calls": sum(answer["calls"] for answer in answers),
        }


class Failures:
    """What has no figures, or no more of them, and why."""

    def __init__(self):
        self._variants = set()
        self.texts = []

    def add(self, text, cell=None, variant=None):
        """Of a variant of a cell; of all that was still to come without."""
        self._variants.add((cell, variant))
        self.texts.append(text)

    def has(self, cell, variant):
        return (cell, variant) in self._variants

    def raise_if_any(self):
        if self.texts:
            raise BenchError("\nbench: ".join(self.texts))


def median(answers, key):
    return statistics.median(answer[key] for answer in answers)


# What must be reached, as "value compared to wanted".

@dataclasses.dataclass(frozen=True)
class Goal:
    what: str
    value: float  # None: a cell was not measured
    wanted: float
    at_least: bool = True

    @property
    def reached(self):
        if self.value is None:
            return None
        if self.at_least:
            return self.value >= self.wanted
        return self.value <= self.wanted

    def __str__(self):
        verdict = {True: "reached", False: "NOT REACHED",
                   None: "not measured"}[self.reached]
        value = "-" if self.value is None else f"{self.value:.2f}"
        bound = f"{'>=' if self.at_least else '<='} {self.wanted:g}"
        return f"{self.what:<58} {value:>8}  {bound:<8} {verdict}"


def ratio(above, below):
    return None if above is None or not below else above / below


# (channel, test): how many times faster than each peer a call must be.
FASTER = [
    ("pcie-direct", "ping", {"tcp-tap": 60, "virtio-serial": 40}),
    ("pcie-direct", "reflect_4k", {"tcp-tap": 15, "virtio-serial": 10}),
    ("pcie-direct", "reflect_64k", {"tcp-tap": 4, "virtio-serial": 3}),
    ("pcie-direct", "reflect_1m", {"tcp-tap": 2.3, "virtio-serial": 2.5}),
    ("pcie-spin", "ping", {"tcp-tap": 4, "virtio-serial": 2.5}),
    ("pcie-sleep", "ping", {"tcp-tap": 2, "virtio-serial": 1.1}),
    ("pcie-direct-sleep", "ping", {"tcp-tap": 2, "virtio-serial": 1.1}),
]
# clients: how many times more calls a second than each peer.
MORE_CALLS = [(4, {"tcp-tap": 20, "virtio-serial": 10}), (16, {"tcp-tap": 15})]
# channel, test: how many times more calls with many outstanding than with one.
OUTSTANDING = [
    ("pcie-direct", "ping_cob", 1.2), ("pcie-direct", "ping", 1.5),
    ("pcie-spin", "ping_cob", 3), ("pcie-spin", "ping", 3),
    ("pcie-sleep", "ping_cob", 3), ("pcie-sleep", "ping", 3),
]
A_CALL_MOST = 0.2  # doorbells, and interrupts, with many outstanding
KEPT_WITH_64_CLIENTS = 0.8  # of 16 clients' calls a second
# Of writing 1 MiB by DMA.
DMA_GB_PER_S = 5
DMA_TO_REFLECT = 7  # times the bandwidth of reflect on the direct plane
# Of cleaning 512 KiB in batches of GOAL_BATCH.
CLEAN_CPU_MOST = 0.1  # of memcpy's time of the guest's CPU
CLEAN_DIRTY_MOST = 0.25  # of a full clean's time, with 10 % dirty
# size, what memcpy cleans: how many times its runs the pool has.
VIRTINE_RUNS = [("1m", "", 2), ("4m", "", 3), ("1m", "_dirty", 0.9)]


def goals(results):
    return (faster_goals(results) + floor_goals(results)
            + outstanding_goals(results) + clients_goals(results)
            + dma_goals(results) + clean_goals(results)
            + virtine_goals(results))


def faster_goals(results):
    def p50(channel, test):
        return results.get("p50_us", plan.Cell(channel, test))

    return [Goal(f"{test}: {channel} faster than {peer}",
                 ratio(p50(peer, test), p50(channel, test)), wanted)
            for channel, test, peers in FASTER
            for peer, wanted in peers.items()]


def floor_goals(results):
    def share(test, floor):
        return ratio(results.get("p50_us", plan.Cell("pcie-direct", test)),
                     results.get("p50_us", plan.Cell(floor, test)))

    return [Goal(f"{test}: pcie-direct as a share of {floor}",
                 share(test, floor), most, at_least=False)
            for test, floor, most in (("ping", "guest-memory", 1),
                                      ("ping", "host-unix", 1),
                                      ("reflect_1m", "guest-memory", 0.85))]


def outstanding_goals(results):
    found = []
    for channel, test, wanted in OUTSTANDING:
        one = plan.Cell(channel, test)
        many = dataclasses.replace(one, outstanding=plan.OUTSTANDING)
        found.append(Goal(
            f"{test}, {plan.OUTSTANDING} outstanding: {channel}, more calls/s "
            "than 1", ratio(results.get("calls_per_s", many),
                            results.get("calls_per_s", one)), wanted))
        found += [Goal(f"{test}, {plan.OUTSTANDING} outstanding: {channel}, "
                       f"{counter} a call",
                       results.a_call(counter, many)
                       if is_counted(results, counter, test) else None,
                       A_CALL_MOST, at_least=False) for counter in COUNTERS]
    return found


def is_counted(results, counter, test):
    """Not by a client that never has one, on any channel: some sleep."""
    return any(results.a_call(counter, cell) for cell in results.cells()
               if cell.test == test)


def clients_goals(results):
    def calls(channel, clients):
        return results.get("calls_per_s",
                           plan.Cell(channel, "ping", clients=clients))

    found = [Goal(f"calls/s, {clients} clients: pcie-direct to {peer}",
                  ratio(calls("pcie-direct", clients), calls(peer, clients)),
                  wanted)
             for clients, peers in MORE_CALLS for peer, wanted in peers.items()]
    return found + [Goal(f"calls/s, 64 clients to 16: {channel}",
                         ratio(calls(channel, 64), calls(channel, 16)),
                         KEPT_WITH_64_CLIENTS)
                    for channel in ("pcie-direct", "pcie-spin")]


def dma_goals(results):
    written = results.get("mb_per_s", plan.Cell("dma", "dma_write_1m"))
    reflected = results.get("mb_per_s", plan.Cell("pcie-direct", "reflect_1m"))
    return [Goal("dma: 1 MiB written, GB/s by the host's clock",
                 ratio(written, 1000), DMA_GB_PER_S),
            Goal("dma: 1 MiB written, bytes/s to reflect_1m's",
                 ratio(written, reflected), DMA_TO_REFLECT)]


def clean_goals(results):
    def of(key, channel, dirty=None):
        return results.get(key, plan.Cell(
            channel, plan.clean_test("512k", dirty),
            outstanding=plan.GOAL_BATCH))

    what = f"clean_512k, batch {plan.GOAL_BATCH}"
    return [Goal(f"{what}: guest's CPU as a share of memcpy's",
                 ratio(of("busy_us", "pcie-direct"),
                       of("busy_us", "guest-memcpy")),
                 CLEAN_CPU_MOST, at_least=False),
            Goal(f"{what}: time with 10 % dirty, as a share of all",
                 ratio(of("p50_us", "pcie-direct", 10),
                       of("p50_us", "pcie-direct")),
                 CLEAN_DIRTY_MOST, at_least=False)]


def virtine_goals(results):
    def runs(channel, test, batch=1):
        return results.get("calls_per_s",
                           plan.Cell(channel, test, outstanding=batch))

    return [Goal(f"virtine_{size}: runs/s of the pool to memcpy's of "
                 + ("what is dirty" if which else "all"),
                 ratio(runs("pcie-direct", f"virtine_{size}",
                            plan.VIRTINE_BATCH),
                       runs("guest-memcpy", f"virtine_{size}{which}")), wanted)
            for size, which, wanted in VIRTINE_RUNS]


# Tables.

def microseconds(value):
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f}"
    return f"{value:,.0f}"


def number(value):
    return "-" if value is None else f"{value:.2f}"


def table(title, heads, rows):
    """rows: a name and texts, under heads. Without those that are empty."""
    rows = [row for row in rows if any(text != "-" for text in row[1])]
    if not rows:
        return ""
    used = [i for i in range(len(heads))
            if any(texts[i] != "-" for _, texts in rows)]
    heads = [heads[i] for i in used]
    rows = [(name, [texts[i] for i in used]) for name, texts in rows]
    width = max(len(text) for _, texts in rows for text in texts + heads) + 2
    first = max(len(name) for name, _ in rows) + 1
    lines = [title, " " * first + "".join(f"{head:>{width}}"
                                          for head in heads)]
    lines += [f"{name:<{first}}" + "".join(f"{text:>{width}}" for text in texts)
              for name, texts in rows]
    return "\n".join(lines) + "\n"


def tables(results, virtines="not known"):
    """virtines: what they are."""
    names = [channel.name for channel in plan.CHANNELS]

    def by_channel(cells_of, key="p50_us"):
        return [(name, [microseconds(results.get(key, cell))
                        for cell in cells_of(name)]) for name in names]

    def rates(name):
        return [plan.Cell(name, test, clients=clients)
                for test in plan.MANY_CLIENTS_TESTS
                for clients in [1] + plan.MANY_CLIENTS]

    def pipelines(name):
        return [plan.Cell(name, test, outstanding=outstanding)
                for test in ("ping", "ping_cob")
                for outstanding in (1, plan.OUTSTANDING)]

    many = [name for name in names
            if any(plan.Cell(name, "ping", outstanding=plan.OUTSTANDING) == cell
                   for cell in results.cells())]
    parts = [
        table("Microseconds a call, medians, one client", plan.CALL_TESTS,
              by_channel(lambda name: [plan.Cell(name, test)
                                       for test in plan.CALL_TESTS])),
        table("Microseconds a ping, percentiles", PERCENTILES,
              [(name, [microseconds(results.percentile(
                  each, plan.Cell(name, "ping"))) for each in PERCENTILES])
               for name in names if plan.Cell(name, "ping") in results]),
        table("Calls a second: ping and 4 KiB, by clients",
              [f"{test.removeprefix('reflect_')} {clients}"
               for test in plan.MANY_CLIENTS_TESTS
               for clients in [1] + plan.MANY_CLIENTS],
              [row for row in by_channel(rates, "calls_per_s")
               if row[0] not in plan.FLOORS]),
        table("Calls a second: ping, by calls outstanding (cob: asynchronous)",
              ["ping 1", f"ping {plan.OUTSTANDING}", "cob 1",
               f"cob {plan.OUTSTANDING}"],
              [row for row in by_channel(pipelines, "calls_per_s")
               if row[0] in many]),
        table("Microseconds a ping with two virtual CPUs", ["ping"],
              by_channel(lambda name: [plan.Cell(name, "ping", vcpus=2)])),
        dma_table(results), *clean_tables(results), virtine_table(results, virtines),
    ]
    return "\n".join(part for part in parts if part)


def dma_table(results):
    def rate(way, size, extents, batch):
        cell = plan.Cell("dma", plan.dma_test(way, size, extents),
                         outstanding=batch)
        return number(ratio(results.get("mb_per_s", cell), 1000))

    kinds = [(extents, 1) for extents in plan.DMA_EXTENTS] + [
        (1, plan.DMA_BATCH)]
    return table("DMA: GB/s by the host's clock, by an operation's bytes",
                 list(plan.DMA_SIZES),
                 [(f"{way}, {extents} extent{'s' * (extents > 1)}"
                   + f", {batch} at a time" * (batch > 1),
                   [rate(way, size, extents, batch)
                    for size in plan.DMA_SIZES])
                  for way in ("write", "read") for extents, batch in kinds])


def clean_tables(results):
    """A table for each share that is dirty."""
    def entry(cell):
        if cell not in results:
            return "-"
        return (microseconds(results.get("p50_us", cell)) + " / "
                + microseconds(results.get("busy_us", cell)))

    channels = [each.name for each in plan.CHANNELS
                if plan.CLEANS in each.measures]
    batches = sorted(plan.CLEAN_BATCHES + [plan.GOAL_BATCH])
    return [table("Microseconds a clean, "
                  + (f"{dirty} % dirty" if dirty else "all of it")
                  + ", by channel and batch: passed / of the guest's CPU",
                  list(plan.CLEAN_SIZES),
                  [(f"{channel}, {batch}",
                    [entry(plan.Cell(channel, plan.clean_test(size, dirty),
                                     outstanding=batch))
                     for size in plan.CLEAN_SIZES])
                   for channel in channels for batch in batches])
            for dirty in plan.DIRTY]


def share(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def virtine_table(results, virtines):
    def runs(channel, which, batch):
        return [microseconds(results.get("calls_per_s", plan.Cell(
            channel, f"virtine_{size}{which}", outstanding=batch)))
                for size in plan.VIRTINE_SIZES]

    rows = [(f"{who}, {what}", runs(channel, which, batch))
            for who, channel, batch in (
                (f"pool over pcie-direct, {plan.VIRTINE_BATCH}", "pcie-direct",
                 plan.VIRTINE_BATCH), ("memcpy", "guest-memcpy", 1))
            for what, which in (("all", ""), ("dirty only", "_dirty"))]
    rows.append(("none is cleaned", runs("guest-memcpy", plan.UNCLEANED, 1)))
    rows.append(("while any was being cleaned, functions ran",
                 [share(results.get("overlap", plan.Cell(
                     "pcie-direct", f"virtine_{size}",
                     outstanding=plan.VIRTINE_BATCH)))
                  for size in plan.VIRTINE_SIZES]))
    return table("Functions run a second, by memory and what is cleaned; "
                 f"virtines are {virtines}",
                 plan.VIRTINE_SIZES, rows)


def goals_text(results):
    found = goals(results)
    reached = sum(each.reached is True for each in found)
    missed = sum(each.reached is False for each in found)
    lines = ["What must be reached (ratios of medians, one virtual CPU)"]
    lines += [str(each) for each in found]
    lines.append(f"{reached} reached, {missed} not reached, "
                 f"{len(found) - reached - missed} not measured")
    return "\n".join(lines) + "\n"
