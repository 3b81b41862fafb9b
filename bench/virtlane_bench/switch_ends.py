# SPDX-License-Identifier: BSD-3-Clause
"""What forwards frames between two vhost ports, and the clients that have both ports.

A subject is a context manager. It has `sockets`, of its two ports; connected(), to be called when a
client is there; mark(), where measuring begins, and cycles(), a frame on its core since then. A
client is a generator of (size, frames a second, cycles a frame of its own, cycles of the subject).
"""

import re
import time

from peers import ovs, paths, pktgen, testpmd, virtlane

from .machine import APPLICATION_CPU, BACK_END_CPU

MACS = ("52:54:00:00:02:01", "52:54:00:00:02:02")
NAMES = ("a", "b")
IN_FLIGHT = 512  # frames that each port sends at first; they go round
QUEUE_SIZE = 1024
_BURST = 32  # of testpmd
_WARM_UP_SECONDS = 0.3
_CONNECT_SECONDS = 0.15  # pktgen's, at most, when everybody is awake
_SETTLE_SECONDS = 0.05


# Subjects


class Virtlaned:
    name = "virtlaned, MAC lookup"

    def __init__(self, huge):
        config = f"[switch]\nworkers = {BACK_END_CPU}\npoll = always\n"
        self._daemon = virtlane.Switch(config=config)
        self.sockets = [self._daemon.add_vhost(name) for name in NAMES]
        self._begin = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._daemon.close()

    def connected(self):
        pass

    def _counts(self):
        (worker,) = self._daemon.call("worker.list")
        return worker["busy_cycles"], worker["rx_frames"]

    def mark(self):
        self._begin = self._counts()

    def cycles(self):
        cycles, frames = (now - then for now, then in zip(self._counts(), self._begin))
        return cycles / max(frames, 1)


class TestpmdIo:
    """Blind: what comes in at one port goes out at the other."""

    name = "DPDK testpmd, net_vhost, io"
    forward = "io"

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


class OvsNormal:
    name = "Open vSwitch with DPDK, NORMAL"
    wired = False

    def __init__(self, huge):
        self._daemon = ovs.OpenVswitch(pmd_cpus=(BACK_END_CPU,), huge=huge, memory_mb=300)
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


# Clients


def _from_pktgen(subject, ring, sizes, seconds, _huge):
    layout = {"split": "split", "packed": "packed-in-order"}[ring]
    for size in sizes:
        with pktgen.Pktgen(
            "--mode", "reflect", "--reflect", "swap", "--in-flight", IN_FLIGHT, "--size", size,
            "--ring", layout, "--queue-size", QUEUE_SIZE, "--cpus", APPLICATION_CPU,
            "--warmup", _WARM_UP_SECONDS, "--time", seconds, *subject.sockets,
        ) as client:
            time.sleep(_CONNECT_SECONDS + _WARM_UP_SECONDS)
            subject.mark()
            time.sleep(max(seconds - 2 * _CONNECT_SECONDS, 0.1))
            cycles = subject.cycles()
            report = client.report()
        yield size, report["rx_frames_per_second"], report["cycles_per_frame"], cycles


def _from_testpmd(subject, ring, sizes, seconds, huge):
    layout = {"packed_vq": int(ring == "packed"), "in_order": int(ring == "packed")}
    devices = [
        testpmd.virtio_user(path, mac, queue_size=QUEUE_SIZE, number=number, **layout)
        for number, (path, mac) in enumerate(zip(subject.sockets, MACS))
    ]
    with testpmd.Testpmd(*devices, cpus=(BACK_END_CPU, APPLICATION_CPU), mbufs=16384,
                         peers=MACS[::-1], huge=huge) as client:
        client.record_cycles()
        subject.connected()
        for size in sizes:
            client.command(f"set txpkts {size}")
            client.start(first_bursts=IN_FLIGHT // _BURST)
            time.sleep(_WARM_UP_SECONDS)
            client.clear_fwd()
            subject.mark()
            _received(client)
            time.sleep(seconds)
            rate = _received(client)
            cycles = subject.cycles()
            yield size, rate, client.fwd_cycles(), cycles
            client.stop()
            time.sleep(_SETTLE_SECONDS)


def _received(client):
    """Frames a second since the last look, both directions together."""
    return sum(client.counters(port)["Rx-pps"] for port in (0, 1))


CLIENTS = {"our driver": _from_pktgen, "virtio-user": _from_testpmd}
# Frames that go round have to arrive from the first on. Open vSwitch loses those that come before
# it has taken up a new connection, and our generator does not wait for that.
PAIRS = [
    (client, subject)
    for subject in (Virtlaned, TestpmdIo, TestpmdMac, OvsNormal, OvsFlows)
    for client in CLIENTS
    if client == "virtio-user" or not issubclass(subject, OvsNormal)
]
