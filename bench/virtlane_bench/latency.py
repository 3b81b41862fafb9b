# SPDX-License-Identifier: BSD-3-Clause
"""How long a frame of 64 bytes takes from port to port, at some loads, and when the switch sleeps.

Our driver sends from one port and receives at the other, and compares its clock with the stamp in
the frame. The loads are parts of what testpmd forwards at most: the same frames a second for all.
The last lines are of a switch that sleeps between frames (poll = adaptive, 200 frames a second),
beside the time that the kernel alone takes to wake a thread (bench/wakeup).
"""

import subprocess

from peers import paths

from . import compare, figures, machine, plot, report
from .machine import APPLICATION_CPU, BACK_END_CPU
from .switch_ends import (
    OvsFlows, TestpmdIo, TestpmdMac, Virtlaned, measure_latency, pktgen_figures
)

LOADS = (10, 50, 90)  # percent
SUBJECTS = (Virtlaned, TestpmdIo, TestpmdMac, OvsFlows)
_WAKE_RATE = 200
_PERCENTILES = ("p50", "p99")


def _wakeup_floor():
    done = subprocess.run(
        [paths.program("bench/wakeup"), str(BACK_END_CPU), str(APPLICATION_CPU),
         str(1000000 // _WAKE_RATE)], capture_output=True, text=True, check=True, timeout=30)
    return dict(zip(_PERCENTILES, map(int, done.stdout.split())))


def _measure(arguments, seconds, huge):
    """Microseconds by (subject, load, percentile), a list each; and testpmd's maximum."""
    times, maximum = {}, None

    def keep(name, load, measure):
        found, _ = machine.calmly(measure)
        for percentile in _PERCENTILES:
            times.setdefault((name, load, percentile), []).append(found[percentile] / 1000)

    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        if maximum is None:
            with TestpmdIo(huge) as forwarder:
                (maximum, _, _), _ = machine.calmly(
                    lambda: pktgen_figures(forwarder, "split", "one way", 64, 1))
        for subject in SUBJECTS if number % 2 == 0 else SUBJECTS[::-1]:
            with subject(huge) as forwarder:
                for load in LOADS:
                    rate = maximum * load / 100
                    keep(subject.name, load,
                         lambda: measure_latency(forwarder, rate, seconds))
                forwarder.check_law()
        with Virtlaned(poll="adaptive") as forwarder:
            keep("asleep", 0, lambda: measure_latency(forwarder, _WAKE_RATE, 2))
            forwarder.check_law()
        keep("the kernel's part", 0, _wakeup_floor)
    return times, maximum


def run(arguments, huge):
    machine.require_two_cpus()
    times, maximum = _measure(arguments, arguments.seconds or 1, huge)
    entries = []
    print(f"\nTesting at parts of testpmd's {maximum / 1e6:.2f} Mframes/s. Microseconds, p50 / p99:")
    rows = []
    for subject in SUBJECTS:
        row = [subject.name]
        for load in LOADS:
            medians = [compare.median(times[subject.name, load, p]) for p in _PERCENTILES]
            row.append(" / ".join(f"{median:.2f}" for median in medians))
            if subject is Virtlaned:
                continue
            entries += [
                figures.entry(
                    "latency", f"{percentile} at {load} % of testpmd's rate", "virtlaned", "us",
                    times[Virtlaned.name, load, percentile], peer=subject.name,
                    theirs=times[subject.name, load, percentile])
                for percentile in _PERCENTILES
            ]
        rows.append(row)
    report.table(["", *(f"{load} %" for load in LOADS)], rows)
    print("\nFrom asleep to delivered, microseconds:")
    for percentile in _PERCENTILES:
        ours, floor = (times[name, 0, percentile] for name in ("asleep", "the kernel's part"))
        print(f"{percentile}: {compare.median(ours):.1f}; of which the kernel takes"
              f" {compare.median(floor):.1f} to wake a thread")
        entries.append(figures.entry(
            "latency", f"{percentile} of waking up", "virtlaned, poll = adaptive", "us", ours,
            peer="eventfd to epoll_wait()", theirs=floor))
    report.save("latency", entries, testpmd_rate=maximum)
    plot.bars(
        "latency", "From port to port", "us, p99", [f"{load} %" for load in LOADS],
        [(subject.name, [
            (compare.median(values), *compare.middle_half(values))
            for load in LOADS for values in [times[subject.name, load, "p99"]]
        ]) for subject in SUBJECTS], logarithmic=True)
    return entries
