# SPDX-License-Identifier: Apache-2.0
"""What is measured: the channels, the cells of the table, and their order.

A cell is a test over a channel with a number of clients, of calls outstanding
and of virtual CPUs. Where a user may choose between two settings of a channel,
both are measured, as its variants, and the better one stands in the table.
"""

import dataclasses

GUEST = "guest"  # one vCPU there, its core; the server is on the other
HOST_SAME_CORE = "host, on the servers' core"
HOST_OTHER_CORE = "host, on the guest's core"

SERIAL_PORTS = 4

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

    @property
    def variants(self):
        return FRAMINGS if "{framing" in self.address else [""]

    def variant_name(self, variant):
        return f"{self.name}.{variant}" if variant else self.name


CHANNELS = [
    # The direct plane; its server spins while a channel is open.
    Channel("pcie-direct", GUEST,
            "pcie:/dev/lanecall1,mode=mapped,spin=adaptive"),
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
]
FLOORS = {"host-unix", "host-unix-two-cores", "guest-memory", "host-memory"}
MEMORY = {"guest-memory", "host-memory"}

SIZES = {"64": 64, "1k": 1 << 10, "4k": 4 << 10, "64k": 64 << 10, "1m": 1 << 20,
         "8m": 8 << 20}
TESTS = ["ping"] + [f"reflect_{size}" for size in SIZES]
MANY_CLIENTS = [4, 16, 64]
MANY_CLIENTS_TESTS = ["ping", "reflect_4k"]
OUTSTANDING = 64


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
    seconds: float  # of a slice; it also lasts for minimum_calls()
    most_seconds: float  # of all rounds
    two_vcpus: bool


FULL = Plan(TESTS, MANY_CLIENTS, rounds=7, seconds=0.2, most_seconds=480,
            two_vcpus=True)
QUICK = Plan(["ping", "reflect_4k", "reflect_64k", "reflect_1m"], [4, 16],
             rounds=3, seconds=0.1, most_seconds=75, two_vcpus=False)


def minimum_calls(cell):
    """Enough for a median, and few where one call takes long."""
    if not cell.test.startswith("reflect_"):
        return 50 * cell.clients
    size = SIZES.get(cell.test.removeprefix("reflect_"), 0)
    return 3 if size >= 8 << 20 else 8 if size >= 1 << 20 else 20 * cell.clients


def cells(plan, channels, vcpus):
    """Tests one after the other, each over all channels, so that what is to be
    compared is measured close together."""
    found = []

    def add(test, of=channels, **more):
        found.extend(Cell(each.name, test, vcpus=vcpus, **more) for each in of
                     if more.get("clients", 1) <= each.clients_most)

    if vcpus > 1:
        add("ping", [each for each in channels if each.place == GUEST])
        return found
    for test in plan.tests:
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


def in_order_of_round(of, number):
    """Every other round goes backwards, so that what changes steadily during
    the run (a CPU's heat, say) falls on all alike."""
    return of if number % 2 == 0 else list(reversed(of))
