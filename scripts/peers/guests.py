# SPDX-License-Identifier: BSD-3-Clause
"""Stock Debian kernels as guests: in QEMU, and as a User Mode Linux process."""

import contextlib
import functools
import os
import signal
import subprocess

from . import initramfs, paths
from .console import Console
from .netns import CommandFailed
from .qmp import Qmp
from .wait import until


class Guest:
    """What both kinds share: a shell behind the console."""

    boot_timeout = 60

    def __init__(self, name, arguments, **popen):
        self.name = name
        self._id = 0
        self.console = Console(arguments, name, **popen)
        try:
            self._booted()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __str__(self):
        return self.name

    def _booted(self):
        state = self.console.expect("^@@(ready|failed .*)$", self.boot_timeout)[1]
        if state != "ready":
            raise AssertionError(f"{self.name}: module {state}{self.console.tail()}")

    def run(self, command, timeout=20, check=True):
        """Runs a shell command (one line) in the guest; returns what it printed."""
        self._id += 1
        begin = len(self.console.transcript)
        self.console.send(f"{self._id} {command}")
        status = int(self.console.expect(rf"^@@{self._id} (\d+)$", timeout)[1])
        output = self.console.transcript[begin:].rsplit("@@", 1)[0]
        if check and status:
            raise CommandFailed(self.name, command, status, output)
        return output

    def address(self, interface, address, mtu=None):
        """Gives an interface an address and brings it up."""
        if mtu:
            self.run(f"ip link set {interface} mtu {mtu}")
        self.run(f"ip addr add {address} dev {interface} && ip link set {interface} up")

    def mac(self, interface="eth0"):
        return self.run(f"cat /sys/class/net/{interface}/address").strip()

    def reboot(self):
        self.console.send("0 reboot -f")
        self._booted()

    def close(self):
        self.console.close(first=signal.SIGKILL)


@functools.lru_cache
def accelerator():
    """"kvm" where it can really run a guest, else "tcg"; a /dev/kvm may be there and not work."""
    probe = [
        "qemu-system-x86_64", "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "128",
        "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
        "-kernel", str(initramfs.linux_kernel()), "-append", "console=ttyS0 panic=-1",
    ]
    try:
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=15)
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if b"Unable to mount root" in done.stdout else "tcg"


class Nic:
    """A virtio-net device of a QEMU guest, on a vhost-user socket.

    server: QEMU listens (the switch connects). properties: further properties of the PCI
    device, such as packed=on.
    """

    def __init__(self, path, mac, server=False, queues=1, properties=""):
        self.path = path
        self.mac = mac
        self.server = server
        self.queues = queues
        self.properties = properties

    def arguments(self, index):
        mode = ",server=on" if self.server else ",reconnect-ms=200"
        device = f"virtio-net-pci,netdev=n{index},mac={self.mac}"
        netdev = f"vhost-user,id=n{index},chardev=c{index}"
        if self.queues > 1:
            # Two vectors a pair, and one each for the control queue and configuration changes.
            device += f",mq=on,vectors={2 * self.queues + 2}"
            netdev += f",queues={self.queues}"
        if self.properties:
            device += f",{self.properties}"
        return [
            "-chardev", f"socket,id=c{index},path={self.path}{mode}",
            "-netdev", netdev, "-device", device,
        ]


class Qemu(Guest):
    """A Debian cloud kernel under QEMU, software emulation where KVM does not work."""

    def __init__(self, *nics, name="qemu", memory_mb=256, cpus=1, reboots=False, cmdline="",
                 migrates=False, incoming=False, iommu=False):
        """migrates: to another, by migrate_to(). incoming: waits for that, and has not booted.

        iommu: there is one, and devices with iommu_platform=on,ats=on are behind it.
        """
        machine = accelerator()
        if iommu:
            cmdline += " intel_iommu=on iommu.passthrough=0 iommu.strict=1"
        arguments = [
            "qemu-system-x86_64", "-name", name,
            "-machine", f"q35,accel={machine}", "-cpu", "host" if machine == "kvm" else "max",
            "-smp", str(cpus), "-m", str(memory_mb),
            "-object", f"memory-backend-memfd,id=m,size={memory_mb}M,share=on",
            "-numa", "node,memdev=m",
            "-display", "none", "-monitor", "none", "-serial", "stdio", "-nodefaults",
            "-kernel", str(initramfs.linux_kernel()), "-initrd", str(initramfs.qemu_image()),
            "-append", f"console=ttyS0 quiet panic=-1 mitigations=off {cmdline}",
        ]
        if not reboots:
            arguments.append("-no-reboot")
        self._incoming = incoming
        self._scratch = paths.scratch("qemu-")
        self.scratch = self._scratch.name
        self._qmp_path = f"{self.scratch}/qmp"
        self._migration_path = f"{self.scratch}/migration"
        if migrates:
            arguments += ["-qmp", f"unix:{self._qmp_path},server=on,wait=off"]
        if incoming:
            arguments += ["-incoming", f"unix:{self._migration_path}"]
        if iommu:
            arguments += ["-device", "intel-iommu,device-iotlb=on"]
        for index, nic in enumerate(nics):
            arguments += nic.arguments(index)
        super().__init__(name, arguments)

    def _booted(self):
        if self._incoming:
            until(lambda: os.path.exists(self._migration_path), "QEMU that waits for a guest")
        else:
            super()._booted()

    def monitor(self):
        """Of one that migrates."""
        return Qmp(self._qmp_path)

    def migrate_to(self, other, postcopy=False):
        """What QEMU says of the migration."""
        with contextlib.closing(self.monitor()) as qmp:
            if postcopy:
                qmp.allow_postcopy()
                with contextlib.closing(other.monitor()) as there:
                    there.allow_postcopy()
            return qmp.migrate(other._migration_path, postcopy=postcopy)

    def close(self):
        super().close()
        self._scratch.cleanup()


class Uml(Guest):
    """A Debian kernel as a process; it connects to the switch's socket."""

    boot_timeout = 30

    def __init__(self, path, name="uml", memory_mb=128, cmdline=""):
        self._scratch = paths.scratch("uml-")
        arguments = [
            str(initramfs.uml_kernel()), f"mem={memory_mb}M", f"initrd={initramfs.uml_image()}",
            f"uml_dir={self._scratch.name}", f"umid={name}",
            f"virtio_uml.device={path}:1", "con=null", "con0=fd:0,fd:1", "quiet", "panic=-1",
            *cmdline.split(),
        ]
        super().__init__(name, arguments)

    def close(self):
        super().close()
        self._scratch.cleanup()
