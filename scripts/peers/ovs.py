# SPDX-License-Identifier: BSD-3-Clause
"""Open vSwitch with DPDK: a database, a daemon and one bridge, in a directory of their own.

The bridge is in user space (datapath_type=netdev), but OVS makes a tap interface for it and one for
the datapath, which would stay behind. So the daemon lives in a network namespace that ends with it;
the sockets of its ports are files and are reached from everywhere.
"""

import json
import os
import pathlib
import re
import signal
import subprocess

from . import paths
from .wait import TimedOut, until

BRIDGE = "br0"
# Below what scripts/install-deps has unpacked, or else below the root.
_DIRECTORIES = ("usr/bin", "usr/sbin", "usr/lib/openvswitch-switch-dpdk", "usr/share/openvswitch")

_EAL = "--no-pci --no-shconf --no-telemetry"
# OVS adds --in-memory, which EAL refuses together with --no-huge - unless it finds --legacy-mem,
# which --no-huge stands for anyway.
_SMALL_PAGES = "--no-huge --legacy-mem"
_HUGE_PAGES = "--in-memory --single-file-segments"


def _find(name):
    """The path of a file of Open vSwitch."""
    for root in (paths.GUESTS / "ovs", pathlib.Path("/")):
        for directory in _DIRECTORIES:
            if (root / directory / name).exists():
                return str(root / directory / name)
    raise FileNotFoundError(f"{name} of Open vSwitch is missing: run scripts/install-deps test")


