# SPDX-License-Identifier: BSD-3-Clause
"""virtlaned is killed under full load, and comes back: what its tenants notice.

Frames have sequence numbers and checked contents. A frame that the switch had completed is never lost, none
is damaged, and no process but the switch's restarts.
"""

import os
import re
import time

import pytest

from peers import netns, testpmd, traffic, virtlane
from peers.guests import Nic, Qemu
from peers.pktgen import Pktgen
from peers.soak import times
from peers.wait import until

CONFIG = """
[port a]
kind = vhost
{1} = {0}/a.sock
queues = 4
cross-connect = b

[port b]
kind = vhost
{1} = {0}/b.sock
queues = 4
cross-connect = a
"""
KILLS = times(15)
BURST = 64


@pytest.fixture
def make_switch(stack):
    """make_switch("listen" or "connect"): what its ports do. wired: else it is a bridge that learns."""

    def make(does, wired=True):
        made = stack.enter_context(virtlane.Switch(config="", start=False))
        text = CONFIG.format(made.directory, does)
        made.config.write_text(text if wired else re.sub("cross-connect = .", "", text))
        made.start()
        return made

    return make


def kill_again_and_again(switch, client, seeded):
    """Returns the longest time from when it was ready until both ports were up again, in seconds."""
    longest = 0
    switch.wait_state("a", "up")
    for _ in range(KILLS):
        time.sleep(seeded.uniform(0.02, 0.1))
        switch.kill()
        switch.start()
        ready = time.monotonic()
        for name in ("b", "a"):
            until(lambda: client.process.poll() is not None or switch.show(name)["state"] == "up",
                  f"port {name}", 30)
        longest = max(longest, time.monotonic() - ready)
        if client.process.poll() is not None:
            pytest.fail(client.process.communicate()[1])
    time.sleep(0.1)
    return longest


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("ring", ["split", "split-in-order", "packed", "packed-in-order"])
def test_nothing_is_lost_when_the_switch_is_killed(make_switch, seeded, say, ring, queues):
    """Over a wire, where a receiver without buffers makes the sender wait: so every frame counts. Of the
    burst that is interrupted, frames may come twice."""
    check_kills(make_switch("listen"), seeded, say, ring, queues)


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_nothing_is_lost_when_the_switch_connects(make_switch, seeded, say, ring):
    """The same with a driver that listens, and a switch that comes to it."""
    check_kills(make_switch("connect"), seeded, say, ring, 1, "listen:")


def test_a_driver_listens_anew_if_its_socket_was_removed(make_switch):
    switch = make_switch("connect")
    with Pktgen("--verify", "--reconnect", 30, "--time", 0, "--rate", "10k", "--threads", 1,
                "listen:" + switch.path("a.sock"), "listen:" + switch.path("b.sock")) as client:
        switch.wait_state("b", "up")
        os.unlink(switch.path("a.sock"))
        switch.kill()
        switch.start()
        switch.wait_state("a", "up")
        switch.wait_state("b", "up")
        client.interrupt()
        (direction,) = client.report()["directions"]
    assert direction["lost"] == 0


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_nothing_is_lost_when_a_bridge_is_killed(make_switch, seeded, say, ring):
    """It waits for those who were there before it takes frames: they would have nowhere to go. (What waits
    has to fit into the receiver's ring then, for a bridge does not make a sender wait.)"""
    check_kills(make_switch("listen", wired=False), seeded, say, ring, 1, rate=2000, queue_size=1024)


def test_a_peer_that_does_not_come_back_is_not_waited_for_long(stack, make_switch):
    switch = make_switch("listen")
    host = stack.enter_context(netns.Namespace("host"))
    with Pktgen("--time", 0, switch.path("a.sock"), switch.path("b.sock")):
        switch.wait_state("b", "up")
        switch.kill()
    switch.start()
    switch.add_tap("host", host)
    host.address("eth0", "10.0.0.1/24")
    traffic.no_answer(host, "10.0.0.2")
    assert switch.counters("host")["rx_frames"] > 0
    assert "2 peers have not come back" in switch.log()


