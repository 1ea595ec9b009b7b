# SPDX-License-Identifier: Apache-2.0
"""What a guest's root is made of, in layers.

A layer is a list of (name in the guest, file on the host). Built layers are
kept in the build folder under a key made of names, sizes and times, so that a
run only builds what changed; the kernel unpacks several archives one after the
other. Archives are not compressed: unpacking costs an emulated CPU more than
reading.
"""

import contextlib
import hashlib
import os
import re
import subprocess
import tempfile
import time

import cpio

KEPT_SECONDS = 24 * 3600  # unused layers go away after this

# Modules of Debian's kernel that the guest loads for a network card, for a
# serial port with a name, and for virtual machines of its own.
NETWORK_MODULES = ["virtio_pci", "virtio_net"]
PORT_MODULES = ["virtio_pci", "virtio_console"]
SVM_MODULES = ["kvm_amd"]  # large, and so only where it is asked for
OWN_MODULE = "extra/lanecall.ko"  # below lib/modules/RELEASE, as modprobe wants


class Layer:
    """Files by name, and the links among them."""

    def __init__(self):
        self.files = {}
        self.links = {}

    def add(self, name, path):
        self.files.setdefault(name, os.path.realpath(path))

    def program(self, path, name=None):
        """A program with the libraries that it loads, each at its own place."""
        self.add(name or "/usr/bin/" + os.path.basename(path), path)
        for library in libraries(path):
            self.add(library, library)

    def key(self):
        text = hashlib.sha256()
        for name, path in sorted(self.files.items()):
            status = os.stat(path)
            text.update(f"{name} {path} {status.st_size} "
                        f"{status.st_mtime_ns} {status.st_mode}\n".encode())
        text.update(repr(sorted(self.links.items())).encode())
        return text.hexdigest()[:16]

    def write(self, out):
        archive = cpio.Writer(out)
        for name, path in sorted(self.files.items()):
            with stripped(path) as small:
                archive.file(name, small, os.stat(path).st_mode & 0o777)
        for name, target in sorted(self.links.items()):
            archive.link(name, target)
        archive.close()

    def build(self, folder):
        """The path of this layer's archive in folder, made if it is not there."""
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"layer-{self.key()}.cpio")
        if not os.path.exists(path):
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as out:
                try:
                    self.write(out)
                except BaseException:
                    os.unlink(out.name)
                    raise
            os.rename(out.name, path)
        os.utime(path)
        return path


def forget_old_layers(folder):
    for entry in os.scandir(folder):
        try:
            if time.time() - entry.stat().st_mtime > KEPT_SECONDS:
                os.unlink(entry.path)
        except FileNotFoundError:
            pass  # another run was faster


def libraries(program):
    """Paths of the shared libraries that the loader would load."""
    result = subprocess.run(["ldd", program], capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        return []  # a static program, or a script
    if "not found" in result.stdout:
        raise FileNotFoundError(f"{program} lacks libraries:\n{result.stdout}")
    return re.findall(r"(/\S+) \(0x", result.stdout)


@contextlib.contextmanager
def stripped(path):
    """A file without its debug information while in the `with` block."""
    with open(path, "rb") as source:
        is_elf = source.read(4) == b"\x7fELF"
    if not is_elf or path.endswith(".ko"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "stripped")
        result = subprocess.run(["strip", "--strip-debug", "-o", copy, path],
                                capture_output=True, check=False)
        # What is not for this strip goes in as it is.
        yield copy if result.returncode == 0 else path


def module_needs(kernel):
    """What each module needs; all are paths below lib/modules/RELEASE."""
    needs = {}
    with open(os.path.join(modules_folder(kernel), "modules.dep"),
              encoding="utf-8") as lines:
        for line in lines:
            path, _, rest = line.strip().partition(":")
            needs[path] = rest.split()
    return needs


def module_paths(kernel, wanted):
    """Paths below lib/modules/RELEASE of these modules and what they need, in
    the order in which they can be loaded."""
    base = modules_folder(kernel)
    needs = module_needs(kernel)
    by_name = {os.path.basename(path).split(".")[0].replace("-", "_"): path
               for path in needs}
    order = []
    for name in wanted:
        if name not in by_name:
            raise FileNotFoundError(f"no module {name} below {base}")
        path = by_name[name]
        # modules.dep lists what to load first last
        for each in reversed([path] + needs[path]):
            if each not in order:
                order.append(each)
    return order


def modules_folder(kernel):
    with open(os.path.join(kernel, "release"), encoding="utf-8") as text:
        return os.path.join(kernel, "root/lib/modules", text.read().strip())


def module_index(kernel, own):
    """What modprobe reads in the guest, by name: Debian's modules that are
    there, and the file `own` at OWN_MODULE with its aliases."""
    needs = module_needs(kernel)
    lines = [f"{path}: {' '.join(needs[path])}\n"
             for path in module_paths(kernel, NETWORK_MODULES + PORT_MODULES)]
    info = subprocess.run(["/sbin/modinfo", "-F", "alias", own],
                          capture_output=True, text=True, check=False)
    if info.returncode != 0:
        raise OSError(f"modinfo cannot read {own}: {info.stderr.strip()}")
    name = os.path.basename(OWN_MODULE).partition(".")[0]
    return {"modules.dep": "".join(lines) + f"{OWN_MODULE}:\n",
            "modules.alias": "".join(f"alias {alias} {name}\n"
                                     for alias in info.stdout.split())}


def system_layer(kernel):
    """Busybox, init, and Debian's modules: the same for every run."""
    layer = modules_layer(kernel, NETWORK_MODULES + PORT_MODULES)
    layer.add("/bin/busybox", "/bin/busybox")
    here = os.path.dirname(__file__)
    layer.add("/init", os.path.join(here, "init"))
    layer.add("/sbin/ask-kernel", os.path.join(here, "ask-kernel"))
    return layer


def modules_layer(kernel, wanted):
    """These modules of Debian's, and what they need."""
    layer = Layer()
    base = modules_folder(kernel)
    for path in module_paths(kernel, wanted):
        layer.add(f"/lib/modules/{os.path.basename(base)}/{path}",
                  os.path.join(base, path))
    return layer


# Parts of Python's library that no test in a guest needs.
PYTHON_LEFT_OUT = {"test", "idlelib", "lib2to3", "ensurepip", "tkinter",
                   "turtledemo", "distutils", "pydoc_data", "unittest",
                   "config-3.11-x86_64-linux-gnu"}


def python_layer():
    """Debian's Python with its Thrift library."""
    layer = Layer()
    program = os.path.realpath("/usr/bin/python3")
    version = os.path.basename(program)
    layer.program(program)
    layer.links["/usr/bin/python3"] = version
    add_python_tree(layer, f"/usr/lib/{version}")
    add_python_tree(layer, "/usr/lib/python3/dist-packages/thrift")
    six = "/usr/lib/python3/dist-packages/six.py"  # which thrift imports
    layer.add(six, six)
    return layer


def add_python_tree(layer, top):
    if not os.path.isdir(top):
        raise FileNotFoundError(f"{top} is missing: install python3-thrift")
    for folder, folders, files in os.walk(top):
        folders[:] = [each for each in folders if each not in PYTHON_LEFT_OUT]
        for each in files:
            path = os.path.join(folder, each)
            layer.add(path, path)
            if each.endswith(".so"):
                for library in libraries(path):
                    layer.add(library, library)