class OpenVswitch:
    """One running Open vSwitch whose bridge learns addresses, until wire() says otherwise.

    pmd_cpus: a thread on each of them polls ports. sleep_us: how long such a thread may sleep when
    there is little to do; 0 keeps it awake. memory_mb: at most, in small pages unless huge asks for
    2 MiB pages; a port takes up to 70 for its buffers, twice that while its queues change. tso: pass
    large frames on (userspace-tso-enable). postcopy: guests may come so (vhost-postcopy-support).
    """

    def __init__(self, pmd_cpus=(0,), sleep_us=0, memory_mb=512, huge=False, tso=False,
                 postcopy=False):
        self._scratch = paths.scratch("ovs-")
        self.directory = pathlib.Path(self._scratch.name)
        self.log_file = self.directory / "ovs-vswitchd.log"
        self._database = None
        self._daemon = None
        self._sockets = {}  # of ports, by name; their numbers are 1, 2, ... in this order
        mask = sum(1 << cpu for cpu in pmd_cpus)
        pages = _HUGE_PAGES if huge else _SMALL_PAGES
        try:
            self._start_database()
            # Before the daemon starts, which reads this only then.
            self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *(
                f"other_config:{key}={json.dumps(value)}" for key, value in {
                    "dpdk-init": "true",
                    "dpdk-extra": f"{_EAL} {pages} -m {memory_mb}",
                    # The pool that ports share is as large as fits, and once a port has a driver
                    # OVS wants a second one beside it.
                    "per-port-memory": "true",
                    "pmd-cpu-mask": f"{mask:#x}",
                    "pmd-maxsleep": str(sleep_us),
                    "userspace-tso-enable": "true" if tso else "false",
                    "vhost-postcopy-support": "true" if postcopy else "false",
                }.items()
            ))
            self._start_daemon()
            self.vsctl("add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Processes

    def _environment(self):
        directory = str(self.directory)
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "RUNTIME_DIRECTORY")
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **dict.fromkeys(names, directory)}

    def _spawn(self, name, *arguments, prefix=()):
        """A server of OVS; what it prints goes to its log."""
        log = self.directory / f"{name.removesuffix('-dpdk')}.log"
        with open(log, "ab") as output:
            return subprocess.Popen(
                [*prefix, _find(name), *arguments, f"--unixctl={self.directory}/{name}.ctl",
                 "-vPATTERN:console:%D{%H:%M:%S.###}|%c|%p|%m"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                cwd=self.directory,
                start_new_session=True,
            )

    def _run(self, name, *arguments, timeout=20):
        done = subprocess.run(
            [_find(name), *map(str, arguments)],
            capture_output=True,
            text=True,
            env=self._environment(),
            timeout=timeout,
        )
        if done.returncode:
            raise AssertionError(
                f"{name} {' '.join(map(str, arguments))}: {done.stderr.strip()}\n{self.log()}"
            )
        return done.stdout

    def _start_database(self):
        file, socket = self.directory / "conf.db", self.directory / "db.sock"
        self._run("ovsdb-tool", "create", file, _find("vswitch.ovsschema"))
        self._database = self._spawn("ovsdb-server", str(file), f"--remote=punix:{socket}")
        until(lambda: self._alive(self._database) and socket.exists(), "ovsdb-server listens")

    def _start_daemon(self):
        namespace = ["unshare", "--net"]
        if os.geteuid() != 0:
            namespace += ["--user", "--map-root-user"]
        self._daemon = self._spawn(
            "ovs-vswitchd-dpdk", f"unix:{self.directory}/db.sock", prefix=namespace
        )

        def initialised():
            self._alive(self._daemon)
            return "true" in self.vsctl("--no-wait", "get", "Open_vSwitch", ".", "dpdk_initialized")

        until(initialised, "DPDK in ovs-vswitchd", timeout=20)

    def _alive(self, process):
        if process.poll() is not None:
            raise AssertionError(f"Open vSwitch ended with {process.returncode}:\n{self.log()}")
        return True

    def log(self, lines=40):
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    # Control

    def vsctl(self, *arguments):
        """Runs ovs-vsctl, which waits until the daemon has done what it is told."""
        return self._run("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=15",
                         *arguments)

    def appctl(self, *arguments):
        return self._run("ovs-appctl", "--timeout=15",
                         f"--target={self.directory}/ovs-vswitchd-dpdk.ctl", *arguments)

    def ofctl(self, command, *arguments):
        # Before OpenFlow 1.4 there are no counters of single queues.
        return self._run("ovs-ofctl", "--protocols=OpenFlow14", "--timeout=15", command,
                         f"unix:{self.directory}/{BRIDGE}.mgmt", *arguments)

    def path(self, name):
        """A path in the directory of this Open vSwitch, for sockets of ports."""
        return str(self.directory / name)

    def add_vhost(self, name, connect=None, **settings):
        """A port that listens (dpdkvhostuser), or connects to a socket again and again
        (dpdkvhostuserclient). Returns the socket's path. settings: columns of the interface."""
        if connect:
            settings |= {"type": "dpdkvhostuserclient", "options:vhost-server-path": connect}
        else:
            settings |= {"type": "dpdkvhostuser"}
        self._sockets[name] = connect or self.path(name)
        self.vsctl("add-port", BRIDGE, name, "--", "set", "Interface", name,
                   f"ofport_request={self._number(name)}",
                   *(f"{key}={json.dumps(value)}" for key, value in settings.items()))
        return self._sockets[name]

    def add_veth(self, name, peer, namespace):
        """A port on one end of a new veth pair; the other one is `peer` in a network namespace."""
        self._run_ip("link", "add", "name", name, "type", "veth", "peer", "name", peer, "netns",
                     namespace)
        self._run_ip("link", "set", "dev", name, "up")
        self.vsctl("add-port", BRIDGE, name)

    def _run_ip(self, *arguments):
        """ip in the namespace of the daemon."""
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self._daemon.pid}/ns/net", "ip", *arguments],
            check=True, capture_output=True, text=True, timeout=10)

    def _number(self, name):
        return list(self._sockets).index(name) + 1

    def wire(self, *pairs):
        """Frames go from the first port of each pair to the second one, without a look at them."""
        self.ofctl("del-flows")
        for source, sink in pairs:
            self.ofctl("add-flow",
                       f"in_port={self._number(source)},actions={self._number(sink)}")

    def wait_up(self, *names, queues=1, timeout=10):
        """Waits until so many queue pairs of each port are polled and sent to.

        OVS takes up to half a second for it; a frame for the port that comes earlier is lost.
        Only the log tells: pmd-rxq-show calls a queue enabled even when nobody has connected.
        """
        for name in names:
            try:
                until(lambda port=name: self._is_up(port, queues), f"port {name} up", timeout)
            except TimedOut as failed:
                raise TimedOut(f"{failed}; Open vSwitch says:\n{self.log()}") from None

    def _is_up(self, name, queues):
        path = self._sockets[name]
        since = self.log(None).rpartition(f"'{path}' connection has been destroyed")[2]
        enabled = set(re.findall(rf"State of queue (\d+) .* '{path}' changed to 'enabled'", since))
        shown = self.appctl("dpif-netdev/pmd-rxq-show")
        polled = re.findall(rf"port: {name} +queue-id: +\d+ \(enabled\)", shown)
        return len(enabled) == 2 * queues and len(polled) == queues

    def counters(self, name):
        """Counters of a port's queues, such as rx_q0_good_packets, while it has a driver.

        OVS 3.1 has them only of ports where it connects.
        """
        text = self.ofctl("dump-ports", name)
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}

    def macs(self):
        """What the bridge has learned: number of the port by address."""
        rows = re.findall(r"^ *(\d+) +\d+ +([0-9a-f:]{17})", self.appctl("fdb/show", BRIDGE), re.M)
        return {mac: int(port) for port, mac in rows}

    # End

    def kill(self):
        """The daemon dies without a goodbye."""
        self._daemon.kill()
        self._daemon.wait()

    def restart(self):
        """Killed, and started again; ports and settings are in the database."""
        self.kill()
        self._start_daemon()

    def close(self):
        try:
            for process in filter(None, (self._daemon, self._database)):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        finally:
            self._scratch.cleanup()
