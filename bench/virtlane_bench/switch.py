# SPDX-License-Identifier: BSD-3-Clause
"""Frames a second through the switch, beside what DPDK's testpmd forwards between two vhost ports.

One client, DPDK's testpmd with two virtio-user ports, sends frames from one port to the other and
back, on a CPU of its own; the subject forwards them on the other CPU. virtlaned looks addresses up
(MAC learning), testpmd passes frames on blindly (io).
"""

import contextlib
import time

from peers import paths, testpmd, virtlane

from . import compare, machine, plot, report
from .compare import Sample
from .machine import APPLICATION_CPU, BACK_END_CPU

MACS = ("52:54:00:00:02:01", "52:54:00:00:02:02")
IN_FLIGHT_BURSTS = 16  # of 32 frames, from each port
RINGS = {
    "split": {"packed_vq": 0, "in_order": 0},
    "packed": {"packed_vq": 1, "in_order": 1},
}
SIZES = [64, 1518]
_WARM_UP_SECONDS = 0.3
_SETTLE_SECONDS = 0.05


@contextlib.contextmanager
def _switch(_huge):
    """virtlaned with two vhost ports; yields their sockets, and None: it counts no cycles a frame."""
    config = f"[switch]\nworkers = {BACK_END_CPU}\npoll = always\n"
    with virtlane.Switch(config=config) as daemon:
        yield [daemon.add_vhost(name) for name in ("a", "b")], None


@contextlib.contextmanager
def _forwarder(huge):
    """testpmd between two vhost ports; yields their sockets, and itself."""
    with paths.scratch() as scratch:
        sockets = [f"{scratch}/{name}.sock" for name in ("a", "b")]
        devices = [testpmd.vhost(path, number=number) for number, path in enumerate(sockets)]
        cpus = (APPLICATION_CPU, BACK_END_CPU)
        with testpmd.Testpmd(*devices, cpus=cpus, mbufs=16384, huge=huge) as peer:
            peer.record_cycles()
            peer.start()
            yield sockets, peer


SUBJECTS = {"virtlaned, MAC lookup": _switch, "DPDK testpmd, net_vhost, io": _forwarder}


def _received(client):
    """Frames a second since the last look, both directions together."""
    return sum(client.counters(port)["Rx-pps"] for port in (0, 1))


def _session(subject, ring, sizes, seconds, huge):
    """Yields (size, Sample), with processes of its own."""
    with subject(huge) as (sockets, peer):
        devices = [
            testpmd.virtio_user(path, mac, queue_size=1024, number=number, **RINGS[ring])
            for number, (path, mac) in enumerate(zip(sockets, MACS))
        ]
        cpus = (BACK_END_CPU, APPLICATION_CPU)
        with testpmd.Testpmd(*devices, cpus=cpus, mbufs=16384, peers=MACS[::-1],
                             huge=huge) as client:
            client.record_cycles()
            for size in sizes:
                client.command(f"set txpkts {size}")
                client.start(first_bursts=IN_FLIGHT_BURSTS)
                time.sleep(_WARM_UP_SECONDS)
                for end in filter(None, (client, peer)):
                    end.clear_fwd()
                _received(client)
                time.sleep(seconds)
                rate = _received(client)
                yield size, Sample(rate, client.fwd_cycles(), peer and peer.fwd_cycles())
                client.stop()
                time.sleep(_SETTLE_SECONDS)


def _measure(rings, sizes, rounds, seconds, huge):
    """Samples by (subject, ring, size), each by round."""
    samples = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for ring in rings:
            for name, subject in SUBJECTS.items():
                for size, sample in _session(subject, ring, sizes, seconds, huge):
                    samples.setdefault((name, ring, size), {})[number] = sample
    return samples


def _plot(samples, rings, sizes):
    def bar(*key):
        rates = [sample.rate / 1e6 for sample in samples[key].values()]
        return compare.median(rates), *compare.middle_half(rates)

    groups = [(ring, size) for ring in rings for size in sizes]
    plot.bars(
        "switch", "Through the switch, both directions", "Mframes/s",
        [f"{ring}, {size}" for ring, size in groups],
        [(name, [bar(name, *group) for group in groups]) for name in SUBJECTS],
    )


def run(arguments, huge):
    machine.require_two_cpus()
    rings = arguments.rings or list(RINGS)
    sizes = [size for size in arguments.sizes or SIZES if isinstance(size, int)] or SIZES
    seconds = arguments.seconds or 0.7
    samples = _measure(rings, sizes, arguments.rounds, seconds, huge)
    ours, theirs = SUBJECTS
    entries = [
        compare.comparison(
            samples[ours, ring, size], samples[theirs, ring, size],
            suite="switch", case="through the switch, both directions", ring=ring, size=size,
            subject=f"{ours}, {ring}", peer=theirs,
        )
        for ring in rings
        for size in sizes
    ]
    entries = [entry for entry in entries if entry]
    report.comparisons("Through the switch, both directions, Mframes/s", entries)
    report.save("switch", entries)
    _plot(samples, rings, sizes)
    return entries
