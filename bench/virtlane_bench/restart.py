# SPDX-License-Identifier: BSD-3-Clause
"""How long frames stand still when the switch is killed and started again, or upgraded.

virtlane-pktgen sends 100,000 frames a second from one port of a learning bridge to another, and listens on
both sockets, so that the switch comes back to it. One event a run: SIGKILL, and the daemon started again at
once. What counts is the longest time for which nothing arrived: the longest way of a frame that waited, or
the frames that were lost by their rate, whichever is longer. Open vSwitch does the same with ports of type
dpdkvhostuserclient; an upgrade in place it does not have.
"""

import time

from peers import ovs, virtlane
from peers.pktgen import Pktgen

from . import compare, figures, machine, report

RATE = 100_000
CONFIG = """
[port a]
kind = vhost
connect = {0}/a.sock

[port b]
kind = vhost
connect = {0}/b.sock
"""


def _measure(paths, wait_up, event):
    with Pktgen("--verify", "--max-loss", 100, "--latency", "--reconnect", 30, "--time", 0, "--rate", RATE,
                "--threads", 1, "--queue-size", 1024, "--delay", 2, *(f"listen:{path}" for path in paths)) as client:
        # Open vSwitch loses what comes soon after: it has as long as --delay says, from the connection on.
        wait_up()
        time.sleep(3.5)
        event()
        time.sleep(3)
        client.interrupt()
        result = client.report(check=False)
    (direction,) = result["directions"]
    if direction["sent"] < RATE:
        raise AssertionError(f"only {direction['sent']} frames were sent")
    lost = direction["lost"]
    still = max(lost / RATE * 1e3, direction["latency_ns"]["max"] / 1e6)
    return lost, still


def _virtlaned(event):
    switch = virtlane.Switch(config="", start=False)
    try:
        switch.config.write_text(CONFIG.format(switch.directory))
        switch.start()

        def restart():
            switch.kill()
            switch.start()

        def wait_up():
            for name in "ab":
                switch.wait_state(name, "up")

        return _measure([switch.path("a.sock"), switch.path("b.sock")], wait_up,
                        restart if event == "kill" else switch.upgrade)
    finally:
        switch.close()


def _open_vswitch():
    with ovs.OpenVswitch(pmd_cpus=(1,), sleep_us=50) as switch:
        paths = [switch.add_vhost(name, connect=switch.path(f"{name}.sock")) for name in "ab"]
        return _measure(paths, lambda: switch.wait_up("a", "b"), switch.restart)


def run(arguments, _huge):
    machine.require_two_cpus()
    subjects = {
        "virtlaned killed": lambda: _virtlaned("kill"),
        "Open vSwitch killed": _open_vswitch,
        "virtlaned upgraded": lambda: _virtlaned("upgrade"),
    }
    found = {name: [] for name in subjects}
    for number in range(arguments.rounds):
        for name in list(subjects) if number % 2 == 0 else list(subjects)[::-1]:
            found[name].append(subjects[name]())
    still = {name: [run[1] for run in runs] for name, runs in found.items()}
    report.table(["", "nothing arrived for (median)", "longest", "frames lost (median)"], [
        [name, f"{compare.median(still[name]):.1f} ms", f"{max(still[name]):.1f} ms",
         f"{compare.median([run[0] for run in runs]):.0f}"] for name, runs in found.items()])
    entries = [figures.entry("restart", "standstill", name, "ms", still[name], size=64,
                             peer="Open vSwitch killed", theirs=still["Open vSwitch killed"])
               for name in subjects]
    report.save("restart", entries)
    return entries
