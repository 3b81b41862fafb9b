# SPDX-License-Identifier: BSD-3-Clause
"""Frames a second between two ports of a switch, beside testpmd and Open vSwitch in its place.

One client has both ports, on a CPU of its own: our driver (virtlane-pktgen) or DPDK's virtio-user
(testpmd). Frames go from one port to the other and back. The subject forwards them on the other
CPU: virtlaned looks addresses up, testpmd passes frames on blindly (io) or with new addresses
(mac), Open vSwitch looks addresses up (NORMAL) or has a flow from port to port.
"""

import re

from . import compare, machine, plot, report
from .compare import Sample
from .switch_ends import CLIENTS, PAIRS, Virtlaned

RINGS = ["split", "packed"]
SIZES = [64, 512, 1518]


def _measure(rings, sizes, rounds, seconds, huge, only):
    """Samples by (client, subject, ring, size), each by round; processes of their own each time."""
    samples = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for ring in rings:
            for client, subject in PAIRS if number % 2 == 0 else PAIRS[::-1]:
                if only and subject is not Virtlaned and not re.search(only, subject.name):
                    continue
                with subject(huge) as forwarder:
                    for size, *figures in CLIENTS[client](forwarder, ring, sizes, seconds, huge):
                        key = (client, subject.name, ring, size)
                        samples.setdefault(key, {})[number] = Sample(*figures)
    return samples


def _plot(samples, rings, sizes):
    def bar(*key):
        rates = [sample.rate / 1e6 for sample in samples.get(key, {}).values()]
        return (compare.median(rates), *compare.middle_half(rates)) if rates else None

    groups = [(ring, size) for ring in rings for size in sizes]
    plot.bars(
        "switch", "Through the switch, both directions", "Mframes/s",
        [f"{ring}, {size}" for ring, size in groups],
        [(f"{subject.name}; {client}", [bar(client, subject.name, *group) for group in groups])
         for client, subject in PAIRS],
    )


def _compare(samples, rings, sizes, client):
    entries = [
        compare.comparison(
            samples[client, Virtlaned.name, ring, size], samples[client, subject.name, ring, size],
            side="back end", suite="switch", case=f"through the switch, {client}", ring=ring,
            size=size, subject=f"{Virtlaned.name}, {ring}", peer=subject.name,
        )
        for ring in rings
        for size in sizes
        for of, subject in PAIRS
        if of == client and subject is not Virtlaned
        and (client, subject.name, ring, size) in samples
    ]
    return [entry for entry in entries if entry]


def run(arguments, huge):
    machine.require_two_cpus()
    rings = arguments.rings or RINGS
    sizes = [size for size in arguments.sizes or SIZES if isinstance(size, int)] or SIZES
    samples = _measure(
        rings, sizes, arguments.rounds, arguments.seconds or 0.7, huge, arguments.only
    )
    entries = []
    for client in CLIENTS:
        of_client = _compare(samples, rings, sizes, client)
        report.comparisons(
            f"Through the switch, {client} at both ports, both directions, Mframes/s;"
            " cycles of client + switch", of_client,
        )
        entries += of_client
    report.save("switch", entries)
    _plot(samples, rings, sizes)
    return entries
