# SPDX-License-Identifier: BSD-3-Clause
"""Frames a second between two ports of a switch, beside testpmd and Open vSwitch in its place.

One client has both ports, on a CPU of its own: our driver (virtlane-pktgen) or DPDK's virtio-user
(testpmd). The subject forwards on the other CPU: virtlaned looks addresses up, testpmd passes
frames on blindly (io) or with new addresses (mac), Open vSwitch looks addresses up (NORMAL) or has a
flow from port to port. For the record, as nothing else does it: Linux's bridge, with sockets.
"""

import os
import re

from . import compare, machine, plot, report
from .compare import Sample
from .switch_ends import (
    CLIENTS, LAYOUTS, SUBJECTS, KernelBridge, TestpmdMac, Virtlaned, pktgen_figures
)

SIZES = [64, 256, 512, 1518, "imix"]
LARGE = [9000]  # with mergeable buffers, by our driver; not in Open vSwitch, whose MTU is 1500
BRIDGE_SIZES = [64, 512, 1518]
OTHER_LOADS = {"one way": [64, 1518], "10,000 MACs": [64]}


def _sizes_of(client, subject, ring, sizes):
    if client == "our driver" and ring == "stock" and subject.delay == 0:
        return sizes + LARGE
    return sizes


def _measure(arguments, rings, sizes, seconds, huge):
    """Samples by (case, subject, ring, size), each by round; processes of their own each time."""
    samples = {}

    def keep(key, number, measure):
        figures, disturbance = machine.calmly(measure)
        samples.setdefault(key, {})[number] = Sample(*figures, disturbance=disturbance)

    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", flush=True)
        for subject in SUBJECTS if number % 2 == 0 else SUBJECTS[::-1]:
            if arguments.only and subject is not Virtlaned \
                    and not re.search(arguments.only, subject.name):
                continue
            for ring in rings:
                for client in CLIENTS:
                    with subject(huge) as forwarder:
                        of_ring = _sizes_of(client, subject, ring, sizes)
                        for size, measure in CLIENTS[client](
                                forwarder, ring, of_ring, seconds, huge):
                            keep((client, subject.name, ring, size), number, measure)
                        forwarder.check_law()
            for load, load_sizes in OTHER_LOADS.items():
                if subject is TestpmdMac:
                    continue
                with subject(huge) as forwarder:
                    for size in load_sizes:
                        keep((load, subject.name, "split", size), number,
                             lambda: pktgen_figures(forwarder, "split", load, size, seconds))
                    forwarder.check_law()
        if os.geteuid() == 0 and not arguments.only:
            _measure_bridge(number, samples, seconds, huge)
    return samples


def _measure_bridge(number, samples, seconds, huge):
    """Whatever the kernel does counts as somebody else's time: so not in calmly()."""
    with KernelBridge(huge) as bridge:
        for size, measure in CLIENTS["virtio-user"](bridge, "-", BRIDGE_SIZES, seconds, huge):
            samples.setdefault(("af_packet", bridge.name, "-", size), {})[number] = Sample(
                *measure())


def _compare(samples, case):
    ours = {key: value for key, value in samples.items()
            if key[0] == case and key[1] == Virtlaned.name}
    entries = [
        compare.comparison(
            mine, samples[case, subject.name, ring, size], side="back end", suite="switch",
            case=case, ring=ring, size=size, subject=f"virtlaned, {ring}", peer=subject.name,
        )
        for subject in SUBJECTS[1:]
        for (_, _, ring, size), mine in ours.items()
        if (case, subject.name, ring, size) in samples
    ]
    return [entry for entry in entries if entry]


def _table(samples, case):
    """Medians of everybody: Mframes/s, and cycles of the switch's core."""
    rings = [ring for ring in LAYOUTS if any(key[0] == case and key[2] == ring for key in samples)]
    sizes = sorted({key[3] for key in samples if key[0] == case}, key=lambda size: (
        not isinstance(size, int), size if isinstance(size, int) else 0))
    lines = []
    for ring in rings:
        for subject in SUBJECTS:
            cells = {}
            for size in sizes:
                found = samples.get((case, subject.name, ring, size))
                if not found:
                    continue
                rate = compare.median([one.rate for one in found.values()])
                cycles = compare.median([one.back_end for one in found.values()])
                cells[size] = f"{rate / 1e6:.2f} ({'-' if cycles is None else f'{cycles:.0f}'})"
            if cells:
                lines.append((f"{subject.name}, {ring}", cells))
    report.matrix(f"{case}: Mframes/s (cycles of the switch's core)", sizes, lines)


def _plot(samples, rings, sizes):
    def bar(*key):
        rates = [sample.rate / 1e6 for sample in samples.get(key, {}).values()]
        return (compare.median(rates), *compare.middle_half(rates)) if rates else None

    groups = [(ring, size) for ring in rings for size in sizes]
    for client in CLIENTS:
        plot.bars(
            f"switch-{client.replace(' ', '-')}", f"Through the switch, both directions; {client}",
            "Mframes/s", [f"{ring}, {report.size_name(size)}" for ring, size in groups],
            [(subject.name, [bar(client, subject.name, *group) for group in groups])
             for subject in SUBJECTS],
        )


def run(arguments, huge):
    machine.require_two_cpus()
    rings = arguments.rings or list(LAYOUTS)
    sizes = [size for size in arguments.sizes or SIZES if size != "tso"]
    samples = _measure(arguments, rings, sizes, arguments.seconds or 0.7, huge)
    samples = {key: compare.calm(rounds) for key, rounds in samples.items()}
    entries = []
    for case in [*CLIENTS, *OTHER_LOADS]:
        _table(samples, case)
        of_case = _compare(samples, case)
        report.comparisons(f"{case}; cycles of client + switch", of_case)
        entries += of_case
    bridge = {key[3]: f"{compare.median([one.rate for one in found.values()]) / 1e6:.2f}"
              for key, found in samples.items() if key[0] == "af_packet"}
    if bridge:
        report.matrix("For the record: Mframes/s", BRIDGE_SIZES, [(KernelBridge.name, bridge)])
    report.save("switch", entries)
    _plot(samples, rings, [size for size in (64, 512, 1518) if size in sizes])
    return entries