def check_kills(switch, seeded, say, ring, queues, prefix="", rate=200000, queue_size=256):
    with Pktgen("--verify", "--reconnect", 30, "--time", 0, "--ring", ring, "--queues", queues,
                "--threads", 1, "--rate", rate, "--queue-size", queue_size, "--drain", 3,
                prefix + switch.path("a.sock"), prefix + switch.path("b.sock")) as client:
        longest = kill_again_and_again(switch, client, seeded)
        client.interrupt()
        report = client.report(check=False)
    (direction,) = report["directions"]
    say(f"{direction['sent']} frames sent, {direction['lost']} lost, {direction['duplicates']} came twice"
        f" in {KILLS} kills; up again {longest * 1e3:.0f} ms after the switch was ready at most")
    assert report["reconnects"] == 2 * KILLS
    assert direction["sent"] > KILLS * rate / 100
    assert direction["lost"] == direction["corrupt"] == direction["reordered"] == 0
    assert direction["duplicates"] <= KILLS * BURST


GUEST_CONFIG = """
[port vm]
kind = vhost
{2} = {0}/vm.sock

[port host]
kind = tap
netns = {1}
interface = eth0
mac = 52:54:00:00:01:99
"""


@pytest.mark.parametrize("ring, end, does", [
    ("split", "killed", "listen"), ("packed", "killed", "listen"), ("packed", "stopped", "connect"),
])
def test_a_stock_guest_goes_on_when_the_switch_is_killed(stack, say, ring, end, does):
    """The memory of split rings tells where they are. Of packed ones QEMU forgets it, and the switch keeps
    a record. The guest may start its interface anew meanwhile."""
    host = stack.enter_context(netns.Namespace("host"))
    switch = stack.enter_context(virtlane.Switch(config="", start=False))
    switch.config.write_text(GUEST_CONFIG.format(switch.directory, host.name, does))
    switch.start()
    nic = Nic(switch.path("vm.sock"), "52:54:00:00:01:01", server=does == "connect",
              properties="packed=on" if ring == "packed" else "")
    guest = stack.enter_context(Qemu(nic, name="vm"))
    guest.address("eth0", "10.0.0.10/24")
    guest.run("ping -i 0.01 10.0.0.1 >/dev/null 2>&1 &")
    for round_ in range(times(4)):
        host.address("eth0", "10.0.0.1/24")
        switch.wait_state("vm", "up")
        # QEMU takes the link down and up, which the guest notices a little later.
        until(lambda: traffic.ping(guest, "10.0.0.1", count=1).received == 1, "the guest's answer")
        traffic.answers(guest, "10.0.0.1")
        rate = traffic.iperf_gbits(host, guest, "10.0.0.10", seconds=1)
        if end == "killed":
            switch.kill()
        else:
            switch.stop()
        if round_ == 2:
            guest.run("cd /sys/bus/virtio/drivers/virtio_net && echo virtio0 > unbind"
                      " && echo virtio0 > bind")
            guest.address("eth0", "10.0.0.10/24")
        switch.start()
    say(f"{rate:.2f} Gbit/s to the guest")


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_testpmd_gets_its_frames_back_after_kills(make_switch, say, ring):
    """DPDK's driver reconnects as a server only. It throws away what its rings held, so frames are counted
    after the last kill."""
    switch = make_switch("connect")
    device = testpmd.virtio_user(switch.path("b.sock"), "52:54:00:00:00:d0", server=1,
                                 packed_vq=int(ring == "packed"))
    with testpmd.Testpmd(device) as peer:
        peer.start()
        for round_ in range(4):
            with Pktgen("--mode", "exchange", "--verify", "--max-loss", 1, "--rate", "20k", "--time", 1, "--threads", 1,
                        "listen:" + switch.path("a.sock")) as client:
                report = client.report()
            (port,) = report["ports"]
            assert port["rx_frames"] > 10000, f"round {round_}"
            switch.kill()
            switch.start()
            switch.wait_state("b", "up")
    say(f"{port['rx_frames']} frames there and back after {round_} kills")
