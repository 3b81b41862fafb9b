# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd, as a container application (virtio-user), as a vhost-user back end, or on memif."""

import re
import shutil

from . import paths
from .console import Console

_EAL = ["-n", "1", "--no-pci", "--no-shconf", "--no-telemetry"]
# Memory that can be shared without files: a memfd of small pages, or of 2 MiB pages.
_SMALL_PAGES = ["--no-huge"]
_HUGE_PAGES = ["--in-memory", "--single-file-segments"]


def virtio_user(path, mac, queues=1, queue_size=256, number=0, **options):
    """A virtio-user device. Options: packed_vq, in_order, mrg_rxbuf, vectorized, server (0/1)."""
    words = [f"net_virtio_user{number}", f"mac={mac}", f"path={path}", f"queues={queues}",
             f"queue_size={queue_size}"]
    return ",".join(words + [f"{key}={int(value)}" for key, value in options.items()])


def vhost(path, queues=1, client=False, number=0):
    """A vhost-user back end: the peer that a switch is compared with."""
    return f"net_vhost{number},iface={path},queues={queues},client={int(client)}"


def memif(path, role, zero_copy=False, log2_slots=10, slot_bytes=2048):
    """One end of a memif: role is "server" (makes the socket) or "client" (brings the memory)."""
    words = [f"net_memif0,role={role}", "id=0", f"socket={path}", "socket-abstract=no",
             f"rsize={log2_slots}", f"bsize={slot_bytes}"]
    return ",".join(words + ["zero-copy=yes"] * zero_copy)


def af_packet(interface, number=0):
    """A network interface of the kernel's, by a ring shared with a socket."""
    return (f"net_af_packet{number},iface={interface},blocksz=4096,framesz=2048,framecnt=1024")


def dropped_in(text):
    """Frames that a port did not take, in statistics as stop() returns them, too."""
    ports = text.partition("Accumulated")[0]
    return sum(int(count) for count in re.findall(r"TX-dropped: (\d+)", ports))


class Testpmd:
    """One testpmd. Its memory is a memfd: no huge pages are needed, unless huge asks for them.

    devices: one or several, as made by the functions above. peers: for forward="mac", the address
    that frames leaving each device go to. namespace: to run in. eal, options: more arguments.
    """

    def __init__(self, *devices, cpus=(0, 1), mbuf_size=2176, mbufs=8192, queues=1,
                 forward="io", frame_size=1518, memory_mb=128, peers=(), huge=False,
                 namespace=None, eal=(), options=()):
        self._scratch = paths.scratch("testpmd-")
        main_cpu, worker_cpu = cpus
        arguments = [
            *(["ip", "netns", "exec", str(namespace)] if namespace else []), "stdbuf", "-oL", shutil.which("dpdk-testpmd") or "dpdk-testpmd",
            "-l", f"{main_cpu},{worker_cpu}", f"--main-lcore={main_cpu}", *_EAL,
            *(_HUGE_PAGES if huge else _SMALL_PAGES), *eal,
            f"--file-prefix={self._scratch.name.rsplit('-', 1)[1]}",
            "-m", str(memory_mb), *(f"--vdev={device}" for device in devices), "--",
            "--interactive", "--nb-cores=1", f"--rxq={queues}", f"--txq={queues}",
            f"--total-num-mbufs={mbufs}", f"--mbuf-size={mbuf_size}",
            f"--forward-mode={forward}", f"--max-pkt-len={frame_size}",
        ]
        arguments += [f"--eth-peer={port},{mac}" for port, mac in enumerate(peers)]
        arguments += options
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
        printed = self.console.transcript[before:]
        if "Bad arguments" in printed or "Command not found" in printed:
            raise AssertionError(f"{self.console.name} does not understand {line!r}")
        return printed

    def start(self, first_bursts=0):
        return self.command(f"start tx_first {first_bursts}" if first_bursts else "start")

    def stop(self):
        return self.command("stop")

    def counters(self, port=0):
        """A port's RX-packets, TX-packets, Rx-pps ... as numbers; rates since the last look."""
        text = self.command(f"show port stats {port}")
        return {key: int(value) for key, value in re.findall(r"([RT][Xx]-\w+):\s+(\d+)", text)}

    def record_cycles(self):
        """Counts the forwarding core's cycles from now on, for fwd_cycles()."""
        self.command("set record-core-cycles on")

    def clear_fwd(self):
        self.command("clear fwd stats all")

    def fwd_cycles(self):
        """Cycles a frame since clear_fwd(), of rounds that moved frames; None without frames."""
        text = self.command("show fwd stats all")
        found = re.search(r"CPU cycles/packet=([\d.]+)", text)
        return float(found[1]) if found else None

    def fwd_dropped(self):
        """Frames that a port did not take since clear_fwd(), or since forwarding started."""
        return dropped_in(self.command("show fwd stats all"))

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
