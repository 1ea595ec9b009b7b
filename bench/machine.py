# SPDX-License-Identifier: Apache-2.0
"""The processes of a bench: servers, lanecall-bench here, and the guest; where
they run; and the network that they have to themselves.

They end with this program, however it ends: the kernel kills what we started,
and the network goes with the last process in it.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile

from worker import BenchError, Worker
import plan

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STOP_SECONDS = 15
ENDING_SECONDS = 2
_PR_SET_PDEATHSIG = 1

# The tap's two ends; addresses set aside for documentation, in a network of
# their own.
TAP = "bench0"
TAP_HOST = "192.0.2.1"
TAP_GUEST = "192.0.2.2"
TAP_BITS = 30
USER_HOST = "10.0.2.2"  # the host as seen through QEMU's user network

# As lanecall-bench sets it for itself: large strings are not mapped and
# unmapped for each call.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20),
          "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1)}


def _die_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Cores:
    """The guest's virtual CPU has one core, all else the other: QEMU's other
    threads and the servers. With several virtual CPUs there is no such line,
    and all may run anywhere."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        self.all = set(cores)
        self.guest = {cores[0]}
        self.servers = {cores[1 % len(cores)]}

    def of(self, place):
        return self.servers if place == plan.HOST_SAME_CORE else self.guest

    def text(self, vcpus):
        if vcpus > 1:
            return f"all on cores {sorted(self.all)}"
        return (f"virtual CPU on core {min(self.guest)}; QEMU's other threads "
                f"and all servers on core {min(self.servers)}")


def tail(path, lines=20):
    with contextlib.suppress(OSError):
        with open(path, encoding="utf-8", errors="replace") as text:
            return "".join(text.readlines()[-lines:]).rstrip()
    return ""


class Process:
    """A child with a log of its own; `with` ends it."""

    def __init__(self, name, command, log, cores=None, **popen):
        self.name = name
        self.log = log
        with open(log, "wb") as out:
            popen = {"stdout": out, "stderr": out, **popen}
            self.process = subprocess.Popen(
                command, preexec_fn=_die_with_parent, **popen)
        if cores:
            os.sched_setaffinity(self.process.pid, cores)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def has_ended(self):
        """Why it runs no more, or None."""
        status = self.process.poll()
        if status is None:
            return None
        how = f"status {status}" if status >= 0 else f"signal {-status}"
        said = tail(self.log)
        return f"{self.name} has ended with {how}" + (f":\n{said}" if said
                                                      else "")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


class Server(Process):
    """A server program; addresses has where it listens, once it does."""

    def __init__(self, name, program, options, work, cores):
        ready, its_end = os.pipe()
        try:
            super().__init__(
                f"the {name} server", [program, *options, "--idle-timeout", "0",
                                       "--log-level", "warning",
                                       "--ready-fd", str(its_end)],
                os.path.join(work, f"server-{name}.log"), cores,
                stdout=subprocess.DEVNULL, pass_fds=[its_end],
                env={**os.environ, **MALLOC})
        finally:
            os.close(its_end)
        with open(ready, encoding="utf-8") as addresses:
            self.addresses = addresses.read().split()
        if not self.addresses:
            self.process.wait()
            raise BenchError(self.has_ended())


