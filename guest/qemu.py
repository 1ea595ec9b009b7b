# SPDX-License-Identifier: Apache-2.0
"""One QEMU: its command line, its life, and what the guest says.

The guest's first serial port is the kernel's console and goes to a file. The
second is one end of a socket pair: it carries what the command says, then a NUL
byte, the run's nonce and the command's exit status. QEMU dies with this
process, whatever happens to this process.
"""

import collections
import ctypes
import os
import signal
import socket
import subprocess

FIRMWARE = ["/usr/share/seabios", "/usr/share/qemu"]
CARD_WINDOW = "256M"  # of a root port, for BAR 4 of the device below it
USER_ADDRESS = "10.0.2.15/24"  # the guest's on QEMU's user network
USER_HOST = "10.0.2.2"  # the host as seen from there
# What a QEMU that a guest has taken over cannot do: start programs, become
# somebody else, change what it may use of the host, call what nobody needs.
SANDBOX = "on," + ",".join(f"{each}=deny" for each in (
    "obsolete", "elevateprivileges", "spawn", "resourcecontrol"))
STOP_SECONDS = 10  # for QEMU to end in order before it is killed

# What QEMU calls an IOMMU, and what the guest's kernel is told to use it as it
# should. AMD's takes every device behind a bridge for one on the first bus, in
# QEMU 7.2; and it does not report an address that is not mapped.
Iommu = collections.namedtuple("Iommu", "device words knows_buses")
_STRICT = ["iommu.strict=1"]
IOMMUS = {
    "intel": Iommu("intel-iommu,intremap=on,caching-mode=on,device-iotlb=on",
                   ["intel_iommu=on"] + _STRICT, True),
    "amd": Iommu("amd-iommu,intremap=on,device-iotlb=on", _STRICT, False),
}

_PR_SET_PDEATHSIG = 1


def _die_with(parent):
    """Called in a child: the kernel kills it when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def option(value):
    """A value inside a comma-separated QEMU option."""
    return value.replace(",", ",,")


def _cpus(count, kvm):
    """A machine that can never have a second CPU is one for which QEMU 7.2's
    emulator leaves out memory barriers, as if only CPUs saw memory. The device
    looks at rings from other threads: room for one more keeps the barriers."""
    return str(count) if kvm else f"{count},maxcpus={max(count, 2)}"


def _cpu(args):
    """The model, with virtualisation for the guest's use where it is asked for:
    an AMD's, which is the one that QEMU emulates."""
    model = args.cpu or ("host" if args.kvm else "max,-erms")
    return f"{model},+svm,+npt" if args.svm else model


def _machine(args):
    """The type; KVM's own interrupt controllers know no remapping."""
    return args.machine + (",kernel-irqchip=split" if args.iommu else "")


class Machine:
    """Collects the command line."""

    def __init__(self, program, args):
        self._command = [program, "-nodefaults", "-no-user-config",
                         "-sandbox", SANDBOX, "-display", "none", "-no-reboot"]
        for folder in FIRMWARE:
            self.add("-L", folder)
        self.add("-machine", _machine(args))
        self.add("-accel", "kvm" if args.kvm else "tcg")
        self.add("-cpu", _cpu(args))
        self.add("-smp", _cpus(args.smp, args.kvm))
        self.add("-m", str(args.memory))
        self._iommu = IOMMUS.get(args.iommu)
        if self._iommu:
            self.add("-device", self._iommu.device)

    def add(self, *words):
        self._command.extend(words)

    def devices(self, count, servers, options):
        """edu devices, each below a root port of its own, so that it can be
        unplugged; on the first bus, if the IOMMU knows no other. servers: for each property (rpc, card) the addresses, which
        are dealt out in turn; "none" is none."""
        # Room for card memory that is plugged in later, too.
        window = f",pref64-reserve={CARD_WINDOW}" if servers["card"] else ""
        for i in range(count):
            if self._iommu and not self._iommu.knows_buses:
                bus = "pcie.0"
            else:
                bus = f"port{i}"
                self.add("-device", f"pcie-root-port,id={bus},chassis={i + 1},"
                         f"slot={i + 1}{window}")
            words = ["edu", f"id=edu{i}", f"bus={bus}"]
            for name, addresses in servers.items():
                address = addresses[i % len(addresses)] if addresses else "none"
                if address != "none":
                    words.append(f"{name}={option(address)}")
            self.add("-device", ",".join(words + options))

    def user_network(self):
        self.add("-netdev", "user,id=user",
                 "-device", "virtio-net-pci,netdev=user,romfile=")

    def tap(self, interface):
        """A network card on an interface that is there and this user's."""
        name = f"tap-{interface}"
        self.add("-netdev", f"tap,id={name},ifname={option(interface)},"
                 "script=no,downscript=no",
                 "-device", f"virtio-net-pci,netdev={name},romfile=")

    def ports(self, pairs):
        """virtio-serial ports: names and the sockets that they lead to."""
        if pairs:
            self.add("-device", f"virtio-serial-pci,max_ports={len(pairs) + 1}")
        for i, (name, path) in enumerate(pairs):
            self.add("-chardev",
                     f"socket,id=port-{i},path={option(path)},server=off",
                     "-device",
                     f"virtserialport,chardev=port-{i},name={name}")

    def start(self, console, errors):
        """Starts it; returns the Guest."""
        ours, its = socket.socketpair()
        with its:
            self.add("-chardev", f"file,id=console,path={option(console)}",
                     "-serial", "chardev:console",
                     "-chardev", f"socket,id=command,fd={its.fileno()}",
                     "-serial", "chardev:command")
            parent = os.getpid()
            with open(errors, "wb") as log:
                process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, pass_fds=[its.fileno()],
                    process_group=0,
                    preexec_fn=lambda: _die_with(parent))
        return Guest(process, ours)


class Guest:
    """A running QEMU. Use it in a `with` block."""

    def __init__(self, process, port):
        self.process = process
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.port.close()

    def wait(self):
        """QEMU's status once it has ended by itself; None if it does not."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            if self.wait() is None:
                self.process.kill()
        return self.process.wait()


class StatusFilter:
    """Takes the bytes of the second port; passes on what the command said and
    keeps the line that announces its status."""

    def __init__(self, nonce, out):
        # Begins with a byte that text does not end with, or that byte would be
        # held back until more comes.
        self._mark = b"\0" + nonce.encode() + b" "
        self._out = out
        self._held = b""
        self.status = None

    def feed(self, data):
        self._held += data
        at = self._held.find(self._mark)
        if at < 0:
            keep = _overlap(self._held, self._mark)
            self._pass_on(len(self._held) - keep)
            return
        self._pass_on(at)
        line, end, _ = self._held[len(self._mark):].partition(b"\n")
        if end:
            self.status = int(line)
            self._held = b""

    def finish(self):
        """The guest is gone: nothing is held back any longer."""
        self._pass_on(len(self._held))

    def _pass_on(self, count):
        if count:
            self._out.write(self._held[:count])
            self._out.flush()
            self._held = self._held[count:]


def _overlap(data, mark):
    """How many bytes at the end of data could be the beginning of mark."""
    for count in range(min(len(data), len(mark) - 1), 0, -1):
        if data.endswith(mark[:count]):
            return count
    return 0
