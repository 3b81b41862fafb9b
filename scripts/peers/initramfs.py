# SPDX-License-Identifier: BSD-3-Clause
"""Initial ramdisks for the guests: busybox, virtio modules, iperf3, ethtool, tcpdump, and an
init that takes commands from the console."""

import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import paths

TOOLS = ("iperf3", "ethtool", "tcpdump")

# In the order in which they need each other.
QEMU_MODULES = (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "failover", "net_failover", "virtio_net",
)
UML_MODULES = (
    "failover", "net_failover", "virtio_net",
    "llc", "stp", "garp", "mrp", "8021q",  # VLAN interfaces, which the host's kernel may lack
)

# Reads "ID COMMAND" lines; answers with the output and a line "@@ID STATUS".
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /run /etc
echo root:x:0:0::/:/bin/sh > /etc/passwd
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
dmesg -n 1
for module in %(modules)s; do insmod /modules/$module.ko || echo "@@failed $module"; done
hostname guest
ip link set lo up
stty -echo -onlcr -icrnl 2>/dev/null
echo "@@ready"
while read -r id command; do
	( eval "$command" ) </dev/null 2>&1
	echo "@@$id $?"
done
reboot -f
"""


def _only(pattern):
    found = sorted(paths.GUESTS.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{paths.GUESTS / pattern}: run scripts/install-deps test")
    return found[-1]


def linux_kernel():
    return _only("linux/boot/vmlinuz-*")


def uml_kernel():
    return _only("uml/usr/bin/linux.uml")


def _libraries(program):
    """The shared libraries of a program, and the loader."""
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def _modules(tree, names):
    by_name = {path.name: path for path in tree.rglob("*.ko")}
    return [by_name[f"{name}.ko"] for name in names]


def _pack(directory, target):
    listed = subprocess.run(["find", "."], cwd=directory, check=True, capture_output=True).stdout
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
            cwd=directory, input=listed, stdout=out, check=True,
        )
    os.replace(out.name, target)  # two runs at once each see a whole file


def _build(name, module_tree, module_names):
    """An uncompressed image (a guest under emulation is slow at unpacking), kept by content."""
    init = INIT % {"modules": " ".join(module_names)}
    files = {"bin/busybox": _only("busybox/bin/busybox")}
    for module in _modules(module_tree, module_names):
        files[f"modules/{module.name}"] = module
    for tool in TOOLS:
        program = shutil.which(tool, path="/usr/bin:/usr/sbin:/bin:/sbin")
        for path in (program, *_libraries(program)):
            files[path.lstrip("/")] = pathlib.Path(path)

    state = "\n".join(f"{k} {v} {v.stat().st_mtime_ns}" for k, v in sorted(files.items()))
    digest = hashlib.sha256((init + state).encode()).hexdigest()[:16]
    image = paths.GUESTS / f"{name}-{digest}.cpio"
    if image.exists():
        return image

    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        for inside, source in files.items():
            target = root / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        (root / "init").write_text(init)
        (root / "init").chmod(0o755)
        (root / "bin/sh").symlink_to("busybox")
        for stale in paths.GUESTS.glob(f"{name}-*.cpio"):
            stale.unlink()
        _pack(root, image)
    return image


@functools.lru_cache
def qemu_image():
    return _build("qemu", _only("linux/lib/modules/*"), QEMU_MODULES)


@functools.lru_cache
def uml_image():
    return _build("uml", _only("uml/usr/lib/uml/modules/*"), UML_MODULES)
