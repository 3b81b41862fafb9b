# SPDX-License-Identifier: BSD-3-Clause
"""The two ends of a loopback: an application that passes frames on, a back end that sends them back.

Both kinds of end are context managers. A back end has a `path` to connect to, mark() where
measuring begins, and read(), which returns (cycles a frame, frames lost). A front end has
begin(size), mark(), and read(), which returns (frames a second, cycles a frame, frames lost, page
size), and end().
"""

import json
import select
import signal
import subprocess
import time

from peers import paths, pktgen, testpmd
from peers.wait import until

from . import loopback_modes
from .machine import APPLICATION_CPU, BACK_END_CPU

MAC = "52:54:00:00:02:01"
_SETTLE_SECONDS = 0.02  # for frames on their way when testpmd has stopped
_MBUFS = 4096  # fill two rings of 1024; more would only be spread over more of the caches
_MBUF_HEADROOM = 128


class OurDevice:
    """bench/loopback: libvirtlane's device."""

    name = "virtlane device"

    def __init__(self, settings, mergeable):
        self._scratch = paths.scratch()
        self.path = f"{self._scratch.name}/port.sock"

    def __enter__(self):
        self._process = subprocess.Popen(
            [paths.program("bench/loopback"), "--cpu", str(BACK_END_CPU), self.path],
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: _listens(self.path), "bench/loopback listens")
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._scratch.cleanup()

    def _report(self):
        self._process.send_signal(signal.SIGUSR1)
        if not select.select([self._process.stdout], [], [], 5)[0]:
            raise AssertionError("bench/loopback does not answer")
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("bench/loopback has ended")
        return json.loads(line)

    def mark(self):
        self._report()

    def read(self):
        counts = self._report()
        return counts["busy_cycles"] / max(counts["frames"], 1), counts["lost"]


class _TestpmdEnd:
    """What front ends and back ends of testpmd have in common: one port, frames passed on."""

    def __init__(self, settings, mergeable, role_cpu, other_cpu):
        self.settings = settings
        self.buffer_bytes = loopback_modes.buffer_bytes(mergeable)
        self._options = {
            "cpus": (other_cpu, role_cpu),  # its main thread only reads commands
            "mbufs": _MBUFS,
            "mbuf_size": _MBUF_HEADROOM + self.buffer_bytes,
            "memory_mb": 24 + (self.buffer_bytes + 512) * _MBUFS // 1000000,
            "huge": settings.huge,
            "eal": ["--force-max-simd-bitwidth=512"],
            "options": [f"--burst={settings.burst}", "--port-topology=loop",
                        "--disable-link-check"],
        }
        self.peer = None

    def open(self, device):
        self.peer = testpmd.Testpmd(device, **self._options)
        self.peer.record_cycles()

    def __exit__(self, *_):
        if self.peer:
            self.peer.close()

    def dropped(self):
        """Since forwarding started, or since statistics were cleared."""
        return self.peer.fwd_dropped()


class _TestpmdBackEnd(_TestpmdEnd):
    def __init__(self, settings, mergeable):
        super().__init__(settings, mergeable, BACK_END_CPU, APPLICATION_CPU)
        self._scratch = paths.scratch()
        self.path = f"{self._scratch.name}/port.sock"

    def __enter__(self):
        self.open(self.device())
        self.peer.start()
        return self

    def __exit__(self, *_):
        super().__exit__()
        self._scratch.cleanup()

    def mark(self):
        self.peer.clear_fwd()

    def read(self):
        return self.peer.fwd_cycles(), self.dropped()


class NetVhost(_TestpmdBackEnd):
    name = "DPDK net_vhost"

    def device(self):
        return testpmd.vhost(self.path)


class MemifServer(_TestpmdBackEnd):
    name = "DPDK memif server"

    def device(self):
        return testpmd.memif(self.path, "server")


