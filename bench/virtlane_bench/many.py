# SPDX-License-Identifier: BSD-3-Clause
"""What many idle ports, and many addresses, cost an active pair of ports (64 bytes, split rings).

Idle ports are connected drivers that send nothing (bench/hold). Addresses: each port has so many,
and each frame goes from another to another.
"""

import resource
import subprocess

from peers import paths

from . import compare, figures, machine, plot, report
from .switch_ends import Virtlaned, run_pktgen

PORTS = (0, 1, 10, 100, 1000)
MACS = (1, 1000, 64000, 1000000)


class _Idle:
    """So many connected ports without traffic."""

    def __init__(self, sockets):
        self._process = None
        if sockets:
            self._process = subprocess.Popen(
                [paths.program("bench/hold"), *sockets], stdout=subprocess.PIPE, text=True)
            if self._process.stdout.readline() != "ready\n":
                raise AssertionError("bench/hold cannot connect")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


def _beside_idle(count, poll, seconds):
    with Virtlaned(poll=poll) as forwarder:
        with _Idle(forwarder.add_idle(count)):
            result, _ = run_pktgen(forwarder, "split", "round", 64, seconds)
            forwarder.check_law()
            return result["rx_frames_per_second"] / 1e6


def _with_macs(count, seconds):
    settings = "mac-table-size = 4194304\n"
    with Virtlaned(poll="always", settings=settings) as forwarder:
        more = ["--macs", count] if count > 1 else []
        _, cycles = run_pktgen(forwarder, "split", "many", 64, seconds, more)
        forwarder.check_law()
        return cycles


def run(arguments, _huge):
    machine.require_two_cpus()
    seconds = arguments.seconds or 0.7
    # bench/hold and virtlaned have a few descriptors for each port.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rates, cycles = {}, {}
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        for count in PORTS if number % 2 == 0 else PORTS[::-1]:
            for poll in ("adaptive", "always"):
                rates.setdefault((poll, count), []).append(
                    machine.calmly(lambda: _beside_idle(count, poll, seconds))[0])
        for count in MACS if number % 2 == 0 else MACS[::-1]:
            cycles.setdefault(count, []).append(
                machine.calmly(lambda: _with_macs(count, seconds))[0])
    entries = []
    print("\nAn active pair beside idle ports, Mframes/s:")
    report.table(["", *map(str, PORTS)], [
        [f"poll = {poll}", *(f"{compare.median(rates[poll, count]):.2f}" for count in PORTS)]
        for poll in ("adaptive", "always")])
    print("\nCycles of the switch's core for a frame, by addresses of each port:")
    report.table(["", *map(str, MACS)], [
        ["virtlaned", *(f"{compare.median(cycles[count]):.0f}" for count in MACS)]])
    for poll in ("adaptive", "always"):
        entries += [
            figures.entry("many", f"beside {count} idle ports", f"virtlaned, poll = {poll}",
                          "Mframes/s", rates[poll, count], peer="no idle ports",
                          theirs=rates[poll, 0])
            for count in PORTS]
    entries += [figures.entry("many", f"{count} addresses a port", "virtlaned", "cycles a frame",
                              cycles[count]) for count in MACS]
    report.save("many", entries)
    plot.bars("many", "An active pair beside idle ports", "Mframes/s", list(map(str, PORTS)), [
        (f"poll = {poll}", [
            (compare.median(values), *compare.middle_half(values))
            for count in PORTS for values in [rates[poll, count]]])
        for poll in ("adaptive", "always")])
    return entries
