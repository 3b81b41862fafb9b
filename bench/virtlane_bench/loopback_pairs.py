# SPDX-License-Identifier: BSD-3-Clause
"""The subjects of the loopback suite: which front end is joined to which back end, at which sizes."""

import contextlib
import dataclasses
import json
import subprocess
import time
from typing import Callable

from peers import paths

from . import loopback_ends as ends
from . import loopback_modes as modes
from .compare import Sample
from .machine import APPLICATION_CPU, BACK_END_CPU, calmly


@dataclasses.dataclass(frozen=True)
class Subject:
    """name: unique. session(settings, sizes) yields (size, Sample), with processes of its own."""

    name: str
    rings: str  # "split", "packed" or "none"
    session: Callable
    both_ours: bool = False  # or both another's: what suits all sizes; else each half alone


def _undisturbed(measure, *arguments):
    """A Sample from measure()."""
    sample, sample.disturbance = calmly(lambda: measure(*arguments))
    return sample


def _measure(front, back, settings, size):
    front.begin(size)
    time.sleep(settings.warm_up)
    back.mark()
    front.mark()
    time.sleep(settings.seconds)
    rate, application, front_lost, page_size = front.read()
    back_end, back_lost = back.read()
    front.end()
    return Sample(rate, application, back_end, front_lost + back_lost, page_size)


def _pair(name, rings, front_class, back_class, detail, whole, large=True):
    """detail: the front end's mode. large: it can do 64 KiB frames, which need MRG_RXBUF."""

    def session(settings, sizes):
        groups = [[size for size in sizes if size != "tso"], ["tso"] if "tso" in sizes else []]
        for mergeable, group in zip((False, True), groups):
            if not group or (mergeable and not large):
                continue
            with back_class(settings, mergeable) as back:
                with front_class(settings, mergeable, back.path, detail) as front:
                    for size in group:
                        yield size, _undisturbed(_measure, front, back, settings, size)

    return Subject(name, rings, session, whole)


def _hand_off(name, touch):
    def measure(settings, size):
        command = [
            paths.program("bench/handoff"), "--touch", touch,
            "--size", str(modes.TSO_BYTES if size == "tso" else size),
            "--in-flight", str(settings.in_flight_of(size)),
            "--cpus", f"{APPLICATION_CPU},{BACK_END_CPU}",
            "--time", str(settings.seconds), "--warmup", str(settings.warm_up),
            *(["--huge"] if settings.huge else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise AssertionError(f"handoff: {done.stderr.strip() or done.stdout.strip()}")
        found = json.loads(done.stdout)
        cycles = found["cycles_application"], found["cycles_back_end"]
        page_size = (2 << 20) if settings.huge else 4096
        return Sample(found["rate"], *cycles, 0, page_size)

    def session(settings, sizes):
        for size in sizes:
            yield size, _undisturbed(measure, settings, size)

    return Subject(name, "none", session, True)


def ours(mode):
    return f"virtlane, {mode.name}"


def dpdk(mode):
    return f"DPDK virtio, {mode.name}"


def our_driver(mode):
    return f"virtlane driver + net_vhost, {mode.name}"


def our_device(mode):
    return f"virtio-user + virtlane device, {mode.name}"


MEMIF = {False: "DPDK memif, copying", True: "DPDK memif, client zero-copy"}
HAND_OFF = {
    "none": "hand-off, application touches nothing",
    "all": "hand-off, application copies too",
}


def subjects():
    """All of them, those of a whole loopback first."""
    made = []
    for mode in modes.OUR_MODES:
        made.append(_pair(ours(mode), mode.rings, ends.OurDriver, ends.OurDevice, mode, True))
    for mode in modes.DPDK_MODES:
        # One mode a layout is enough to know what 64 KiB frames do; the vectorised ones cannot.
        large = mode.in_order and not mode.vectorized
        made.append(
            _pair(dpdk(mode), mode.rings, ends.VirtioUser, ends.NetVhost, mode, True, large)
        )
    for zero_copy, name in MEMIF.items():
        made.append(
            _pair(name, "none", ends.MemifClient, ends.MemifServer, zero_copy, True)
        )
    for touch, name in HAND_OFF.items():
        made.append(_hand_off(name, touch))
    for mode in modes.OUR_MODES:
        made.append(
            _pair(our_driver(mode), mode.rings, ends.OurDriver, ends.NetVhost, mode, False, False)
        )
    for mode in modes.DPDK_MODES:
        made.append(
            _pair(our_device(mode), mode.rings, ends.VirtioUser, ends.OurDevice, mode, False, False)
        )
    return made


@contextlib.contextmanager
def no_more_than(failures, name, count=2):
    """Notes why a subject failed, so that it can be left out from its second failure on."""
    try:
        yield
    except (AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as failed:
        reason = str(failed).splitlines()[0] if str(failed) else type(failed).__name__
        failures.setdefault(name, []).append(reason)
        ends_now = isinstance(failed, FileNotFoundError) or len(failures[name]) >= count
        print(f"  {name}: {reason}" + ("; left out from here on" if ends_now else ""), flush=True)
        if ends_now:
            failures[name] += [reason] * count
