# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd, as a container application (virtio-user) or as a vhost-user back end."""

import re
import shutil

from . import paths
from .console import Console

_EAL = ["-n", "1", "--no-pci", "--no-huge", "--no-shconf", "--no-telemetry"]


def virtio_user(path, mac, queues=1, queue_size=256, number=0, **options):
    """A virtio-user device. Options: packed_vq, in_order, mrg_rxbuf, vectorized, server (0/1)."""
    words = [f"net_virtio_user{number}", f"mac={mac}", f"path={path}", f"queues={queues}",
             f"queue_size={queue_size}"]
    return ",".join(words + [f"{key}={int(value)}" for key, value in options.items()])


def vhost(path, queues=1, client=False):
    """A vhost-user back end: the peer that a switch is compared with."""
    return f"net_vhost0,iface={path},queues={queues},client={int(client)}"


class Testpmd:
    """One testpmd. Its memory is a memfd: no huge pages are needed.

    devices: one or several, as made by the functions above. peers: for forward="mac", the address
    that frames leaving each device go to.
    """

    def __init__(self, *devices, cpus=(0, 1), mbuf_size=2176, mbufs=8192, queues=1,
                 forward="io", frame_size=1518, memory_mb=128, peers=()):
        self._scratch = paths.scratch("testpmd-")
        main_cpu, worker_cpu = cpus
        arguments = [
            "stdbuf", "-oL", shutil.which("dpdk-testpmd") or "dpdk-testpmd",
            "-l", f"{main_cpu},{worker_cpu}", f"--main-lcore={main_cpu}", *_EAL,
            f"--file-prefix={self._scratch.name.rsplit('-', 1)[1]}",
            "-m", str(memory_mb), *(f"--vdev={device}" for device in devices), "--",
            "--interactive", "--nb-cores=1", f"--rxq={queues}", f"--txq={queues}",
            f"--total-num-mbufs={mbufs}", f"--mbuf-size={mbuf_size}",
            f"--forward-mode={forward}", f"--max-pkt-len={frame_size}",
        ]
        arguments += [f"--eth-peer={port},{mac}" for port, mac in enumerate(peers)]
        if mbuf_size < frame_size:
            arguments += ["--enable-scatter", "--tx-offloads=0x8000"]  # multi-segment
        self.console = Console(arguments, f"testpmd ({' '.join(devices)})", env=self._environment())
        try:
            self.console.expect("^testpmd> ", timeout=30)
            if "Start ports failed" in self.console.transcript:
                raise AssertionError(f"{self.console.name}{self.console.tail()}")
        except BaseException:
            self.close()
            raise

    def _environment(self):
        # EAL keeps its run-time directory here; without this it stays below /var/run.
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "RUNTIME_DIRECTORY": self._scratch.name}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def command(self, line, timeout=10):
        """Sends a command and returns what it printed."""
        before = len(self.console.transcript)
        self.console.send(line)
        self.console.expect(r"^testpmd> ", timeout)
        return self.console.transcript[before:]

    def start(self, first_bursts=0):
        return self.command(f"start tx_first {first_bursts}" if first_bursts else "start")

    def stop(self):
        return self.command("stop")

    def counters(self, port=0):
        """A port's RX-packets, TX-packets, Rx-pps ... as numbers; rates since the last look."""
        text = self.command(f"show port stats {port}")
        return {key: int(value) for key, value in re.findall(r"([RT][Xx]-\w+):\s+(\d+)", text)}

    def close(self):
        try:
            if self.console.running():
                self.console.send("quit")
                self.console.expect("Bye", timeout=5)
        except (AssertionError, OSError):
            pass  # it is ended below all the same
        finally:
            self.console.close()
            self._scratch.cleanup()