class Servers:
    """All servers, and the addresses that channels want."""

    def __init__(self, program, dma_program, work, cores, has_tap):
        self._stack = contextlib.ExitStack()
        self._program = program
        self._dma_program = dma_program
        self._work = work
        self._cores = cores
        self._has_tap = has_tap
        self.all = []
        self.addresses = {}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for framing in plan.FRAMINGS:
                self._start_sockets(stack, framing)
            self._start_card(stack, "direct", self._program, "always")
            self._start_card(stack, "direct-sleep", self._program, "never")
            self._start_card(stack, "dma", self._dma_program, "never")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        self._stack.__exit__(*failure)

    def card(self, name):
        return f"unix:{self._work}/{name}.sock"

    def socket(self, framing):
        return os.path.join(self._work, f"{framing}.sock")

    def why_they_ended(self):
        """What became of those that ended, or None. A server closes its
        connections, which others see, shortly before it has ended."""
        with contextlib.ExitStack() as stack:
            pids = [os.pidfd_open(each.process.pid) for each in self.all
                    if each.process.returncode is None]
            for pid in pids:
                stack.callback(os.close, pid)
            select.select(pids, [], [], ENDING_SECONDS)
        ends = [each.has_ended() for each in self.all]
        return "\n".join(each for each in ends if each) or None

    def place(self, cores):
        """All their threads on these cores."""
        for server in self.all:
            for thread in os.listdir(f"/proc/{server.process.pid}/task"):
                os.sched_setaffinity(int(thread), cores)

    def _start_card(self, stack, name, program, spin):
        self._start(stack, name, program, "--card", self.card(name), "--spin",
                    spin)

    def _start(self, stack, name, program, *options):
        server = Server(name, program, options, self._work, self._cores)
        self.all.append(stack.enter_context(server))
        return server

    def _start_sockets(self, stack, framing):
        hosts = ["127.0.0.1"] + ([TAP_HOST] if self._has_tap else [])
        options = ["--framing", framing,
                   "--listen", f"unix:{self.socket(framing)}"]
        for host in hosts:
            options += ["--listen", f"tcp:{host}:0"]
        found = self._start(stack, framing, self._program, *options).addresses
        port = {host: address.rpartition(":")[2]
                for host, address in zip(hosts, found[1:])}
        self.addresses[framing] = {
            "framing": framing,
            "framing_unix": found[0],
            "framing_tcp_user": f"tcp:{USER_HOST}:{port['127.0.0.1']}",
            "framing_tcp_tap": f"tcp:{TAP_HOST}:{port.get(TAP_HOST, 0)}",
        }
        # For channels without variants: the faster network that there is.
        of_framing = self.addresses[framing]
        self.addresses.setdefault("", {})[f"{framing}_tcp"] = of_framing[
            "framing_tcp_tap" if self._has_tap else "framing_tcp_user"]


def channel_options(channels, addresses):
    """--channel options of lanecall-bench for all variants of all channels."""
    words = []
    for channel in channels:
        for variant in channel.variants:
            address = channel.address.format(**addresses.get(variant, {}))
            words += ["--channel",
                      f"{channel.variant_name(variant)}={address}"]
    return words