class _TestpmdFrontEnd(_TestpmdEnd):
    def __init__(self, settings, mergeable):
        super().__init__(settings, mergeable, APPLICATION_CPU, BACK_END_CPU)
        self.size = None
        self._lost = 0  # frames, of those that are to go round

    def begin(self, size):
        """Replaces the frames of the last size by frames of this one."""
        frames = self.settings.in_flight_of(size)
        self.size = size
        self._lost = 0
        if size == "imix":
            self._inject_mixed(frames)
        else:
            burst = min(self.settings.burst, frames)
            self._inject(size, burst, frames // burst)
        self.peer.command(f"set burst {self.settings.burst}")

    def _inject(self, size, burst, count):
        """Sends some bursts and begins to pass frames on."""
        self.peer.command(f"set txpkts {','.join(map(str, loopback_modes.pieces(size)))}")
        self.peer.command(f"set burst {burst}")
        self.peer.start(first_bursts=count)

    def _inject_mixed(self, frames):
        """Part by part, with all that went before kept in the loop: testpmd sends one size at a
        time. (Cutting frames to random sizes from many pieces would be simpler, but chains of many
        descriptors stall virtio-user of DPDK 22.11 on packed rings without IN_ORDER.)"""
        group = [(size, 2 * count) for size, count in loopback_modes.IMIX]
        for number in range(frames // sum(count for _, count in group)):
            for size, count in group:
                self._inject(size, count, 1)
                if number == 0:
                    self.peer.command("set flush_rx off")
                self._lost += testpmd.dropped_in(self.peer.stop())
        self.peer.start()
        self.peer.command("set flush_rx on")

    def mark(self):
        self._lost += self.dropped()
        self.peer.clear_fwd()
        self.peer.counters()

    def read(self):
        counters = self.peer.counters()
        rate = counters["Rx-pps"]
        _check(self.name, self.size, rate, counters["Rx-bps"] / 8 / max(rate, 1))
        page = (2 << 20) if self.settings.huge else 4096
        return rate, self.peer.fwd_cycles(), self._lost + self.dropped(), page

    def end(self):
        self.peer.stop()
        time.sleep(_SETTLE_SECONDS)


class VirtioUser(_TestpmdFrontEnd):
    name = "DPDK virtio-user"

    def __init__(self, settings, mergeable, path, mode):
        super().__init__(settings, mergeable)
        self._device = testpmd.virtio_user(
            path, MAC, queue_size=settings.queue_size, **mode.device_options(mergeable)
        )

    def __enter__(self):
        self.open(self._device)
        return self


class MemifClient(_TestpmdFrontEnd):
    name = "DPDK memif client"

    def __init__(self, settings, mergeable, path, zero_copy):
        super().__init__(settings, mergeable)
        slots = settings.queue_size.bit_length() - 1
        self._device = testpmd.memif(path, "client", zero_copy, slots, self.buffer_bytes)
        if zero_copy and not settings.huge:
            self._options["eal"] = [*self._options["eal"], "--single-file-segments"]

    def __enter__(self):
        self.open(self._device)
        until(lambda: "Link status: up" in self.peer.command("show port info 0"), "memif is up")
        return self


class OurDriver:
    """virtlane-pktgen: libvirtlane's driver. A new process, and a new session, each size."""

    name = "virtlane driver"

    def __init__(self, settings, mergeable, path, mode):
        self.settings = settings
        self._path, self._mode = path, mode
        self.size = None
        self._running = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def begin(self, size):
        self.size = size
        large = []
        if size == "tso":
            large = ["--tso", loopback_modes.TSO_SEGMENT, "--mergeable",
                     "--buffer-size", loopback_modes.buffer_bytes(True)]
        self._running = pktgen.Pktgen(
            "--mode", "reflect", "--in-flight", self.settings.in_flight_of(size),
            "--size", loopback_modes.TSO_BYTES if size == "tso" else size, *large,
            "--cpus", APPLICATION_CPU, "--queue-size", self.settings.queue_size,
            "--warmup", self.settings.warm_up, "--time", self.settings.seconds,
            *self._mode.pktgen_options(), self._path,
        )

    def mark(self):
        pass  # it warms up, and starts to count, by itself

    def read(self):
        rate, cycles, lost, page_size, frame_bytes = pktgen.reflected(self._running.report())
        _check(self.name, self.size, rate, frame_bytes)
        return rate, cycles, lost, page_size

    def end(self):
        if self._running:
            self._running.close()
            self._running = None


def _listens(path):
    with open("/proc/net/unix") as sockets:
        return any(line.rstrip().endswith(path) for line in sockets)


def _check(name, size, rate, frame_bytes):
    """That what goes round is what should: a refused command would go unnoticed otherwise."""
    wanted = loopback_modes.frame_bytes(size)
    if rate == 0:
        raise AssertionError(f"{name}: no frame comes back")
    if not 0.9 * wanted < frame_bytes < 1.1 * wanted:
        raise AssertionError(f"{name}: frames of {frame_bytes:.0f} bytes, not of {wanted:.0f}")
