# SPDX-License-Identifier: Apache-2.0
"""What is measured: the channels, the cells of the table, and their order.

A cell is a test over a channel with a number of clients, of calls outstanding
(of DMA and of cleans: the batch) and of virtual CPUs. Where a user may choose
between two settings of a channel, both are measured, as its variants, and the
better one stands in the table.
"""

import dataclasses

GUEST = "guest"  # one vCPU there, its core; the server is on the other
HOST_SAME_CORE = "host, on the servers' core"
HOST_OTHER_CORE = "host, on the guest's core"

SERIAL_PORTS = 4

# What is measured over a channel: Edu's calls; bytes moved by DMA; virtines'
# memory put back to a snapshot; virtines that run, and are cleaned.
CALLS, DMA, CLEANS, VIRTINES = "calls", "dma", "cleans", "virtines"

# Settings of a socket's or a serial port's client, and of the server it wants.
FRAMINGS = ["buffered", "framed"]


@dataclasses.dataclass(frozen=True)
class Channel:
    """address: as lanecall-bench takes it, with {names} of what is only known
    when servers run; {framing} is there where both are tried."""
    name: str
    place: str
    address: str
    clients_most: int = 64
    measures: tuple = (CALLS,)

    @property
    def variants(self):
        return FRAMINGS if "{framing" in self.address else [""]

    def variant_name(self, variant):
        return f"{self.name}.{variant}" if variant else self.name


CHANNELS = [
    # The direct plane; its server spins while a channel is open.
    Channel("pcie-direct", GUEST,
            "pcie:/dev/lanecall1,mode=mapped,spin=adaptive",
            measures=(CALLS, CLEANS, VIRTINES)),
    Channel("pcie-direct-sleep", GUEST,
            "pcie:/dev/lanecall2,mode=mapped,spin=never"),
    # The socket plane.
    Channel("pcie-spin", GUEST,
            "pcie:/dev/lanecall0,mode=mapped,spin=adaptive"),
    Channel("pcie-sleep", GUEST,
            "pcie:/dev/lanecall0,mode=mapped,spin=never"),
    Channel("pcie-rw", GUEST, "pcie:/dev/lanecall0,mode=rw"),
    # What a user would pick instead.
    Channel("virtio-serial", GUEST,
            "serial:/dev/virtio-ports/{framing}.%d,framing={framing}"
            f",ports={SERIAL_PORTS}", SERIAL_PORTS),
    Channel("tcp-tap", GUEST, "{framing_tcp_tap},framing={framing}"),
    Channel("tcp-user", GUEST, "{framing_tcp_user},framing={framing}"),
    # Floors.
    Channel("host-unix", HOST_SAME_CORE, "{framing_unix},framing={framing}"),
    Channel("host-unix-two-cores", HOST_OTHER_CORE,
            "{framing_unix},framing={framing}"),
    Channel("guest-memory", GUEST, "memory:"),
    Channel("host-memory", HOST_OTHER_CORE, "memory:"),
    # The bench's own server moves bytes, and times that.
    Channel("dma", GUEST, "pcie:/dev/lanecall3,mode=mapped,spin=never",
            measures=(DMA,)),
    # What cleans without a co-processor: the guest itself, or the same service
    # with all bytes in its messages.
    Channel("guest-memcpy", GUEST, "memory:", measures=(CLEANS, VIRTINES)),
    Channel("tcp-inline", GUEST, "{buffered_tcp},framing=buffered",
            measures=(CLEANS,)),
]
FLOORS = {"host-unix", "host-unix-two-cores", "guest-memory", "host-memory"}
MEMORY = {"guest-memory", "host-memory"}

SIZES = {"64": 64, "1k": 1 << 10, "4k": 4 << 10, "64k": 64 << 10, "1m": 1 << 20,
         "8m": 8 << 20}
CALL_TESTS = ["ping"] + [f"reflect_{size}" for size in SIZES]
MANY_CLIENTS = [4, 16, 64]
MANY_CLIENTS_TESTS = ["ping", "reflect_4k"]
OUTSTANDING = 64

MIB = 1 << 20
DMA_SIZES = {"4k": 4 << 10, "64k": 64 << 10, "1m": MIB, "16m": 16 * MIB}
DMA_EXTENTS = [1, 16, 256]
DMA_BATCH = 16  # in one extent each, up to 1 MiB


def dma_test(way, size, extents):
    return f"dma_{way}_{size}" + (f"_x{extents}" if extents > 1 else "")


DMA_TESTS = [dma_test(way, size, extents) for way in ("write", "read")
             for size in DMA_SIZES for extents in DMA_EXTENTS]

CLEAN_SIZES = {"4k": 4 << 10, "64k": 64 << 10, "512k": 512 << 10, "1m": MIB,
               "4m": 4 * MIB, "16m": 16 * MIB}
# Percent of the pages that are dirty and listed; None: all, and none is listed.
DIRTY = [None, 1, 10, 50]
CLEAN_BATCHES = [1, 16, 256]
GOAL_BATCH = 64  # also measured, of 512 KiB
BATCH_BYTES = 256 * MIB  # the most memory of a batch

VIRTINE_SIZES = ["1m", "4m"]
VIRTINE_BATCH = 16  # of the pool
UNCLEANED = "_uncleaned"  # what a run takes by itself
VIRTINE_TESTS = [f"virtine_{size}{which}" for size in VIRTINE_SIZES
                 for which in ("", "_dirty", UNCLEANED)]


def clean_test(size, dirty=None):
    return f"clean_{size}" + ("" if dirty is None else f"_{dirty}")


def is_cleaned(size, dirty):
    """Where so many percent are at least a page, and not all."""
    pages = CLEAN_SIZES[size] >> 12
    return dirty is None or pages * dirty >= 100