class HostBench(Process):
    """lanecall-bench on this machine."""

    def __init__(self, place, program, words, work, cores):
        name = f"lanecall-bench on the {place}"
        super().__init__(name, [program, *words],
                         os.path.join(work, f"bench-{min(cores)}.log"), cores,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.worker = Worker(place, self.process.stdin.fileno(),
                             self.process.stdout.fileno(), self.has_ended)

    def __exit__(self, *_):
        self.end()
        self.process.stdin.close()
        self.process.stdout.close()


class Guest(Process):
    """lanecall-bench in a guest that has all devices: guest/run's process, the
    control port's connection, and QEMU's threads on their cores."""

    def __init__(self, args, words, servers, work, cores, vcpus, has_tap):
        control = os.path.join(work, f"control-{vcpus}.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(control)
            listener.listen()
            super().__init__(
                "the guest", self._command(args, words, servers, control,
                                           vcpus, has_tap),
                os.path.join(work, f"guest-{vcpus}.log"))
            self._connection = self._accept(listener)
        self._vcpus = vcpus
        self._cores = cores
        connection = self._connection.fileno()
        self.worker = Worker("guest", connection, connection, self.has_ended)

    @staticmethod
    def _command(args, words, servers, control, vcpus, has_tap):
        command = [os.path.join(ROOT, "guest/run"), "--build", args.build,
                   "--smp", str(vcpus), "--memory", "1G",
                   "--svm",  # for virtual machines of the guest's own
                   "--program", args.bench,
                   "--net", "user",
                   "--qemu-option=-name",
                   "--qemu-option=lanecall-bench,debug-threads=on",
                   "--port", f"bench.control=unix:{control}"]
        if has_tap:
            command += ["--tap", f"{TAP}:{TAP_GUEST}/{TAP_BITS}"]
        for framing in plan.FRAMINGS:
            for i in range(plan.SERIAL_PORTS):
                command += ["--port",
                            f"{framing}.{i}=unix:{servers.socket(framing)}"]
        rpc = "unix:" + servers.socket(plan.FRAMINGS[0])
        for its_rpc, card in ((rpc, "none"),
                              ("none", servers.card("direct")),
                              ("none", servers.card("direct-sleep")),
                              ("none", servers.card("dma"))):
            command += ["--rpc", its_rpc, "--card", card]
        for each in args.guest_option:
            command.append(each)
        return command + ["--", os.path.basename(args.bench), "--control",
                          "/dev/virtio-ports/bench.control", *words]

    def _accept(self, listener):
        """QEMU connects before it runs anything."""
        listener.settimeout(1)
        while True:
            try:
                return listener.accept()[0]
            except TimeoutError:
                if self.has_ended():
                    raise BenchError(self.has_ended()) from None

    def qemu(self):
        """QEMU's process id, from who connected."""
        pid, _, _ = struct.unpack("3i", self._connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid

    def place(self):
        """Its threads on their cores. Threads made later are their makers'
        neighbours."""
        if self._vcpus > 1:
            return
        folder = f"/proc/{self.qemu()}/task"
        for thread in os.listdir(folder):
            with open(f"{folder}/{thread}/comm", encoding="utf-8") as comm:
                is_cpu = comm.read().startswith("CPU ")
            os.sched_setaffinity(int(thread), self._cores.guest if is_cpu
                                 else self._cores.servers)

    def finish(self):
        """Ends it in order, with all that the guest has to say."""
        self.worker.quit()
        if self.process.wait(STOP_SECONDS) != 0:
            raise BenchError(self.has_ended())

    def __exit__(self, *_):
        self.end()
        self._connection.close()


def network_words():
    """What puts a program into a network of its own, by util-linux."""
    words = ["unshare", "--net"]
    return words if os.geteuid() == 0 else words + ["--map-root-user"]


def make_tap():
    """In a new network: its loopback and a tap. CalledProcessError."""
    for words in (["link", "set", "lo", "up"],
                  ["tuntap", "add", "dev", TAP, "mode", "tap"],
                  ["addr", "add", f"{TAP_HOST}/{TAP_BITS}", "dev", TAP],
                  ["link", "set", TAP, "up"]):
        subprocess.run(["ip", *words], check=True, capture_output=True,
                       text=True)


def why_no_network():
    """Why there can be no network of our own with a tap; None if there can."""
    probe = "ip tuntap add dev probe mode tap"
    try:
        done = subprocess.run([*network_words(), "sh", "-c", probe],
                              capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip().splitlines()[-1]


@contextlib.contextmanager
def work_folder():
    with tempfile.TemporaryDirectory(prefix="lanecall-bench.") as folder:
        yield folder


def facts(args):
    """The machine and the versions, for whoever reads the numbers later."""
    def first_line(*command):
        with contextlib.suppress(OSError, IndexError):
            return subprocess.run(command, capture_output=True, text=True,
                                  check=False).stdout.splitlines()[0]
        return "unknown"

    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": os.uname().release,
        "qemu": first_line(os.path.join(
            args.build, "qemu/bin/qemu-system-x86_64"), "--version"),
        "lanecall": first_line("git", "-C", ROOT, "describe", "--always",
                               "--dirty"),
        "python": sys.version.split()[0],
        "load": os.getloadavg()[0],
    }
