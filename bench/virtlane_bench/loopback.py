# SPDX-License-Identifier: BSD-3-Clause
"""Loopback: one application core and one back-end core; frames go out and come back.

Compared are our driver with our device, DPDK's virtio-user with its net_vhost in each ring mode,
DPDK's memif, and the bare hand-off of the same bytes; then each half of ours with the other's.
"""

import collections
import re
import sys

from . import compare, loopback_modes as modes, loopback_pairs as pairs, machine, plot, report
from .loopback_modes import DPDK_MODES, OUR_MODES

# Where each half is seen alone fewer sizes do, unless sizes are given.
HALF_SIZES = [64, 1518]
_FAILURES = 2
# Recorded with the results.
_NEVER = {
    "64 KiB, DPDK vectorised": "needs MRG_RXBUF, which vectorised receiving excludes",
    "64 KiB, DPDK with a GSO header": "testpmd's io passes no GSO type on, and it makes no TCP"
    " frames; its 64 KiB frames are plain ones, which costs it less",
    "64 KiB, either half alone": "net_vhost offers no TSO to our driver; virtio-user takes none"
    " from our device without LRO",
}


class Samples:
    """Samples by subject, size and round."""

    def __init__(self):
        self._all = collections.defaultdict(dict)

    def add(self, name, size, number, sample):
        self._all[name, size][number] = sample

    def of(self, name, size):
        """By round, the calm ones."""
        return compare.calm(self._all.get((name, size), {}))

    def names(self):
        return list(dict.fromkeys(name for name, _ in self._all))

    def raw(self):
        """For the suite's own file."""
        return [
            {"subject": name, "size": size, "round": number, **vars(sample)}
            for (name, size), rounds in self._all.items()
            for number, sample in sorted(rounds.items())
        ]


def _chosen(arguments):
    """(subject, sizes) of what is to be measured."""
    rings = arguments.rings or ["split", "packed"]
    sizes = arguments.sizes or modes.SIZES
    half_sizes = arguments.sizes or HALF_SIZES
    chosen = []
    for subject in pairs.subjects():
        if subject.rings not in (*rings, "none"):
            continue
        if arguments.only and not re.search(arguments.only, subject.name):
            continue
        chosen.append((subject, sizes if subject.both_ours else half_sizes))
    if not chosen:
        sys.exit("bench: nothing is left to measure; see bench/run --list")
    return chosen


def _measure(chosen, settings, rounds, samples):
    """Fills in samples; returns the reasons of failures by subject."""
    failures = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        # Back and forth, so that what drifts meets no subject always first.
        for subject, sizes in chosen if number % 2 == 0 else reversed(chosen):
            if len(failures.get(subject.name, ())) >= _FAILURES:
                continue
            with pairs.no_more_than(failures, subject.name, _FAILURES):
                for size, sample in subject.session(settings, sizes):
                    samples.add(subject.name, size, number, sample)
    return failures


# ---- what is compared with what ----


def _entry(samples, size, ours, theirs, side="both", **labels):
    return compare.comparison(
        samples.of(ours, size), samples.of(theirs, size), side,
        suite="loopback", size=modes.TSO_BYTES if size == "tso" else size,
        **{"subject": ours, "peer": theirs, **labels},
    )


def _best(samples, size, names):
    return compare.best(names, lambda name: samples.of(name, size))


def _against_limits(samples, size):
    """Our best mode beside the best of DPDK's, the better memif, and the hand-off."""
    ours = _best(samples, size, [pairs.ours(mode) for mode in OUR_MODES])
    if ours is None:
        return
    ring = ours.rpartition(", ")[2]
    dpdk = _best(samples, size, [pairs.dpdk(mode) for mode in DPDK_MODES])
    memif = _best(samples, size, pairs.MEMIF.values())
    yield _entry(samples, size, ours, dpdk, case="loopback, DPDK's best virtio mode", ring=ring)
    yield _entry(samples, size, ours, memif, case="loopback, memif", ring=ring)
    for hand_off in pairs.HAND_OFF.values():
        yield _entry(samples, size, ours, hand_off, case="loopback, limit", ring=ring)


def _mode_by_mode(samples, size):
    for mode in DPDK_MODES:
        ours = modes.our_counterpart(mode)
        yield _entry(samples, size, pairs.ours(ours), pairs.dpdk(mode),
                     case="loopback, mode by mode", ring=mode.name)


def _halves(samples, size):
    for mode in DPDK_MODES:
        ours = modes.our_counterpart(mode)
        yield _entry(samples, size, pairs.our_driver(ours), pairs.dpdk(mode), "application",
                     case="driver alone, back end net_vhost", ring=mode.name)
        yield _entry(samples, size, pairs.our_device(mode), pairs.dpdk(mode), "back end",
                     case="device alone, front end virtio-user", ring=mode.name)