CLEAN_TESTS = [clean_test(size, dirty) for size in CLEAN_SIZES
               for dirty in DIRTY if is_cleaned(size, dirty)]
WORK_TESTS = DMA_TESTS + CLEAN_TESTS + VIRTINE_TESTS
TESTS = CALL_TESTS + WORK_TESTS


@dataclasses.dataclass(frozen=True)
class Cell:
    channel: str
    test: str
    clients: int = 1
    outstanding: int = 1
    vcpus: int = 1

    def __str__(self):
        more = [f"{self.clients} clients"] if self.clients > 1 else []
        if self.outstanding > 1:
            more.append(f"{self.outstanding} outstanding")
        if self.vcpus > 1:
            more.append(f"{self.vcpus} vCPUs")
        return " ".join([self.channel, self.test] + more)


@dataclasses.dataclass(frozen=True)
class Plan:
    """rounds: at most, and as many as there is time for; at least one."""
    tests: list
    many_clients: list
    rounds: int
    seconds: float  # of a slice of calls; it also lasts for minimum_calls()
    work_seconds: float  # of one of anything else
    most_seconds: float  # of all rounds
    two_vcpus: bool


FULL = Plan(TESTS, MANY_CLIENTS, rounds=5, seconds=0.2, work_seconds=0.1,
            most_seconds=480, two_vcpus=True)
QUICK = Plan(["ping", "reflect_4k", "reflect_64k", "reflect_1m",
              "dma_write_1m", "dma_read_1m", "clean_512k", "clean_512k_10",
              "virtine_1m", "virtine_1m_dirty", "virtine_4m"], [4, 16],
             rounds=3, seconds=0.1, work_seconds=0.05, most_seconds=75,
             two_vcpus=False)


def is_call(test):
    return test not in WORK_TESTS


def seconds(plan, cell):
    return plan.seconds if is_call(cell.test) else plan.work_seconds


def minimum_calls(cell):
    """Enough for a median, and few where one call takes long. What is measured
    in batches has at least one."""
    if not is_call(cell.test):
        return cell.outstanding
    if not cell.test.startswith("reflect_"):
        return 50 * cell.clients
    size = SIZES.get(cell.test.removeprefix("reflect_"), 0)
    return 3 if size >= 8 << 20 else 8 if size >= 1 << 20 else 20 * cell.clients


def cells(plan, channels, vcpus):
    """Tests one after the other, each over all channels, so that what is to be
    compared is measured close together."""
    def of(what):
        return [each for each in channels if what in each.measures]

    if vcpus > 1:
        return [Cell(each.name, "ping", vcpus=vcpus) for each in of(CALLS)
                if each.place == GUEST and "ping" in plan.tests]
    return (call_cells(plan, of(CALLS)) + dma_cells(plan, of(DMA))
            + clean_cells(plan, of(CLEANS))
            + virtine_cells(plan, of(VIRTINES)))


def call_cells(plan, channels):
    found = []

    def add(test, of=channels, **more):
        found.extend(Cell(each.name, test, **more) for each in of
                     if more.get("clients", 1) <= each.clients_most)

    for test in plan.tests:
        if test in CALL_TESTS:
            add(test)
    carriers = [each for each in channels if each.name not in FLOORS]
    for test in [each for each in MANY_CLIENTS_TESTS if each in plan.tests]:
        for clients in plan.many_clients:
            add(test, carriers, clients=clients)
    if "ping" in plan.tests:
        add("ping", [each for each in channels if each.name not in MEMORY],
            outstanding=OUTSTANDING)
        devices = [each for each in channels if each.address.startswith("pcie")]
        add("ping_cob", devices)
        add("ping_cob", devices, outstanding=OUTSTANDING)
    return found


def dma_cells(plan, channels):
    found = []
    for test in [each for each in DMA_TESTS if each in plan.tests]:
        size = DMA_SIZES.get(test.split("_")[2])
        for batch in [1] + ([DMA_BATCH] if "_x" not in test and size <= MIB
                            else []):
            found += [Cell(each.name, test, outstanding=batch)
                      for each in channels]
    return found


def clean_cells(plan, channels):
    return [Cell(each.name, clean_test(size, dirty), outstanding=batch)
            for size in CLEAN_SIZES for dirty in DIRTY
            if clean_test(size, dirty) in plan.tests
            for batch in sorted(CLEAN_BATCHES + [GOAL_BATCH])
            for each in channels if is_batch(each.name, size, dirty, batch)]


def is_batch(channel, size, dirty, batch):
    """Not everything with everything: what can be compared, fits into the
    guest, and does not take the others' time."""
    size_bytes = CLEAN_SIZES[size]
    if batch * size_bytes > BATCH_BYTES:
        return False
    if channel == "tcp-inline":
        return dirty in (None, 10) and (batch == 1 or (
            batch == 16 and dirty is None and size_bytes <= MIB))
    if batch == GOAL_BATCH:
        return size == "512k" and dirty in (None, 10)
    return batch < 256 or dirty in (None, 10)


def virtine_cells(plan, channels):
    """The pool has a batch; what the guest cleans itself is done one by one."""
    return [Cell(each.name, test, outstanding=1 if each.name == "guest-memcpy"
                 else VIRTINE_BATCH)
            for test in VIRTINE_TESTS if test in plan.tests
            for each in channels
            if each.name == "guest-memcpy" or not test.endswith(UNCLEANED)]


def in_order_of_round(of, number):
    """Every other round goes backwards, so that what changes steadily during
    the run (a CPU's heat, say) falls on all alike."""
    return of if number % 2 == 0 else list(reversed(of))
