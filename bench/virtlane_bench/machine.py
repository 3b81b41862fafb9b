# SPDX-License-Identifier: BSD-3-Clause
"""The machine that measures: is it fit, is it quiet, which pages does it have."""

import os
import pathlib
import platform
import re
import sys
import time

BACK_END_CPU, APPLICATION_CPU = 0, 1
_HUGE_2M = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
HUGE_PAGES_NEEDED = 160  # two testpmd, or a driver, with room
_QUIET = 0.05  # busy part of all CPUs that nobody minds


def require_two_cpus():
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: the two sides need a CPU each; this machine gives us one")


def huge_pages_free():
    """Whether there are 2 MiB pages for both sides. If so all subjects use them."""
    try:
        return int(_HUGE_2M.read_text()) >= HUGE_PAGES_NEEDED
    except OSError:
        return False


def _cpu_times():
    """All, idle and stolen time of all CPUs (proc(5), /proc/stat)."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    times = [int(field) for field in fields]
    return sum(times), times[3] + times[4], times[7]


def busy_part(seconds=0.5):
    """How busy the CPUs are with what is not ours."""
    all_before, idle_before, _ = _cpu_times()
    time.sleep(seconds)
    total, idle, _ = _cpu_times()
    return 1 - (idle - idle_before) / max(total - all_before, 1)


class StolenTime:
    """Part of the CPUs' time that the hypervisor gave to others since this was made."""

    def __init__(self):
        self._all, _, self._stolen = _cpu_times()

    def part(self):
        total, _, stolen = _cpu_times()
        return (stolen - self._stolen) / max(total - self._all, 1)


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
    pages = "2 MiB pages" if huge_pages_free() else "4 KiB pages"
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}, {pages}"
