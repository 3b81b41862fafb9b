# SPDX-License-Identifier: BSD-3-Clause
"""Open vSwitch with DPDK: a database, a daemon and a bridge of its own, seen by nobody else."""

import os
import subprocess

from . import paths
from .wait import until

# Unpacked, not installed: the packages would start a service.
_UNPACKED = [paths.GUESTS / name for name in ("ovs-common", "ovs-switch", "ovs-dpdk")]
# Open vSwitch adds --in-memory by itself, which EAL does not take with --no-huge, except to this.
_SMALL_PAGES = "--no-huge --legacy-mem"
_HUGE_PAGES = "--in-memory --single-file-segments"


def _find(name):
    """A file of the packages, wherever it lies."""
    for root in _UNPACKED:
        for folder in ("usr/bin", "usr/sbin", "usr/lib/openvswitch-switch-dpdk",
                       "usr/share/openvswitch"):
            if (root / folder / name).exists():
                return str(root / folder / name)
    raise FileNotFoundError(f"{name} is missing; scripts/install-deps test unpacks Open vSwitch")


class Ovs:
    """A running Open vSwitch with a bridge of vhost-user ports.

    cpu: of the polling thread. normal: the bridge learns addresses; otherwise flows join the ports
    in pairs. Its mbufs are on small pages unless huge asks for others.
    """

    def __init__(self, cpu=0, normal=True, huge=False, memory_mb=512):
        self._normal = normal
        self._scratch = paths.scratch("ovs-")
        self._ports = []
        self._processes = []
        self.directory = self._scratch.name
        self._environment = os.environ | {
            f"OVS_{kind}DIR": self.directory for kind in ("RUN", "LOG", "DB", "SYSCONF", "PKGDATA")
        }
        try:
            self._start(cpu, huge, memory_mb)
        except BaseException:
            self.close()
            raise

    def _start(self, cpu, huge, memory_mb):
        self._run("ovsdb-tool", "create", f"{self.directory}/conf.db", _find("vswitch.ovsschema"))
        self._daemon("ovsdb-server", f"{self.directory}/conf.db", f"--remote=punix:{self._database}")
        until(lambda: os.path.exists(self._database), "Open vSwitch's database")
        pages = _HUGE_PAGES if huge else _SMALL_PAGES
        self.vsctl("--no-wait", "init")
        self.vsctl(
            "--no-wait", "set", "Open_vSwitch", ".",
            "other_config:dpdk-init=true",
            "other_config:per-port-memory=true",  # the shared pool is of 262144 mbufs
            f"other_config:dpdk-extra={pages} -m {memory_mb} --no-pci --no-shconf --no-telemetry",
            f"other_config:dpdk-lcore-mask={1 << cpu:#x}",
            f"other_config:pmd-cpu-mask={1 << cpu:#x}",
        )
        # The bridge has an interface in the kernel: not in the tests' own network.
        self._daemon("ovs-vswitchd-dpdk", f"unix:{self._database}", prefix=("unshare", "--net"))
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        if not self._normal:
            self._ofctl("del-flows", "br0")

    @property
    def _database(self):
        return f"{self.directory}/db.sock"

    def _run(self, name, *arguments, timeout=20):
        done = subprocess.run([_find(name), *arguments], env=self._environment, text=True,
                              capture_output=True, timeout=timeout)
        if done.returncode:
            raise AssertionError(f"{name} {' '.join(arguments)}: {done.stderr}{self.log()[-1500:]}")
        return done.stdout

    def _daemon(self, name, *arguments, prefix=()):
        log = f"--log-file={self.directory}/{name}.log"
        self._processes.append(subprocess.Popen(
            [*prefix, _find(name), *arguments, log, "-vconsole:off"], env=self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ))

    def vsctl(self, *arguments, timeout=20):
        """ovs-vsctl; it waits until the daemon has done what is asked."""
        return self._run("ovs-vsctl", f"--db=unix:{self._database}", f"--timeout={timeout}",
                         *arguments, timeout=timeout + 5)

    def _ofctl(self, *arguments):
        return self._run("ovs-ofctl", *arguments)

    def log(self):
        """What the daemon said so far."""
        try:
            with open(f"{self.directory}/ovs-vswitchd-dpdk.log", encoding="utf-8") as log:
                return log.read()
        except OSError:
            return ""

    def add_port(self, name, client=False):
        """A vhost-user port; returns the path of its socket. client: OVS connects to it."""
        path = f"{self.directory}/{name}"
        options = ["type=dpdkvhostuser"]
        if client:
            path += ".sock"
            options = ["type=dpdkvhostuserclient", f"options:vhost-server-path={path}"]
        self.vsctl("add-port", "br0", name, "--", "set", "Interface", name, *options)
        self._ports.append(name)
        if not self._normal and len(self._ports) % 2 == 0:
            one, other = self._ports[-2:]
            for source, destination in ((one, other), (other, one)):
                self._ofctl("add-flow", "br0", f"in_port={source},actions=output:{destination}")
        return path

    def kill(self):
        """The daemon dies, without a word to anybody."""
        self._processes[-1].kill()
        self._processes[-1].wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._scratch.cleanup()
