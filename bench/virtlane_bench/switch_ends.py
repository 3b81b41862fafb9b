# SPDX-License-Identifier: BSD-3-Clause
"""What forwards frames between two vhost ports, and the clients that have both ports.

A subject is a context manager. It has `sockets`, of its two ports; connected(), to be called when a
client is there; mark(), where measuring begins, and cycles(), a frame on its core since then; and
check_law(), which raises if its counters do not add up. A client is a generator of (size, measure),
where measure() gives frames a second, cycles a frame of its own, and cycles of the subject.
"""

import re
import time

from peers import netns, ovs, paths, pktgen, testpmd, virtlane

from .machine import APPLICATION_CPU, BACK_END_CPU

MACS = ("52:54:00:00:02:01", "52:54:00:00:02:02")
NAMES = ("a", "b")
IN_FLIGHT = 512  # frames that each port sends at first; they go round
IN_FLIGHT_LARGE = 32  # the same of frames of 64 KiB
QUEUE_SIZE = 1024
_BURST = 32  # of testpmd
_WARM_UP_SECONDS = 0.3
_CONNECT_SECONDS = 0.15  # pktgen's, at most, when everybody is awake
_SETTLE_SECONDS = 0.05


# Subjects


class Virtlaned:
    name = "virtlaned, MAC lookup"
    delay = 0  # seconds that pktgen is to wait for it, once connected
    offloads = ["--offload", "csum,tso4,tso6"]  # that it offers, which a stock guest takes

    def __init__(self, huge=False, poll="always", settings=""):
        config = f"[switch]\nworkers = {BACK_END_CPU}\npoll = {poll}\n{settings}"
        self._daemon = virtlane.Switch(config=config)
        self.sockets = [self._daemon.add_vhost(name) for name in NAMES]
        self._begin = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._daemon.close()

    def connected(self):
        pass

    def add_idle(self, count):
        """More ports: their sockets."""
        return [self._daemon.add_vhost(f"idle{number}") for number in range(count)]

    def check_law(self):
        self._daemon.check_law()

    def _counts(self):
        (worker,) = self._daemon.call("worker.list")
        return worker["busy_cycles"], worker["rx_frames"]

    def mark(self):
        self._begin = self._counts()

    def cycles(self):
        cycles, frames = (now - then for now, then in zip(self._counts(), self._begin))
        return cycles / max(frames, 1)


class _Foreign:
    """What is not ours to check."""

    def check_law(self):
        pass


class TestpmdIo(_Foreign):
    """Blind: what comes in at one port goes out at the other."""

    name = "DPDK testpmd, net_vhost, io"
    forward = "io"
    delay = 0
    offloads = ["--offload", "csum"]

    def __init__(self, huge):
        self._scratch = paths.scratch()
        self.sockets = [f"{self._scratch.name}/{name}.sock" for name in NAMES]
        devices = [testpmd.vhost(path, number=number) for number, path in enumerate(self.sockets)]
        self._peer = testpmd.Testpmd(
            *devices, cpus=(APPLICATION_CPU, BACK_END_CPU), mbufs=16384, huge=huge,
            forward=self.forward, peers=MACS, options=["--no-lsc-interrupt"],
        )
        self._peer.record_cycles()
        self._peer.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._peer.close()
        self._scratch.cleanup()

    def connected(self):
        pass

    def mark(self):
        self._peer.clear_fwd()

    def cycles(self):
        return self._peer.fwd_cycles()


class TestpmdMac(TestpmdIo):
    """The same, and each frame gets new addresses."""

    name = "DPDK testpmd, net_vhost, mac"
    forward = "mac"


