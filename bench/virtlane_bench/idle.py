# SPDX-License-Identifier: BSD-3-Clause
"""What virtlaned costs when nothing happens: CPU time of the process, in percent of one CPU.

One DPDK testpmd attaches virtio-user ports to virtlaned and then does nothing. By default workers
sleep when idle (poll = adaptive).
"""

import os
import pathlib
import time

from peers import testpmd, virtlane

from . import plot, report


def _cpu_seconds(pid):
    """User and system time of a process so far (proc(5), /proc/PID/stat, fields 14 and 15)."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measure(ports, seconds):
    with virtlane.Switch() as switch:
        names = [f"p{number}" for number in range(ports)]
        devices = [
            testpmd.virtio_user(
                switch.add_vhost(name), f"52:54:00:00:02:{number:02x}", number=number
            )
            for number, name in enumerate(names)
        ]
        with testpmd.Testpmd(*devices, mbufs=8192 + 1024 * ports, memory_mb=128 + 8 * ports):
            for name in names:
                switch.wait_state(name, "up")
            pid = switch.process.pid
            before, began = _cpu_seconds(pid), time.monotonic()
            time.sleep(seconds)
            return 100 * (_cpu_seconds(pid) - before) / (time.monotonic() - began)


def run(arguments, _huge):
    ports = arguments.ports
    seconds = arguments.idle_seconds
    percent = round(_measure(ports, seconds), 2)
    print(f"\n{ports} connected ports, idle for {seconds:g} s: {percent:.2f} % of a CPU")
    entry = {
        "suite": "idle", "case": f"{ports} connected ports, idle", "ring": "split", "size": 0,
        "subject": "virtlaned, poll = adaptive", "peer": "none", "unit": "% of a CPU",
        "ours": percent, "theirs": None, "ratio": None, "spread": None,
        "cycles_ours": None, "cycles_theirs": None,
    }
    report.save("idle", [entry], seconds=seconds)
    plot.bars("idle", "virtlaned, idle", "% of a CPU", [f"{ports} ports"],
              [("virtlaned", [(percent, percent, percent)])])
    return [entry]
