# SPDX-License-Identifier: BSD-3-Clause
"""The machine that measures: is it fit, is it quiet, which pages does it have."""

import os
import pathlib
import platform
import re
import subprocess
import sys
import time

from peers import paths

BACK_END_CPU, APPLICATION_CPU = 0, 1
_HUGE_PAGES_2M = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
HUGE_PAGES_NEEDED = 256  # a testpmd and an Open vSwitch, with room
_TICKS = os.sysconf("SC_CLK_TCK")
_DISTURBED = 0.05  # part of the CPUs' time from which on a run is repeated
_ATTEMPTS = 3  # of one run that something disturbs
_ELSEWHERE = 1.6  # factor to the usual distance, from which on the CPUs are somewhere else
_FIRST_LOOKS = 41  # by which the usual distance is found
_LOOK_AGAIN = 0.4  # seconds
_PATIENCE = 15  # seconds to wait before a run for the usual distance ...
_ALL_PATIENCE = 900  # ... and of all such waiting together
_QUIET = 0.05  # busy part of all CPUs that nobody minds


def require_two_cpus():
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: the two sides need a CPU each; this machine gives us one")


class HugePages:
    """2 MiB pages for both sides, reserved meanwhile where the kernel lets us.

    Our driver gets such pages without a reservation, DPDK does not; figures would compare pages
    with pages otherwise. `given` says whether there are enough.
    """

    def __init__(self, wanted=True):
        self.given = False
        self._wanted = wanted
        self._before = None

    def __enter__(self):
        try:
            missing = HUGE_PAGES_NEEDED - _huge_pages("free")
            if self._wanted and missing > 0:
                self._before = _huge_pages("nr")
                _HUGE_PAGES_2M.joinpath("nr_hugepages").write_text(str(self._before + missing))
            self.given = self._wanted and _huge_pages("free") >= HUGE_PAGES_NEEDED
        except OSError:
            pass  # no such pages, or not root
        return self

    def __exit__(self, *_):
        if self._before is not None:
            try:
                _HUGE_PAGES_2M.joinpath("nr_hugepages").write_text(str(self._before))
            except OSError:
                pass

    def __str__(self):
        return "2 MiB pages for DPDK" if self.given else "4 KiB pages for DPDK"


def _huge_pages(which):
    return int(_HUGE_PAGES_2M.joinpath(f"{which}_hugepages").read_text())


def _cpu_times():
    """All, idle and stolen time of all CPUs, in seconds (proc(5), /proc/stat)."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    times = [int(field) / _TICKS for field in fields]
    return sum(times), times[3] + times[4], times[7]


def _our_cpu_time():
    """Of this process and its children, those that have ended included."""
    mine = os.times()
    spent = mine.user + mine.system + mine.children_user + mine.children_system
    for process in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = process.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == os.getpid():
            spent += (int(fields[11]) + int(fields[12])) / _TICKS
    return spent


class Others:
    """What had the CPUs since this was made, besides us: other programs, and the hypervisor.

    Both CPUs are polled from while something is measured, so what others get, a subject lacks.
    """

    def __init__(self):
        self._began = self._now()

    @staticmethod
    def _now():
        total, idle, _ = _cpu_times()
        return total, total - idle - _our_cpu_time()

    def part(self):
        total, others = self._now()
        return max(0.0, (others - self._began[1]) / max(total - self._began[0], 1 / _TICKS))


def _distance():
    """Cycles that a cache line takes from one CPU to the other and back (bench/distance)."""
    done = subprocess.run(
        [paths.program("bench/distance"), str(BACK_END_CPU), str(APPLICATION_CPU)],
        capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


class Distance:
    """Whether the two CPUs are as far from each other as usual.

    A hypervisor moves them about: on cores without a common cache all that passes frames from one
    to the other takes twice the time or more, on two halves of one core less. So that figures can
    be compared, runs wait for the usual distance, the median of the first looks, and count as
    disturbed if it did not stay so.
    """

    def __init__(self):
        self.seen = []
        self.usual = None
        self._patience = _ALL_PATIENCE

    def _look(self):
        self.seen.append(_distance())
        return self.seen[-1]

    def _begin(self):
        for _ in range(_FIRST_LOOKS):
            self._look()
            time.sleep(_LOOK_AGAIN)
        self.usual = sorted(self.seen)[_FIRST_LOOKS // 2]
        print(f"A cache line takes {self.usual:.0f} cycles from CPU to CPU and back", flush=True)

    def unusual(self, distance):
        return not 1 / _ELSEWHERE < distance / self.usual < _ELSEWHERE

    def changed(self):
        return self.unusual(self._look())

    def wait(self):
        if self.usual is None:
            self._begin()
        began = time.monotonic()
        limit = min(_PATIENCE, self._patience)
        while self.changed() and time.monotonic() < began + limit:
            time.sleep(_LOOK_AGAIN)
        self._patience -= time.monotonic() - began


_the_distance = Distance()


def calmly(measure):
    """measure()'s result, and what disturbed it ("": nothing did). It is done again if something
    has, at most twice."""
    for _ in range(_ATTEMPTS):
        _the_distance.wait()
        others = Others()
        result = measure()
        part = others.part()
        disturbance = ""
        if part >= _DISTURBED:
            disturbance = f"others had {part:.0%} of the CPUs' time"
        elif _the_distance.changed():
            disturbance = "the CPUs were moved"
        if not disturbance:
            break
    return result, disturbance


def busy_part(seconds=0.5):
    """How busy the CPUs are with what is not ours."""
    all_before, idle_before, _ = _cpu_times()
    time.sleep(seconds)
    total, idle, _ = _cpu_times()
    return 1 - (idle - idle_before) / max(total - all_before, 1 / _TICKS)


class StolenTime:
    """Part of the CPUs' time that the hypervisor gave to others since this was made."""

    def __init__(self):
        self._all, _, self._stolen = _cpu_times()

    def part(self):
        total, _, stolen = _cpu_times()
        return (stolen - self._stolen) / max(total - self._all, 1 / _TICKS)


def warn_if_busy():
    busy = busy_part()
    if busy > _QUIET:
        print(f"bench: other programs use {busy:.0%} of the CPUs; figures will be noisy")


def description():
    """What a reader of the figures has to know of the machine."""
    try:
        cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        cpu = platform.machine()
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def distances():
    """A sentence on how far the CPUs were from each other; "" if nobody looked."""
    if _the_distance.usual is None:
        return ""
    seen = sorted(_the_distance.seen)
    unusual = sum(map(_the_distance.unusual, seen))
    return (f"A cache line takes {_the_distance.usual:.0f} cycles from CPU to CPU and back;"
            f" in {unusual} of {len(seen)} looks it was otherwise ({seen[0]:.0f} to {seen[-1]:.0f}).")
