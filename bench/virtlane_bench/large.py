# SPDX-License-Identifier: BSD-3-Clause
"""Frames of 64 KiB through the switch, as part of what one core copies with memcpy().

With mergeable buffers, as a stock guest has; they go round between two ports. memcpy() copies from
and to as many buffers as are in use then (bench/copy).
"""

import subprocess

from peers import paths

from . import compare, figures, machine, report
from .machine import BACK_END_CPU
from .switch_ends import IN_FLIGHT_LARGE, Virtlaned, run_pktgen

_BYTES = 65535
_QUEUE_SIZE = 256


def _memcpy():
    done = subprocess.run(
        [paths.program("bench/copy"), str(BACK_END_CPU), str(_BYTES), str(2 * _QUEUE_SIZE)],
        capture_output=True, text=True, check=True, timeout=30)
    return float(done.stdout)


def _switched(seconds):
    with Virtlaned() as forwarder:
        more = ["--tso", 1448, "--queue-size", _QUEUE_SIZE]
        result, _ = run_pktgen(forwarder, "stock", "round", _BYTES, seconds, more)
        forwarder.check_law()
        return result["rx_frames_per_second"] * _BYTES / 1e9


def run(arguments, _huge):
    machine.require_two_cpus()
    ours, limit = [], []
    for _ in range(arguments.rounds):
        ours.append(machine.calmly(lambda: _switched(arguments.seconds or 0.7))[0])
        limit.append(machine.calmly(_memcpy)[0])
    entry = figures.entry("large", "64 KiB TSO frames", "virtlaned, stock", "GB/s", ours,
                          ring="stock", size="tso", peer="memcpy(), one core", theirs=limit)
    print(f"\n{entry['case']}, {IN_FLIGHT_LARGE} in flight a port: {entry['ours']:.1f} GB/s;"
          f" memcpy() {entry['theirs']:.1f} GB/s; ratio {entry['ratio']:.2f}"
          f" (spread {entry['spread']:.0%})")
    report.save("large", [entry])
    return [entry]
