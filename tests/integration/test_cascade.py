# SPDX-License-Identifier: BSD-3-Clause
"""One switch plugged into another: its port is the driver of the other's device."""

import socket
import time

import pytest

from peers import frames, netns, testpmd, traffic, virtlane
from peers.frames import RawSocket
from peers.wait import until
from test_large import give_addresses, mean_size, transfer


def add_host(stack, switch, name):
    host = stack.enter_context(netns.Namespace(name, ipv6=True))
    switch.add_tap(name, host)
    host.run("ip link set eth0 up")
    return host


@pytest.fixture
def upper(stack):
    """The other switch, with a device for the first one."""
    other = stack.enter_context(virtlane.Switch())
    yield other
    other.check_law()


@pytest.fixture
def hosts(stack, switch, upper):
    """A host behind either switch, with 10.9.0.1 (this one) and .2 (the other)."""
    made = [add_host(stack, switch, "low"), add_host(stack, upper, "high")]
    give_addresses(made)
    return made


def plug(switch, upper, **settings):
    path = upper.add_vhost("down", queues=settings.get("queues", 1))
    switch.add("up", "virtio", connect=path, **settings)
    switch.wait_state("up", "up")
    upper.wait_state("down", "up")


@pytest.mark.parametrize("queues", [1, 2])
def test_hosts_of_two_switches_reach_each_other(switch, upper, hosts, seeded, say, queues):
    plug(switch, upper, queues=queues)
    say(f"ping: {traffic.answers(hosts[0], '10.9.0.2')}")
    for address, sender, receiver in (
        ("10.9.0.2", *hosts), ("fd09::2", *hosts), ("10.9.0.1", *hosts[::-1])
    ):
        data = seeded.randbytes(3_000_000)
        assert transfer(sender, receiver, address, data) == data


def test_large_frames_stay_large_through_both(switch, upper, hosts, seeded, say):
    plug(switch, upper)
    traffic.answers(hosts[0], "10.9.0.2")
    for sender, receiver, address, last in (
        (*hosts, "10.9.0.2", (upper, "high")), (*hosts[::-1], "10.9.0.1", (switch, "low"))
    ):
        before = last[0].counters(last[1])
        transfer(sender, receiver, address, seeded.randbytes(3_000_000))
        size = mean_size(before, last[0].counters(last[1]), "tx")
        say(f"{size:.0f} bytes a frame at the far end")
        assert size > 5000
    for counters in (switch.counters("up"), upper.counters("down")):
        assert counters["tx_cut"] == 0


def test_what_the_other_switch_does_not_take_is_cut(switch, upper, hosts, seeded):
    path = upper.add_vhost("down", offloads="none")
    switch.add("up", "virtio", connect=path)
    switch.wait_state("up", "up")
    assert switch.show("up")["offloads_taken"] == []
    for sender, receiver, address in (
        (*hosts, "10.9.0.2"), (*hosts[::-1], "10.9.0.1"), (*hosts, "fd09::2")
    ):
        data = seeded.randbytes(500_000)
        assert transfer(sender, receiver, address, data) == data
    assert switch.counters("up")["tx_cut"] > 0
    assert upper.counters("down")["tx_cut"] > 0


def test_a_device_that_comes_late_and_goes_is_found_again(switch, upper, hosts):
    path = upper.path("down.sock")
    switch.add("up", "virtio", connect=path)
    assert switch.show("up")["state"] == "waiting"
    for _ in range(3):
        upper.add_vhost("down", listen=path)
        switch.wait_state("up", "up", timeout=15)
        traffic.answers(hosts[0], "10.9.0.2", count=1)
        upper.delete("down")
        shown = switch.wait_state("up", "waiting")
        assert "hung up" in shown["reason"]


def test_a_back_end_may_be_the_one_to_connect(switch, upper, hosts):
    path = switch.path("up.sock")
    switch.add("up", "virtio", listen=path, mode="0600")
    for _ in range(2):
        upper.add("down", "vhost", connect=path)
        switch.wait_state("up", "up", timeout=15)
        traffic.answers(hosts[0], "10.9.0.2", count=1)
        upper.delete("down")
        switch.wait_state("up", "waiting")


def test_dpdk_serves_a_device(switch, stack, hosts, seeded):
    """testpmd sends back what comes, with the addresses swapped."""
    path = switch.path("testpmd.sock")
    pmd = stack.enter_context(testpmd.Testpmd(testpmd.vhost(path), forward="macswap"))
    pmd.start()
    switch.add("up", "virtio", connect=path)
    switch.wait_state("up", "up", timeout=15)
    with RawSocket(hosts[0]) as raw:
        for size in (60, 500, 1514):
            frame = frames.plain(seeded, size, "02:00:00:00:77:01", raw.mac)
            raw.send(frame)
            raw.expect(frames.swapped(frame))


def test_jumbo_frames_take_several_buffers(switch, upper, hosts):
    for host in hosts:
        host.run("ip link set eth0 mtu 9000")
    plug(switch, upper)
    traffic.answers(hosts[0], "10.9.0.2", size=8972)
    traffic.answers(hosts[1], "10.9.0.1", size=8972)


def test_an_idle_cascade_sleeps(switch, upper, hosts):
    plug(switch, upper)
    traffic.answers(hosts[0], "10.9.0.2", count=1)
    until(lambda: switch.call("worker.list")[0]["load"] < 0.05, "a worker with little to do")
    before = switch.call("worker.list")[0]["wakeups"]
    time.sleep(1)
    assert switch.call("worker.list")[0]["wakeups"] - before < 100


@pytest.mark.parametrize("path", ["/nowhere/a.sock", "/dev/null"])
def test_without_a_device_the_port_says_why(switch, path):
    switch.add("up", "virtio", connect=path)
    until(lambda: path in switch.show("up")["reason"], "a reason that names the socket")
    switch.delete("up")


def test_a_back_end_that_does_not_answer_holds_nobody_up(switch, stack):
    path = switch.path("deaf.sock")
    deaf = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    deaf.bind(path)
    deaf.listen(8)
    switch.add("up", "virtio", connect=path)
    for _ in range(20):
        began = time.monotonic()
        switch.show("up")
        assert time.monotonic() - began < 0.5
        time.sleep(0.05)
    switch.delete("up")


def test_a_link_that_is_taken_down_is_down_at_the_other_end(switch, upper, hosts):
    """The device tells the driver by CONFIG_CHANGE_MSG."""
    plug(switch, upper)
    traffic.answers(hosts[0], "10.9.0.2")
    upper.set("down", link="down")
    until(lambda: "link is down" in switch.show("up")["reason"], "the driver to be told")
    traffic.no_answer(hosts[0], "10.9.0.2")
    upper.set("down", link="up")
    until(lambda: "link is down" not in switch.show("up")["reason"], "the driver to be told")
    traffic.answers(hosts[0], "10.9.0.2")