class OvsNormal(_Foreign):
    name = "Open vSwitch with DPDK, NORMAL"
    wired = False
    delay = 1.5  # it forwards nothing until some time after a port is up
    offloads = []

    def __init__(self, huge):
        self._daemon = ovs.OpenVswitch(pmd_cpus=(BACK_END_CPU,), huge=huge, memory_mb=300)
        # It knows 2,048 addresses by default, and floods what goes to others.
        self._daemon.vsctl("set", "Bridge", ovs.BRIDGE, "other_config:mac-table-size=65536")
        self.sockets = [self._daemon.add_vhost(name) for name in NAMES]
        if self.wired:
            self._daemon.wire(NAMES, NAMES[::-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._daemon.close()

    def connected(self):
        self._daemon.wait_up(*NAMES)

    def mark(self):
        self._daemon.appctl("dpif-netdev/pmd-stats-clear")

    def cycles(self):
        text = self._daemon.appctl("dpif-netdev/pmd-stats-show")
        found = re.search(r"avg processing cycles per packet: ([\d.]+)", text)
        return float(found[1]) if found else None


class OvsFlows(OvsNormal):
    name = "Open vSwitch with DPDK, port to port"
    wired = True


class KernelBridge(_Foreign):
    """Linux's bridge between two veth pairs, whose other ends are the client's.

    It has no core of its own: receive packet steering brings its work to the back end's.
    """

    name = "Linux bridge, veth"

    def __init__(self, _huge):
        self.namespace = netns.Namespace("bridge")
        try:
            self._build()
        except BaseException:
            self.namespace.close()
            raise

    def _build(self):
        steering = f"echo {1 << BACK_END_CPU:x} > /sys/class/net/{{}}-up/queues/rx-0/rps_cpus"
        self.namespace.run(" && ".join([
            "ip link add name br type bridge && ip link set dev br mtu 1600 up",
            *(f"ip link add name {name} mtu 1600 address {mac} type veth peer name {name}-up mtu 1600"
              f" && ip link set dev {name}-up master br up && ip link set dev {name} up"
              f" && {steering.format(name)}" for name, mac in zip(NAMES, MACS)),
        ]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.namespace.close()

    def devices(self, _ring):
        return [testpmd.af_packet(name, number) for number, name in enumerate(NAMES)]

    def connected(self):
        pass

    def mark(self):
        pass

    def cycles(self):
        return None  # nobody counts them


# Clients

# By kind of ring: pktgen's options, and those of a virtio-user device. "stock" is what a guest with
# Linux negotiates: split rings, mergeable buffers, EVENT_IDX, offloads, no IN_ORDER. (virtio-user
# has neither EVENT_IDX nor, in testpmd, offloads.)
LAYOUTS = {
    "split": (["--ring", "split"], {"packed_vq": 0, "in_order": 0, "mrg_rxbuf": 0}),
    "packed": (["--ring", "packed-in-order"], {"packed_vq": 1, "in_order": 1, "mrg_rxbuf": 0}),
    "stock": (["--ring", "split", "--mergeable"],
              {"packed_vq": 0, "in_order": 0, "mrg_rxbuf": 1}),
}
# What goes from port to port when our driver is the client: both directions of frames that come
# back for ever; or new frames, one way, or from and to so many addresses.
LOADS = {
    "round": ["--mode", "reflect", "--reflect", "swap"],
    "one way": ["--max-loss", 100],
    "many": ["--both-ways", "--max-loss", 100],
    "10,000 MACs": ["--both-ways", "--macs", 10000, "--max-loss", 100],
}


def run_pktgen(subject, ring, load, size, seconds, more=()):
    """A run of virtlane-pktgen on both ports: its report, and the subject's cycles a frame."""
    options = [*LOADS[load], "--size", size, *LAYOUTS[ring][0]]
    if ring == "stock":
        options += subject.offloads
    if load == "round":
        large = isinstance(size, int) and size > 9000
        options += ["--in-flight", IN_FLIGHT_LARGE if large else IN_FLIGHT]
    with pktgen.Pktgen(
        *options, "--queue-size", QUEUE_SIZE, "--cpus", APPLICATION_CPU, "--delay", subject.delay,
        "--warmup", _WARM_UP_SECONDS, "--time", seconds, *more, *subject.sockets,
    ) as client:
        subject.connected()
        time.sleep(_CONNECT_SECONDS + subject.delay + _WARM_UP_SECONDS)
        subject.mark()
        time.sleep(max(seconds - 2 * _CONNECT_SECONDS, 0.1))
        cycles = subject.cycles()
        return client.report(), cycles


def measure_latency(subject, rate, seconds):
    """Percentiles of the way from the first port to the second, in nanoseconds, by name."""
    with pktgen.Pktgen(
        "--latency", "--rate", f"{rate:.0f}", "--max-loss", 100, "--ring", "split",
        "--queue-size", QUEUE_SIZE, "--cpus", APPLICATION_CPU, "--delay", subject.delay,
        "--warmup", _WARM_UP_SECONDS, "--time", seconds, *subject.sockets,
    ) as client:
        return client.report()["directions"][0]["latency_ns"]


def pktgen_figures(subject, ring, load, size, seconds):
    report, cycles = run_pktgen(subject, ring, load, size, seconds)
    return report["rx_frames_per_second"], report["cycles_per_frame"], cycles


def _from_pktgen(subject, ring, sizes, seconds, _huge):
    for size in sizes:
        yield size, lambda: pktgen_figures(subject, ring, "round", size, seconds)


def _devices(subject, ring):
    if hasattr(subject, "devices"):
        return subject.devices(ring)
    return [
        testpmd.virtio_user(path, mac, queue_size=QUEUE_SIZE, number=number, **LAYOUTS[ring][1])
        for number, (path, mac) in enumerate(zip(subject.sockets, MACS))
    ]


def _from_testpmd(subject, ring, sizes, seconds, huge):
    sizes = [size for size in sizes if isinstance(size, int) and size <= 1518]
    with testpmd.Testpmd(*_devices(subject, ring), cpus=(BACK_END_CPU, APPLICATION_CPU),
                         mbufs=16384, peers=MACS[::-1], huge=huge,
                         namespace=getattr(subject, "namespace", None)) as client:
        client.record_cycles()
        subject.connected()

        def measure(size):
            client.command(f"set txpkts {size}")
            client.start(first_bursts=IN_FLIGHT // _BURST)
            time.sleep(_WARM_UP_SECONDS)
            client.clear_fwd()
            subject.mark()
            _received(client)
            time.sleep(seconds)
            figures = _received(client), client.fwd_cycles(), subject.cycles()
            client.stop()
            time.sleep(_SETTLE_SECONDS)
            return figures

        for size in sizes:
            yield size, lambda: measure(size)


def _received(client):
    """Frames a second since the last look, both directions together."""
    return sum(client.counters(port)["Rx-pps"] for port in (0, 1))


CLIENTS = {"our driver": _from_pktgen, "virtio-user": _from_testpmd}
SUBJECTS = (Virtlaned, TestpmdIo, TestpmdMac, OvsNormal, OvsFlows)
