# SPDX-License-Identifier: BSD-3-Clause
"""TCP between two namespaces, with large frames and without, beside what else joins namespaces.

One iperf3 stream, nobody pinned: sender, receiver and switch share two CPUs, as they would. Subjects are
virtlaned with two taps (all offloads; checksums only; none), Open vSwitch with userspace-tso-enable and
two veth pairs, and Linux's bridge with the same, segmentation on and off. Then, through virtlaned with all
offloads and with none, stock guests (User Mode Linux), a namespace and a NIC (net_af_packet on a veth pair,
which can neither cut nor compute sums). Last, what cutting costs by itself, beside rte_gso (bench/segment).
"""

import contextlib
import subprocess

from peers import netns, ovs, paths, traffic, virtlane
from peers.guests import Uml

from . import compare, figures, machine, report
from .machine import BACK_END_CPU

_OFFLOADS = {"all": "all", "csum": "csum", "none": "none"}
_PORTS = ("port1", "port2")
_PAIRS = ["vm to vm", "vm to namespace", "namespace to vm", "vm to nic"]
_CUTS = [(65535, 1448), (65535, 536), (9014, 1448)]


@contextlib.contextmanager
def _hosts():
    with netns.Namespace("tso1") as sender, netns.Namespace("tso2") as receiver:
        yield sender, receiver


def _rate(hosts, seconds):
    for number, host in enumerate(hosts, 1):
        host.address("eth0", f"10.8.0.{number}/24")
    traffic.answers(hosts[0], "10.8.0.2", count=2)
    return traffic.iperf_gbits(*hosts, "10.8.0.2", seconds=seconds)


def _virtlaned(offloads, seconds):
    with _hosts() as hosts, virtlane.Switch() as switch:
        for name, host in zip(_PORTS, hosts):
            switch.add_tap(name, host, offloads=offloads)
        rate = _rate(hosts, seconds)
        switch.check_law()
        return rate


def _add(stack, switch, kind, name, offloads):
    """A port, and the host behind it."""
    if kind == "vm":
        return stack.enter_context(Uml(switch.add_vhost(name, offloads=offloads), name=name))
    host = stack.enter_context(netns.Namespace(name))
    if kind == "namespace":
        switch.add_tap(name, host, offloads=offloads)
    else:
        near = stack.enter_context(netns.Namespace("near"))
        near.run(f"ip link add nic type veth peer name eth0 netns {host.name} && ip link set nic up")
        # As if there were a cable: what the far host sends is complete.
        host.run("ethtool -K eth0 tx off tso off gso off && ip link set eth0 up")
        switch.add(name, "ethdev", device="net_af_packet0,iface=nic", netns=near.name)
    return host


def _pair(pair, offloads, seconds):
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(virtlane.Switch())
        hosts = [_add(stack, switch, kind, name, offloads)
                 for kind, name in zip(pair.split(" to "), _PORTS)]
        for name in _PORTS:
            switch.wait_state(name, "up")
        rate = _rate(hosts, seconds)
        switch.check_law()
        return rate


def _open_vswitch(seconds):
    with _hosts() as hosts, ovs.OpenVswitch(pmd_cpus=(BACK_END_CPU,), tso=True) as switch:
        for name, host in zip(_PORTS, hosts):
            switch.add_veth(name, "eth0", host.name)
        return _rate(hosts, seconds)


def _bridge(large, seconds):
    with _hosts() as hosts, netns.Namespace("tso0") as middle:
        middle.run("ip link add br0 type bridge && ip link set br0 up")
        for name, host in zip(_PORTS, hosts):
            middle.run(f"ip link add name {name} type veth peer name eth0 netns {host.name};"
                       f"ip link set dev {name} master br0 up")
            if not large:
                host.run("ethtool -K eth0 tso off gso off")
        return _rate(hosts, seconds)


def _segment(size, step):
    done = subprocess.run(
        [paths.program("bench/segment"), str(BACK_END_CPU), str(size), str(step)],
        capture_output=True, text=True, check=True, timeout=60)
    return [int(word) for word in done.stdout.split()]


def _compare_rates(arguments, seconds):
    subjects = {
        **{f"virtlaned, offloads={name}": lambda o=offloads: _virtlaned(o, seconds)
           for name, offloads in _OFFLOADS.items()},
        "Open vSwitch, userspace TSO": lambda: _open_vswitch(seconds),
        "Linux's bridge": lambda: _bridge(True, seconds),
        "Linux's bridge, segmentation off": lambda: _bridge(False, seconds),
    }
    rates = {name: [] for name in subjects}
    for number in range(arguments.rounds):
        order = list(subjects) if number % 2 == 0 else list(subjects)[::-1]
        for name in order:
            rates[name].append(subjects[name]())
    ours = rates["virtlaned, offloads=all"]
    entries = [
        figures.entry("tso", "TCP between namespaces", "virtlaned, offloads=all", "Gbit/s", ours,
                      size="tso", peer=name, theirs=found)
        for name, found in rates.items()
    ]
    print("\nTCP between two namespaces, Gbit/s:")
    report.table(["", "median", "spread", "virtlaned is so many times as fast"],
                 [[name, f"{compare.median(found):.2f}", f"{compare.spread(found):.0%}",
                   f"{compare.median([a / b for a, b in zip(ours, found)]):.2f}"]
                  for name, found in rates.items()])
    return entries


def _compare_pairs(arguments, seconds):
    rates = {}
    for number in range(arguments.rounds):
        for pair in _PAIRS:
            for offloads in ("all", "none") if number % 2 == 0 else ("none", "all"):
                rates.setdefault((pair, offloads), []).append(_pair(pair, offloads, seconds))
    print("\nTCP through virtlaned, Gbit/s:")
    report.table(["", "all offloads", "none", "times as fast"], [
        [pair, *(f"{compare.median(rates[pair, offloads]):.2f}" for offloads in ("all", "none")),
         f"{compare.median([a / b for a, b in zip(rates[pair, 'all'], rates[pair, 'none'])]):.2f}"]
        for pair in _PAIRS])
    return [figures.entry("tso", f"TCP, {pair}", "all offloads", "Gbit/s", rates[pair, "all"],
                          size="tso", peer="none", theirs=rates[pair, "none"]) for pair in _PAIRS]


def _compare_cutting(arguments):
    entries = []
    print("\nCutting a TCP frame, cycles: alone, and from memory to buffers with checksums")
    rows = []
    for size, step in _CUTS:
        runs = [machine.calmly(lambda: _segment(size, step))[0] for _ in range(arguments.rounds)]
        columns = [[run[i] for run in runs] for i in range(4)]
        for case, ours, theirs in (("alone", 0, 1), ("all the way", 2, 3)):
            # Fewer cycles are better, so the ratio is theirs by ours.
            entries.append(figures.entry(
                "tso", f"cutting {size} bytes by {step}, {case}", "rte_gso", "cycles",
                columns[theirs], size=size, peer="virtlane", theirs=columns[ours]))
        rows.append([f"{size} by {step}", *(f"{compare.median(column):.0f}" for column in columns)])
    report.table(["", "ours", "rte_gso", "ours", "rte_gso"], rows)
    return entries


def run(arguments, _huge):
    machine.require_two_cpus()
    seconds = max(arguments.seconds or 2, 1)
    entries = _compare_rates(arguments, seconds)
    entries += _compare_pairs(arguments, seconds)
    entries += _compare_cutting(arguments)
    report.save("tso", entries)
    return entries