def _entries(samples, sizes):
    made = [
        entry
        for part in (_against_limits, _mode_by_mode, _halves)
        for size in sizes
        for entry in part(samples, size)
    ]
    return [entry for entry in made if entry]


# ---- what is shown ----


def _cell(rounds, what):
    if not rounds:
        return "-"
    all_samples = list(rounds.values())
    if what == "rate":
        value = compare.median([sample.rate / 1e6 for sample in all_samples])
        return f"{value:.3f}" if value < 1 else f"{value:.1f}"
    if what == "spread":
        return f"{compare.spread([sample.rate for sample in all_samples]):.0%}"
    halves = [compare.median([getattr(s, side) for s in all_samples])
              for side in ("application", "back_end")]
    return "+".join("-" if half is None else f"{half:.0f}" for half in halves)


def _print_matrices(samples, sizes):
    if not samples.names():
        return
    for title, what in (
        ("Mframes/s through the loop, median", "rate"),
        ("Spread of those: middle half of the runs, as part of the median", "spread"),
        ("Cycles a frame, application + back end, of rounds that moved frames", "cycles"),
    ):
        lines = [
            (name, {size: _cell(samples.of(name, size), what) for size in sizes})
            for name in samples.names()
        ]
        report.matrix(title, sizes, lines)


def _notes(samples, sizes, settings):
    """What makes a figure doubtful."""
    for name in samples.names():
        for size in sizes:
            runs = samples.of(name, size).values()
            lost = max((run.lost for run in runs), default=0)
            if lost > settings.in_flight_of(size) // 8:
                print(f"note: {name}, {report.size_name(size)}: up to {lost} frames dropped out of"
                      f" the loop of {settings.in_flight_of(size)}")
    disturbed = [run for run in samples.raw() if run["disturbance"]]
    if disturbed:
        print(f"note: in {len(disturbed)} of {len(samples.raw())} runs others had the CPUs, or "
              "these were far from each other, although they were repeated; they count only"
              " where there are no others")
    pages = {run["page_size"] for run in samples.raw() if run["page_size"]}
    if len(pages) > 1:
        print(f"note: subjects had pages of different sizes: {sorted(pages)} bytes")


def _plot(samples, sizes):
    def bar(size, names):
        name = _best(samples, size, names)
        rates = name and [sample.rate / 1e6 for sample in samples.of(name, size).values()]
        return (compare.median(rates), *compare.middle_half(rates)) if rates else None

    groups = {
        "virtlane": [pairs.ours(mode) for mode in OUR_MODES],
        "DPDK virtio, best mode": [pairs.dpdk(mode) for mode in DPDK_MODES],
        "DPDK memif": list(pairs.MEMIF.values()),
        "limit: bare hand-off": [pairs.HAND_OFF["none"]],
    }
    series = [(label, [bar(size, names) for size in sizes]) for label, names in groups.items()]
    series = [(label, values) for label, values in series if any(values)]
    if series:
        plot.bars("loopback", "Loopback: one application core, one back-end core", "Mframes/s",
                  [report.size_name(size) for size in sizes], series, logarithmic=True)


def run(arguments, huge):
    machine.require_two_cpus()
    chosen = _chosen(arguments)
    settings = modes.Settings(
        seconds=arguments.seconds or 0.5,
        in_flight=arguments.in_flight,
        burst=arguments.burst,
        queue_size=arguments.queue_size,
        huge=huge,
    )
    sizes = [size for size in modes.SIZES + (arguments.sizes or [])
             if any(size in wanted for _, wanted in chosen)]
    sizes = list(dict.fromkeys(sizes))
    samples = Samples()
    failures = {}
    try:
        failures = _measure(chosen, settings, arguments.rounds, samples)
    except KeyboardInterrupt:
        print("\nbench: interrupted; what was measured so far:")
    entries = _entries(samples, sizes)
    _print_matrices(samples, sizes)
    for case in dict.fromkeys(entry["case"] for entry in entries):
        side = next(entry["cycles_of"] for entry in entries if entry["case"] == case)
        aside = "" if side == "both" else f" (what counts: cycles of the {side})"
        report.comparisons(case + aside, [entry for entry in entries if entry["case"] == case])
    _notes(samples, sizes, settings)
    skipped = {name: reasons[0] for name, reasons in failures.items()}
    skipped |= _NEVER
    report.save("loopback", entries, samples=samples.raw(), skipped=skipped,
                settings=vars(settings))
    _plot(samples, sizes)
    return entries
