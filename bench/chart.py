# SPDX-License-Identifier: Apache-2.0
"""The chart: how long pings take, by percentiles; how many bytes come back, by
size. As SVG and PNG, the same figures giving the same files.

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


def draw(rows, details, folder):
    """chart.svg and chart.png in the folder."""
    matplotlib.rcParams.update({"svg.hashsalt": "lanecall", "font.size": 9,
                                "axes.titlesize": 10})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.8))
    draw_latency(left, details["cells"])
    draw_throughput(right, rows)
    for axes in (left, right):
        axes.grid(True, which="major", alpha=0.3)
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(plain))
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="lower center", ncol=6,
                      frameon=False)
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.savefig(os.path.join(folder, "chart.svg"), metadata={"Date": None})
    figure.savefig(os.path.join(folder, "chart.png"), dpi=130,
                   metadata={"Software": None})
    pyplot.close(figure)


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
