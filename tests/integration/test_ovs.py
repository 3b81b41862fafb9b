# SPDX-License-Identifier: BSD-3-Clause
"""Our driver on the ports of Open vSwitch: virtlane-pktgen -> bridge -> virtlane-pktgen.

virtlane-pktgen compares each byte that arrives. The bridge either passes frames from port to port
or learns addresses as a switch does.
"""

import pytest
from peers import ovs, paths
from peers.pktgen import Pktgen
from peers.wait import until

RINGS = ["split", "split-in-order", "packed"]
# OVS uses a port some time after the driver has set it up, and loses what comes meanwhile: those
# frames do not count.
WARMUP_SECONDS = 1.5
# Two cores carry everything, so rings hold what comes while one waits.
SLOW = ("--frames", "5k", "--rate", "25k", "--queue-size", "4096", "--verify",
        "--warmup", WARMUP_SECONDS)


@pytest.fixture
def bridge():
    # The thread that polls may sleep, or pktgen gets little of its CPU.
    with ovs.OpenVswitch(sleep_us=50) as running:
        yield running


def exchange(bridge, ports, *options):
    """Ports a and b send to each other; the report. ports: as virtlane-pktgen takes them."""
    with Pktgen(*SLOW, "--both-ways", *options, *ports) as generator:
        bridge.wait_up("a", "b")
        report = generator.report()
    assert [(way["sent"], way["lost"]) for way in report["directions"]] == [(5000, 0)] * 2
    return report


def rings(report):
    return {port["driver"]["ring"] for port in report["ports"]}


@pytest.mark.parametrize("ring", RINGS)
def test_frames_pass_where_ovs_listens(bridge, ring):
    ports = [bridge.add_vhost(name) for name in "ab"]
    bridge.wire("ab", "ba")
    report = exchange(bridge, ports, "--size", "64,1518", "--flows", "16", "--ring", ring)
    assert rings(report) == {ring}


@pytest.mark.parametrize("ring", RINGS)
def test_frames_pass_where_ovs_connects(bridge, ring):
    sockets = [bridge.add_vhost(name, connect=bridge.path(f"{name}.sock")) for name in "ab"]
    bridge.wire("ab", "ba")
    report = exchange(bridge, [f"listen:{path}" for path in sockets],
                      "--size", "64,1518", "--flows", "16", "--ring", ring)
    assert rings(report) == {ring}


@pytest.mark.parametrize("layout", ["split", "packed"])
def test_imix_passes_a_bridge_that_learns(bridge, layout):
    ports = [bridge.add_vhost(name) for name in "abc"]
    report = exchange(bridge, ports[:2], "--size", "imix", "--rings", layout)
    learned = bridge.macs()
    assert {port["source"]: learned.get(port["source"]) for port in report["ports"]} == {
        port["source"]: number for number, port in enumerate(report["ports"], 1)
    }


@pytest.mark.parametrize("layout", ["split", "packed"])
def test_two_queue_pairs_are_used(layout):
    # OVS sends with the queue of the thread that polled, so two threads make it use both.
    with ovs.OpenVswitch(pmd_cpus=(0, 1), sleep_us=50) as bridge:
        sockets = [bridge.add_vhost(name, connect=bridge.path(f"{name}.sock")) for name in "ab"]
        bridge.wire("ab", "ba")
        keys = [f"{way}_q{queue}_good_packets" for way in ("rx", "tx") for queue in (0, 1)]

        def used(name):
            counters = bridge.counters(name)
            return all(counters.get(key, 0) > 1000 for key in keys)

        with Pktgen(*SLOW, "--frames", "20k", "--both-ways", "--queues", "2", "--flows", "16",
                    "--rings", layout, *(f"listen:{path}" for path in sockets)) as generator:
            bridge.wait_up("a", "b", queues=2)
            # The counters go with the driver.
            until(lambda: used("a") and used("b"), "all queues of both ports used")
            report = generator.report()
    assert [(way["sent"], way["lost"]) for way in report["directions"]] == [(20000, 0)] * 2


def test_frames_in_several_buffers_pass(bridge):
    ports = [bridge.add_vhost(name, mtu_request=9000) for name in "ab"]
    bridge.wire("ab", "ba")
    exchange(bridge, ports, "--size", "60-9000:997", "--buffer-size", "1024", "--mergeable",
             "--rate", "10k")


def test_a_port_takes_driver_after_driver(bridge):
    ports = [bridge.add_vhost(name) for name in "ab"]
    bridge.wire("ab", "ba")
    for ring in ("packed", "split"):
        assert rings(exchange(bridge, ports, "--ring", ring)) == {ring}


@pytest.mark.parametrize("listen", [False, True], ids=["we-connect", "we-listen"])
def test_the_death_of_ovs_is_told(bridge, listen):
    with paths.scratch() as scratch:
        connect = {"connect": f"{scratch}/a.sock"} if listen else {}
        path = bridge.add_vhost("a", **connect)
        with Pktgen("--time", "30", f"listen:{path}" if listen else path) as generator:
            bridge.wait_up("a")
            bridge.kill()
            _, errors = generator.process.communicate(timeout=10)
    assert generator.process.returncode == 1
    assert path in errors and "hung up" in errors, errors
