# SPDX-License-Identifier: BSD-3-Clause
"""How long a guest is away when it moves from one QEMU to another, by precopy and by postcopy.

Both are on one switch; a host behind it pings the guest every two milliseconds. What counts is QEMU's
"downtime" and, as the network sees it, the longest time between two replies. QEMU listens, the switches
connect (Open vSwitch, with postcopy support on, offers postcopy to nobody else).
"""

import contextlib
import os
import re
import signal
import time

from peers import netns, ovs, virtlane
from peers.guests import Nic, Qemu

from . import compare, figures, machine, report

HOST, GUEST = "10.0.0.1", "10.0.0.10"
MAC = "52:54:00:00:01:01"
PING_SECONDS = 0.002


@contextlib.contextmanager
def _virtlaned():
    with netns.Namespace("host") as host, virtlane.Switch() as switch:
        switch.add_tap("host", host)
        paths = [switch.path(name) for name in ("before", "after")]
        for path in paths:
            switch.add(os.path.basename(path), "vhost", connect=path)
        yield host, paths


@contextlib.contextmanager
def _open_vswitch():
    with netns.Namespace("host") as host, ovs.OpenVswitch(pmd_cpus=(1,), sleep_us=50, postcopy=True) as switch:
        switch.add_veth("host", "eth0", host.name)
        yield host, [switch.add_vhost(name, connect=switch.path(name)) for name in ("before", "after")]


def _longest_gap(replies):
    """Milliseconds, of what `ping -D` has printed."""
    times = [float(stamp) for stamp in re.findall(r"^\[([\d.]+)\] \d+ bytes", replies, re.M)]
    if len(times) < 1000:
        raise AssertionError(f"only {len(times)} replies:\n{replies[-500:]}")
    return max(later - earlier for earlier, later in zip(times, times[1:])) * 1e3


def _measure(switch, way):
    with contextlib.ExitStack() as stack:
        host, paths = stack.enter_context(switch())
        host.address("eth0", f"{HOST}/24")
        guest = stack.enter_context(Qemu(Nic(paths[0], MAC, server=True), name="before", migrates=True))
        guest.address("eth0", f"{GUEST}/24")
        target = stack.enter_context(Qemu(Nic(paths[1], MAC, server=True), name="after", migrates=True, incoming=True))
        host.run(f"ping -c 3 -W 2 {GUEST}")
        ping = host.start(f"exec ping -D -i {PING_SECONDS} {GUEST} > {target.scratch}/ping")
        time.sleep(2)
        result = guest.migrate_to(target, postcopy=way == "postcopy")
        guest.close()
        time.sleep(3)
        ping.send_signal(signal.SIGINT)
        ping.wait(10)
        with open(f"{target.scratch}/ping") as replies:
            return result["downtime"], _longest_gap(replies.read())


def run(arguments, _huge):
    machine.require_two_cpus()
    switches = {"virtlaned": _virtlaned, "Open vSwitch": _open_vswitch}
    subjects = [(name, way) for way in ("precopy", "postcopy") for name in switches]
    found = {subject: [] for subject in subjects}
    for number in range(arguments.rounds):
        for name, way in subjects if number % 2 == 0 else subjects[::-1]:
            found[name, way].append(_measure(switches[name], way))
    away = {subject: [run[1] for run in runs] for subject, runs in found.items()}
    report.table(["", "QEMU's downtime (median)", "no reply for (median)", "longest"], [
        [f"{name}, {way}", f"{compare.median([run[0] for run in runs]):.0f} ms",
         f"{compare.median(away[name, way]):.0f} ms", f"{max(away[name, way]):.0f} ms"]
        for (name, way), runs in found.items()])
    entries = [figures.entry("migrate", way, name, "ms", away[name, way],
                             peer="Open vSwitch", theirs=away["Open vSwitch", way])
               for name, way in subjects]
    report.save("migrate", entries)
    return entries
