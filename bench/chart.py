# SPDX-License-Identifier: Apache-2.0
"""The charts, as SVG and PNG, the same figures giving the same files. chart:
how long pings take, by percentiles; how many bytes come back, by size. memory:
what cleans take of the guest's CPU; how fast DMA is.

    bench/chart.py FOLDER    draws that of an earlier run's results anew
"""

import sys

sys.dont_write_bytecode = True

import json
import os

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot
from matplotlib import ticker

import plan

# What belongs together has one colour: the direct plane, the socket plane,
# what a user would pick instead, and floors.
STYLES = {
    "pcie-direct": ("#0b5fa5", "-"),
    "pcie-direct-sleep": ("#0b5fa5", "--"),
    "pcie-spin": ("#2a9d5c", "-"),
    "pcie-sleep": ("#2a9d5c", "--"),
    "pcie-rw": ("#2a9d5c", ":"),
    "virtio-serial": ("#b8532e", "-"),
    "tcp-tap": ("#d98a00", "-"),
    "tcp-user": ("#d98a00", ":"),
    "host-unix": ("#888888", "-"),
    "host-unix-two-cores": ("#888888", "--"),
    "guest-memory": ("#888888", "-."),
    "host-memory": ("#888888", ":"),
}
PERCENTILES = ["50", "75", "90", "95", "99", "99.9"]


def taken(cell):
    """The figures of the variant that stands in the table."""
    return cell["variants"][cell["taken"]]["percentiles_us"]


def is_alone(row):
    return row["clients"] == row["outstanding"] == row["vcpus"] == 1


def plain(value, _):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def draw_latency(axes, cells):
    for cell in cells:
        if cell["test"] != "ping" or not is_alone(cell):
            continue
        color, line = STYLES[cell["channel"]]
        axes.plot(PERCENTILES, [taken(cell)[each] for each in PERCENTILES],
                  color=color, linestyle=line, marker=".",
                  label=cell["channel"])
    axes.set_yscale("log")
    axes.set_title("A ping: microseconds, by percentile (lower is better)")
    axes.set_xlabel("percentile")


def draw_throughput(axes, rows):
    sizes = [f"reflect_{size}" for size in plan.SIZES]
    for channel, (color, line) in STYLES.items():
        by_test = {row["test"]: row["mb_per_s"] for row in rows
                   if row["channel"] == channel and is_alone(row)}
        tests = [test for test in sizes if test in by_test]
        axes.plot([sizes.index(test) for test in tests],
                  [by_test[test] for test in tests],
                  color=color, linestyle=line, marker=".")
    axes.set_yscale("log")
    axes.set_xticks(range(len(sizes)),
                    [size.upper() for size in plan.SIZES])
    axes.set_title("Bytes sent and given back: MB/s each way, by size "
                   "(higher is better)")
    axes.set_xlabel("bytes in a call, each way")


# channel and batch: how its cleans are drawn.
CLEANS = {
    ("pcie-direct", 16): ("#0b5fa5", "-"),
    ("pcie-direct", 1): ("#0b5fa5", "--"),
    ("guest-memcpy", 16): ("#b8532e", "-"),
    ("tcp-inline", 1): ("#d98a00", "-"),
}
WAYS = {"write": "#0b5fa5", "read": "#2a9d5c"}
EXTENTS = {1: "-", 16: "--", 256: ":"}


def draw_sizes(axes, sizes, value, label, **style):
    """value: of a size; None where it was not measured."""
    values = {size: value(size) for size in sizes}
    at = [size for size in sizes if values[size] is not None]
    if at:
        axes.plot([list(sizes).index(size) for size in at],
                  [values[size] for size in at], marker=".", label=label,
                  **style)
    axes.set_xticks(range(len(sizes)), [size.upper() for size in sizes])


def draw_cleans(axes, figures):
    for (channel, batch), (color, line) in CLEANS.items():
        draw_sizes(axes, plan.CLEAN_SIZES,
                   lambda size, its=(channel, batch): figures.get(
                       (its[0], plan.clean_test(size), its[1]), {}).get(
                           "busy_us"),
                   f"{channel}, batch {batch}", color=color, linestyle=line)
    axes.set_yscale("log")
    axes.set_title("A clean of all memory: microseconds of the guest's CPU "
                   "(lower is better)")
    axes.set_xlabel("bytes of a virtine's memory")


def draw_dma(axes, figures):
    def rate(way, size, extents):
        row = figures.get(("dma", plan.dma_test(way, size, extents), 1))
        return None if row is None else row["mb_per_s"] / 1e3

    for way, color in WAYS.items():
        for extents, line in EXTENTS.items():
            draw_sizes(axes, plan.DMA_SIZES,
                       lambda size, its=(way, extents): rate(its[0], size,
                                                             its[1]),
                       f"{way}, {extents} extent{'s' * (extents > 1)}",
                       color=color, linestyle=line)
    axes.set_ylim(bottom=0)
    axes.set_title("DMA, one operation at a time: GB/s (higher is better)")
    axes.set_xlabel("bytes of an operation")


def draw_pair(name, folder, draw_left, draw_right, legends):
    """legends: whose; that of the left one alone goes below both."""
    matplotlib.rcParams.update({"svg.hashsalt": "lanecall", "font.size": 9,
                                "axes.titlesize": 10})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.8))
    draw_left(left)
    draw_right(right)
    for axes in (left, right):
        axes.grid(True, which="major", alpha=0.3)
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(plain))
        axes.spines[["top", "right"]].set_visible(False)
        labels = axes.get_legend_handles_labels()[1]
        if legends == "each" and labels:
            axes.legend(frameon=False)
    below = 0
    handles, labels = left.get_legend_handles_labels()
    if legends == "left" and labels:
        below = 0.11
        figure.legend(handles, labels, loc="lower center", ncol=6,
                      frameon=False)
    figure.tight_layout(rect=(0, below, 1, 1))
    figure.savefig(os.path.join(folder, f"{name}.svg"),
                   metadata={"Date": None})
    figure.savefig(os.path.join(folder, f"{name}.png"), dpi=130,
                   metadata={"Software": None})
    pyplot.close(figure)


def draw(rows, details, folder):
    """chart, and memory if any was moved, in the folder."""
    draw_pair("chart", folder,
              lambda axes: draw_latency(axes, details["cells"]),
              lambda axes: draw_throughput(axes, rows), "left")
    figures = {(row["channel"], row["test"], row["outstanding"]): row
               for row in rows if row["test"] in plan.WORK_TESTS}
    if figures:
        draw_pair("memory", folder, lambda axes: draw_cleans(axes, figures),
                  lambda axes: draw_dma(axes, figures), "each")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder = sys.argv[1]

    def read(name):
        with open(os.path.join(folder, name), encoding="utf-8") as text:
            return json.load(text)

    draw(read("results.json"), read("details.json"), folder)


if __name__ == "__main__":
    main()
